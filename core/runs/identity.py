"""What a saved state belongs to, and in which named ways that may differ from what there is now."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.facts.types import Facts
from core.plan.types import Plan
from core.records import to_plain
from core.runs.saved_states import Identity
from core.spec.fields import FieldInfo
from core.spec.run_spec import RunSpec, fields

# Settings that change neither what is learned nor in which order; files and models are known by what they hold.
_FREE = frozenset(
    (
        "training.checkpoint_minutes", "training.keep_checkpoints", "training.keep_best", "training.result",
        "training.sample_prompts", "training.sample_every", "training.sample_tokens", "training.max_bad_steps",
        "training.micro_batch_tokens", "data.train", "data.validation", "data.template", "model.base",
        "model.revision", "model.trust_remote_code",
    )
)  # fmt: skip
_SHAPES = ("adapter.rank", "adapter.modules_to_save")
_FREE_SECTIONS = ("output", "hardware")
_SAMPLES, _SAMPLE_BYTES = 16, 16 * 1024
_NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference between a saved state and the run as it is now.

    Attributes:
        path: dotted path of a setting, or a word for what else it is: ``model``, ``data``, ``chosen.steps``.
        before, after: the values as text.
        message: the same as a sentence.
        blocks: the saved tensors do not fit, so no consent helps.
    """

    path: str
    before: str
    after: str
    message: str
    blocks: bool = False


def identity_of(spec: RunSpec, facts: Facts, plan: Plan, *, tokenizer: str, trained: str = "") -> Identity:
    """What a state of this run belongs to; ``trained`` is known only to whoever has made the model."""
    model, data = facts.model, facts.data
    choices = plan.choices
    return Identity(
        model=model.fingerprint if model else "",
        weights=weights_sample(Path(model.path), model.weight_files) if model else "",
        data=data.fingerprint if data else "",
        files={file.path: file.sha256 for file in data.files} if data else {},
        template=hashlib.sha256(plan.template.encode()).hexdigest(),
        tokenizer=tokenizer,
        settings={info.path: to_plain(spec.get(info.path)) for info in deciding_settings()},
        chosen={
            "quantization": choices.quantization.value,
            "compute_dtype": choices.compute_dtype.value,
            "optimizer": choices.optimizer.value,
            "steps": plan.batch.steps if plan.batch else 0,
        },
        trained=trained,
    )


def deciding_settings() -> Iterator[FieldInfo]:
    """Settings that decide what is learned."""
    for info in fields():
        if info.section not in _FREE_SECTIONS and info.path not in _FREE:
            yield info


def weights_sample(folder: Path, names: Iterable[str]) -> str:
    """A hash of pieces spread over all weight files: another set of weights of the same shapes has another one.

    Raises:
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        path = folder / name if folder.is_dir() else folder
        size = path.stat().st_size
        digest.update(f"{Path(name).name}:{size};".encode())
        with path.open("rb") as file:
            for index in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * index // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def changes(saved: Identity, now: Identity) -> tuple[Change, ...]:
    """Every difference, by name; a setting that the saved state does not know counts as its default."""
    return tuple(_changes(saved, now))


def _changes(saved: Identity, now: Identity) -> Iterator[Change]:
    if saved.model != now.model:
        message = "The base model's config or the shapes of its weights have changed."
        yield Change("model", _short(saved.model), _short(now.model), message)
    elif saved.weights != now.weights:
        message = "The base model's weights have changed."
        yield Change("model", _short(saved.weights), _short(now.weights), message)
    yield from _settings(saved, now)
    if saved.data != now.data:
        yield from _data(saved, now)
    for name, value in now.chosen.items():
        before = saved.chosen.get(name, value)
        if before != value:
            text = (str(before), str(value))
            message = f"The plan's {name} was {before} and is {value} now."
            yield Change(f"chosen.{name}", *text, message, blocks=name == "optimizer")
    if saved.trained and now.trained and saved.trained != now.trained:
        message = "The set of trained parameters is another one, so the saved ones do not fit."
        yield Change("trained", _short(saved.trained), _short(now.trained), message, blocks=True)


def _settings(saved: Identity, now: Identity) -> Iterator[Change]:
    for info in deciding_settings():
        default = to_plain(info.default)
        before, after = (side.settings.get(info.path, default) for side in (saved, now))
        if before != after:
            old, new = _text(before), _text(after)
            message = f"The setting {info.path} was {old} and is {new} now."
            yield Change(info.path, old, new, message, blocks=_makes_other_tensors(info.path, before, after))


def _makes_other_tensors(path: str, before: Any, after: Any) -> bool:
    """Whether a setting alone shows that the saved tensors do not fit; what others do to them is seen by the engine."""
    return path in _SHAPES or (path == "adapter.method" and "full" in (before, after))


def _data(saved: Identity, now: Identity) -> Iterator[Change]:
    # known by what they hold, wherever they lie
    before, after = (frozenset(side.files.values()) for side in (saved, now))
    gone = [path for path, value in saved.files.items() if value not in after]
    come = [path for path, value in now.files.items() if value not in before]
    for path in gone:
        if path in now.files:
            message = f"The data file {path} has changed."
            yield Change(f"data:{path}", _short(saved.files[path]), _short(now.files[path]), message)
        else:
            yield Change(f"data:{path}", _short(saved.files[path]), "", f"The data file {path} is no longer there.")
    for path in come:
        if path not in saved.files:
            yield Change(f"data:{path}", "", _short(now.files[path]), f"The data file {path} is new.")
    if saved.template != now.template:
        yield Change("template", _short(saved.template), _short(now.template), "The chat template has changed.")
    if saved.tokenizer != now.tokenizer:
        yield Change("tokenizer", _short(saved.tokenizer), _short(now.tokenizer), "The tokenizer has changed.")
    if not gone and not come and saved.template == now.template and saved.tokenizer == now.tokenizer:
        message = "The rows are not the same any more: how files are read, cut or sorted has changed."
        yield Change("data", _short(saved.data), _short(now.data), message)


def _short(text: str) -> str:
    return text[:12]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or _NOTHING
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items()) or _NOTHING
    return _NOTHING if value == "" else str(value)
