"""A model ready to answer: base, adapters, tokenizer and the very chat template of each training."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.data.templates import ChatTemplate, choose_template
from core.data.tokenizer import Tokenizer
from core.engine import bootstrap
from core.engine.loading import load_base
from core.engine.saved_adapter import read_masters, write_saved_adapter
from core.errors import UserError, error
from core.export.matching import match
from core.export.merge import fingerprint_problems
from core.export.peft_adapter import CONFIG_FILE, read_adapter_config, read_peft_adapter
from core.export.tensor_files import read_model_tensors
from core.facts.json_files import read_json_object
from core.facts.model_files import read_model
from core.facts.types import ModelFacts
from core.runs.saved_states import MANIFEST
from core.runs.voices import BASE, TUNED, Voice


@dataclass(frozen=True, slots=True)
class Manner:
    """How one voice is spoken to.

    Attributes:
        adapter: what PEFT calls it; empty for the base, with every adapter switched off.
        template: the chat template of its training.
        stop_ids: the tokens that end an answer.
    """

    adapter: str
    template: ChatTemplate
    stop_ids: tuple[int, ...]


@dataclass(slots=True)
class Respondent:
    """Whoever is asked; adapters come and go on one loaded base.

    Attributes:
        folder: where the base lies.
        manners: by the voice's name.
        main: the voice that the job was started for.
    """

    model: nn.Module
    tokenizer: Tokenizer
    facts: ModelFacts
    device: torch.device
    folder: Path
    main: str
    manners: dict[str, Manner] = field(default_factory=dict)

    @property
    def template(self) -> ChatTemplate:
        """That of the main voice."""
        return self.manners[self.main].template

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Those of the main voice."""
        return self.manners[self.main].stop_ids

    @property
    def has_adapter(self) -> bool:
        """Whether there is an adapter, which can be switched off."""
        return any(manner.adapter for manner in self.manners.values())

    def speaking_as(self, voice: str) -> AbstractContextManager[Any]:
        """Inside the block the model speaks with one of its voices.

        Raises:
            UserError: nobody is called so.
        """
        model: Any = self.model
        manner = self.manner(voice)
        if not manner.adapter:
            quiet: AbstractContextManager[Any] = model.disable_adapter() if self.has_adapter else nullcontext()
            return quiet
        if model.active_adapters != [manner.adapter]:
            model.set_adapter(manner.adapter)
        return nullcontext()

    def manner(self, voice: str) -> Manner:
        """How a voice is spoken to.

        Raises:
            UserError: nobody is called so.
        """
        found = self.manners.get(voice)
        if found is None:
            there = " and ".join(self.manners)
            message = f"“{voice}” cannot be asked here, where only {there} can."
            raise UserError(error("voice", message, "Ask another one, or load this one in a chat of its own."))
        return found

    def bring(self, voice: Voice) -> None:
        """Puts another adapter on the base; those that are there stay.

        Raises:
            UserError: it is no adapter of this base, or cannot be read; nothing has changed then.
        """
        template = choose_template(voice.template, self.facts, self.tokenizer)
        stops = template.stop_ids(self.tokenizer)
        with adapter_folder(Path(voice.adapter)) as folder:
            _check(folder, self.folder, self.tokenizer)
            self.model = _with_adapter(self.model, folder, voice.name)
        self.manners[voice.name] = Manner(voice.name, template, stops)

    def drop(self, voice: str) -> None:
        """Takes an adapter off the base, with its memory.

        Raises:
            UserError: nobody is called so, or it is the base.
        """
        model: Any = self.model
        manner = self.manner(voice)
        if not manner.adapter:
            raise UserError(error("voice", "The base model itself cannot be taken away.", "End the chat instead."))
        if model.active_adapters == [manner.adapter]:
            others = [other.adapter for other in self.manners.values() if other.adapter not in ("", manner.adapter)]
            if others:
                model.set_adapter(others[0])
        del self.manners[voice]
        if self.has_adapter:
            model.delete_adapter(manner.adapter)
        else:
            self.model = model.unload()
            if hasattr(self.model, "peft_config"):
                del self.model.peft_config


