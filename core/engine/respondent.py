"""A model ready to answer: base, adapter, tokenizer and the very chat template of the training."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core.data.templates import ChatTemplate, choose_template
from core.data.tokenizer import Tokenizer
from core.engine import bootstrap
from core.engine.loading import load_base
from core.events.types import Variant
from core.facts.model_files import read_model
from core.facts.types import ModelFacts


@dataclass(frozen=True, slots=True)
class Respondent:
    """Whoever is asked.

    Attributes:
        stop_ids: the tokens that end an answer.
        has_adapter: whether the adapter can be switched off, which leaves the base.
    """

    model: nn.Module
    tokenizer: Tokenizer
    template: ChatTemplate
    facts: ModelFacts
    device: torch.device
    stop_ids: tuple[int, ...]
    has_adapter: bool

    def speaking_as(self, variant: Variant) -> AbstractContextManager[Any]:
        """Inside the block the model is the base (the adapter switched off) or the tuned one."""
        model: Any = self.model
        quiet: AbstractContextManager[Any] = (
            model.disable_adapter() if self.has_adapter and variant == "base" else nullcontext()
        )
        return quiet


def load_respondent(arguments: dict[str, Any]) -> Respondent:
    """Loads what a job's arguments name.

    Args:
        arguments: ``model`` (folder), ``adapter`` (folder or None), ``device``, ``compute_dtype``, ``quantization``,
            ``double_quant``, ``threads``, ``template`` (choice or path) and ``trust_remote_code``.

    Raises:
        JobError: the model cannot be loaded.
        UserError: its tokenizer or template cannot be used.
    """
    folder, device = Path(arguments["model"]), torch.device(arguments.get("device", "cpu"))
    bootstrap.use_threads(int(arguments.get("threads", 0)))
    bootstrap.quiet_libraries()
    facts = read_model(folder)
    tokenizer = Tokenizer.load(folder)
    template = choose_template(arguments.get("template", "auto"), facts, tokenizer)
    model = load_base(
        folder,
        device=device,
        compute_dtype=arguments.get("compute_dtype", "fp32"),
        quantization=arguments.get("quantization", "none"),
        double_quant=bool(arguments.get("double_quant", True)),
        trust_remote_code=bool(arguments.get("trust_remote_code", False)),
    )
    adapter = arguments.get("adapter")
    if adapter:
        model = _with_adapter(model, Path(adapter))
    stop_ids = template.stop_ids(tokenizer)
    return Respondent(model, tokenizer, template, facts, device, stop_ids, has_adapter=bool(adapter))


def _with_adapter(model: nn.Module, adapter: Path) -> nn.Module:
    from peft import PeftModel

    wrapped: nn.Module = PeftModel.from_pretrained(model, str(adapter), autocast_adapter_dtype=False)
    dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            parameter.data = parameter.data.to(dtype)
    return wrapped
