"""What a run leaves behind: the adapter in PEFT's format or the whole tuned model, with a card on what was done."""

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from core import __version__
from core.data.templates import MODEL
from core.engine.adapters import adapter_settings, adapter_tensors
from core.engine.checkpoints import SavedState
from core.engine.session import Session
from core.engine.start import against_base, read_start, settings_against_base
from core.events.run_state import RunState, fold
from core.events.tail import EventTail
from core.export.adapter import write_adapter
from core.export.card import model_card
from core.export.companions import copy_companions
from core.export.curve import PICTURE_FILE, draw_run_curve, has_curve
from core.export.spec_file import SPEC_FILE, spec_text
from core.paths import replace_folder, staged_folder, write_atomic, write_json
from core.spec.codec import to_mapping
from core.spec.rules_adapter import changes_base

_LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")


def write_result(session: Session, saved: SavedState | None = None) -> Path:
    """Writes the run's ``adapter`` folder; an older one is replaced only when the new one is whole.

    Args:
        session: whose masters become the result.
        saved: the state that becomes it instead.
    """
    trained = saved.masters if saved is not None else dict(session.masters.named())
    step = saved.counters.step if saved is not None else session.counters.step
    story = fold(EventTail(session.context.folder.events()).read())
    target, fresh = session.context.folder.adapter, session.context.folder.fresh_adapter
    shutil.rmtree(fresh, ignore_errors=True)
    if session.order.spec.adapter.method == "full":
        _write_full_model(session, fresh, trained, step, story)
    else:
        masters, settings = trained, adapter_settings(session.model)
        adapter = session.order.spec.adapter
        if changes_base(adapter):
            masters = against_base(masters, read_start(session.context.folder.start))
            settings = settings_against_base(settings, adapter)
        write_adapter(
            fresh,
            tensors=adapter_tensors(session.model, masters),
            config={**settings, "base_model_name_or_path": session.order.model.path},
            card=_card(session, story),
            manifest=_manifest(session, step),
            beside=lambda folder: _write_beside(session, folder, story),
        )
    replace_folder(fresh, target)
    return target


def _write_full_model(
    session: Session, target: Path, trained: dict[str, torch.Tensor], step: int, story: RunState
) -> None:
    """The tuned model in the base's own precision, with tokenizer, template and generation settings."""
    model: Any = session.model
    dtype = {"BF16": torch.bfloat16, "F16": torch.float16}.get(session.order.model.dtype, torch.float32)
    state = _state_from_masters(session.model, trained, dtype)
    base = Path(session.order.model.path)
    with staged_folder(target) as staging:
        model.config.use_cache = True
        model.config.dtype = dtype
        model.save_pretrained(staging, state_dict=state, safe_serialization=True)
        model.config.use_cache = False
        own = session.template.name == MODEL
        copy_companions(base, staging, template="" if own else session.template.source)
        write_atomic(staging / "README.md", _card(session, story))
        write_json(staging / "lowrank.json", _manifest(session, step))
        _write_beside(session, staging, story)


def _state_from_masters(
    model: nn.Module, masters: dict[str, torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The model's own state with every trained tensor replaced by its master, rounded once; tied tensors stay tied."""
    by_storage = {
        parameter.data_ptr(): masters[name] for name, parameter in model.named_parameters() if name in masters
    }
    rounded: dict[int, torch.Tensor] = {}
    state: dict[str, torch.Tensor] = {}
    for name, tensor in model.state_dict().items():
        address = tensor.data_ptr()
        if address in by_storage:
            if address not in rounded:
                rounded[address] = by_storage[address].detach().to("cpu", dtype)
            state[name] = rounded[address]
        else:
            state[name] = tensor.detach().cpu()
    return state


def _card(session: Session, story: RunState) -> str:
    order = session.order
    return model_card(
        spec=order.spec,
        facts=order.facts,
        plan=order.plan,
        state=story,
        versions=_versions(),
        picture=PICTURE_FILE if has_curve(story) else "",
        spec_file=SPEC_FILE,
    )


def _write_beside(session: Session, folder: Path, story: RunState) -> None:
    """What the card points to: the settings and, as soon as there is a loss, its picture."""
    write_atomic(folder / SPEC_FILE, spec_text(session.order.spec))
    if has_curve(story):
        draw_run_curve(story, folder / PICTURE_FILE, title=session.context.folder.path.name)


def _manifest(session: Session, step: int) -> dict[str, object]:
    order = session.order
    return {
        "base_path": order.model.path,
        "base_fingerprint": order.model.fingerprint,
        "data_fingerprint": order.data.fingerprint,
        "step": step,
        "best_step": session.counters.best_step,
        "steps": order.batch.steps,
        "best_loss": session.counters.best_loss,
        "template": session.template.source,
        "licence": order.model.licence,
        "quantization": order.plan.choices.quantization.value,
        "tokenizer_fingerprint": session.tokenizer.fingerprint,
        "spec": to_mapping(order.spec, full=True),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    return {"lowrank-studio": __version__, **{name: version(name) for name in _LIBRARIES}}