def load_respondent(arguments: dict[str, Any]) -> Respondent:
    """Loads what a job's arguments name.

    Args:
        arguments: ``model`` (folder), ``adapter`` (folder, or saved state of a run, or None), ``whole`` (whether the
            adapter is a saved state of a full fine-tuning), ``tuned`` (whether a model without adapter is a tuned one),
            ``device``, ``compute_dtype``, ``quantization``, ``double_quant``, ``threads``, ``template`` (choice or
            path) and ``trust_remote_code``.

    Raises:
        JobError: the model cannot be loaded.
        UserError: its tokenizer, template or adapter cannot be used.
    """
    folder, device = Path(arguments["model"]), torch.device(arguments.get("device", "cpu"))
    bootstrap.use_device(device)
    bootstrap.use_threads(int(arguments.get("threads", 0)))
    bootstrap.quiet_libraries()
    facts = read_model(folder)
    tokenizer = Tokenizer.load(folder)
    choice = str(arguments.get("template", "auto"))
    template = choose_template(choice, facts, tokenizer)
    model = load_base(
        folder,
        device=device,
        compute_dtype=arguments.get("compute_dtype", "fp32"),
        quantization=arguments.get("quantization", "none"),
        double_quant=bool(arguments.get("double_quant", True)),
        trust_remote_code=bool(arguments.get("trust_remote_code", False)),
    )
    adapter, whole = arguments.get("adapter"), bool(arguments.get("whole"))
    main = TUNED if adapter or arguments.get("tuned") else BASE
    made = Respondent(model, tokenizer, facts, device, folder, main)
    alone = BASE if adapter and not whole else main
    made.manners[alone] = Manner("", template, template.stop_ids(tokenizer))
    if adapter and whole:
        _take_over(model, read_masters(Path(adapter)))
    elif adapter:
        made.bring(Voice(TUNED, "", str(adapter), choice))
    return made


@contextlib.contextmanager
def adapter_folder(place: Path) -> Iterator[Path]:
    """An adapter's folder in PEFT's format; for a saved state one that is there only inside the block.

    Raises:
        UserError: the saved state cannot be used.
    """
    if not (place / MANIFEST).is_file() or (place / CONFIG_FILE).is_file():
        yield place
        return
    work = Path(tempfile.mkdtemp(prefix="lowrank-voice-"))
    try:
        write_saved_adapter(place, work / "adapter")
        yield work / "adapter"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check(adapter: Path, base: Path, tokenizer: Tokenizer) -> None:
    """Refuses an adapter that does not belong on a base, by names, shapes and, where known, fingerprints.

    Raises:
        UserError: with what does not fit.
    """
    found = fingerprint_problems(base, adapter, tokenizer)
    if found:
        raise UserError(*found)
    config = read_json_object(base / "config.json")
    # Weights that lie there quantized have other shapes than the model, and PEFT alone can tell what fits.
    if "quantization_config" not in config and read_adapter_config(adapter).get("peft_type") == "LORA":
        match(read_peft_adapter(adapter), base, read_model_tensors(base), config)


def _with_adapter(model: Any, adapter: Path, name: str) -> nn.Module:
    """The model with one more adapter, in the model's own format and never trained.

    Raises:
        UserError: PEFT does not take it; the model is as it was.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    dtype, device = next((p.dtype, p.device) for p in model.parameters() if p.is_floating_point())
    options: dict[str, Any] = {
        "adapter_name": name,
        "autocast_adapter_dtype": False,
        "low_cpu_mem_usage": True,
        "torch_device": str(device),  # PEFT would go by way of the first GPU, which may be another's and full
    }
    is_wrapped = isinstance(model, PeftModel)
    try:
        if is_wrapped:
            model.load_adapter(str(adapter), **options)
        wrapped: Any = model if is_wrapped else PeftModel.from_pretrained(model, str(adapter), **options)
    except torch.OutOfMemoryError:
        raise
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as failure:
        if is_wrapped and name in model.peft_config:
            model.delete_adapter(name)
        message = f"The adapter in {adapter} cannot be put on the model: {str(failure).partition(chr(10))[0]}"
        raise UserError(
            error(str(adapter), message, "Choose another adapter, or load it with its own base.")
        ) from failure
    for key, parameter in wrapped.named_parameters():
        if f".{name}." in f"{key}." and ("lora_" in key or "modules_to_save" in key):
            parameter.data = parameter.data.to(dtype)
            parameter.requires_grad_(requires_grad=False)
    made: nn.Module = wrapped
    return made


@torch.no_grad()
def _take_over(model: nn.Module, masters: dict[str, torch.Tensor]) -> None:
    """Gives a model the weights of a saved state of its full fine-tuning."""
    for name, parameter in model.named_parameters():
        if name in masters:
            parameter.copy_(masters[name])
