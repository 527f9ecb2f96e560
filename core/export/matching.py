"""Which tensor of the base each part of an adapter changes; a wrong base is found here, before anything is written."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from core.errors import Problem, UserError, error
from core.export.peft_adapter import LowRank, PeftAdapter
from core.export.tensor_files import FLOATS, ITEM_BYTES, StoredTensor

_WORDS_SHOWN = 4

# Families whose linear layers keep their weight as (in, out): transformers' Conv1D.
_CONV1D_FAMILIES = ("gpt2", "openai-gpt", "imagegpt", "decision_transformer")
# The name of a module in memory -> its name in the files, where they differ: by a prefix that base-model files lack,
# or by the nesting of a language model inside a multimodal one, which changed over the versions of transformers.
_PREFIXES = ("model.", "transformer.", "gpt_neox.", "language_model.")
_NESTINGS = (
    ("model.language_model.", "language_model.model."),
    ("language_model.model.", "model.language_model."),
    ("model.language_model.", "model."),
    ("language_model.model.", "model."),
    ("model.", "model.language_model."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("language_model.lm_head.", "lm_head."),
)
_EMBEDDING = re.compile(r"(.*\.)?(embed_tokens|wte|embed_in|word_embeddings|tok_embeddings|tokens_embed)\.weight")
_HEAD = re.compile(r"(.*\.)?(lm_head|embed_out)\.weight")


@dataclass(frozen=True, slots=True)
class Written:
    """One tensor of the merged model.

    Attributes:
        source: where its bytes come from: the base, or the adapter for tensors trained in full.
        change: the low-rank change to apply, if any.
        transposed: the weight is (in, out), so the change is too.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: StoredTensor
    change: LowRank | None = None
    transposed: bool = False

    @property
    def bytes(self) -> int:
        """Size in the file."""
        if self.dtype not in ITEM_BYTES or self.source.dtype == self.dtype:
            return self.source.bytes
        return self.source.bytes // ITEM_BYTES[self.source.dtype] * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Matched:
    """Every tensor of the merged model, and what becomes of the tie between input and output embeddings.

    Attributes:
        untied: base used one matrix for both embeddings and the merged model needs two.
    """

    tensors: tuple[Written, ...]
    untied: bool


def file_names(name: str) -> Iterator[str]:
    """Names under which files may hold the tensor that is called ``name`` in memory, the likeliest first."""
    yield name
    for old, new in _NESTINGS:
        if name.startswith(old):
            yield new + name.removeprefix(old)
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            yield name.removeprefix(prefix)
    for prefix in _PREFIXES:
        yield prefix + name


def match(
    adapter: PeftAdapter, base: Path, tensors: Mapping[str, StoredTensor], config: Mapping[str, object]
) -> Matched:
    """Pairs every part of ``adapter`` with its tensor among the base's ``tensors``; ``config`` is its config.json.

    Raises:
        UserError: parts of the adapter have no place in the base, or one of another shape or a quantized one.
    """
    head, embedding = _head(tensors), _embedding(tensors)
    tied = _is_tied(config, head)
    places = _Places(adapter, base, tensors, partner=(head or embedding) if tied else None)
    transposed = _transposes(adapter, config)
    edits: dict[str, Written] = {}
    for change in adapter.modules:
        if place := places.find(f"{change.module}.weight"):
            name, source = place
            written = Written(
                name, source.dtype, source.shape, source, change, transposed and not _HEAD.fullmatch(name)
            )
            if places.fits(written):
                edits[name] = written
    for wanted, stored in adapter.replacements.items():
        if place := places.find(wanted):
            name, source = place
            if places.replaces(name, source, stored):
                edits[name] = Written(name, source.dtype, source.shape, stored)
    places.raise_problems()
    untied = tied and _untie(adapter, edits, tensors, embedding)
    return Matched(tuple((as_stored(tensors) | edits).values()), untied)


def as_stored(tensors: Mapping[str, StoredTensor]) -> dict[str, Written]:
    """The tensors of a model that nothing changes, by name."""
    return {name: Written(name, item.dtype, item.shape, item) for name, item in tensors.items()}


class _Places:
    """Finds the adapter's tensors in the base and collects what is wrong with them."""

    def __init__(
        self,
        adapter: PeftAdapter,
        base: Path,
        tensors: Mapping[str, StoredTensor],
        partner: StoredTensor | None,
    ) -> None:
        self._adapter = adapter
        self._base = base
        self._tensors = tensors
        self._partner = partner
        self._taken: dict[str, str] = {}
        self._missing: list[str] = []
        self._twice: list[str] = []
        self._shapes: list[str] = []
        self._formats: list[str] = []

    def find(self, wanted: str) -> tuple[str, StoredTensor] | None:
        """Name in the merged model and source of the tensor that is called ``wanted`` in memory."""
        for name in file_names(wanted):
            if name in self._tensors:
                if name in self._taken:
                    self._twice.append(f"{wanted} and {self._taken[name]}")
                    return None
                self._taken[name] = wanted
                return name, self._tensors[name]
        # The other half of a tied pair is in no file: it is the same matrix under another name.
        if self._partner is not None and (_HEAD.fullmatch(wanted) or _EMBEDDING.fullmatch(wanted)):
            return wanted, self._partner
        self._missing.append(wanted)
        return None

    def fits(self, written: Written) -> bool:
        change = written.change
        assert change is not None
        if written.dtype not in FLOATS:
            self._formats.append(f"{written.name} ({written.dtype})")
            return False
        wanted = (change.out_features, change.in_features)
        if written.shape != (tuple(reversed(wanted)) if written.transposed else wanted):
            self._shapes.append(f"{written.name} (adapter {_shape(wanted)}, base {_shape(written.shape)})")
            return False
        return True

    def replaces(self, name: str, source: StoredTensor, stored: StoredTensor) -> bool:
        if source.dtype not in FLOATS:
            self._formats.append(f"{name} ({source.dtype})")
            return False
        if source.shape != stored.shape:
            self._shapes.append(f"{name} (adapter {_shape(stored.shape)}, base {_shape(source.shape)})")
            return False
        return True

    def raise_problems(self) -> None:
        parts = len(self._adapter.modules) + len(self._adapter.replacements)
        trained_on = f" It says it was trained on “{Path(self._adapter.base).name}”." if self._adapter.base else ""
        advice = f"Choose the base model that this adapter was trained on.{trained_on}"
        of = f"of the adapter's {parts} parts"
        problems: list[Problem] = []
        if self._missing:
            message = f"{len(self._missing)} {of} have no place in this base model: {_some(self._missing)}."
            problems.append(error(str(self._base), message, advice))
        if self._shapes:
            message = f"{len(self._shapes)} {of} have another shape in this base model: {_some(self._shapes)}."
            problems.append(error(str(self._base), message, advice))
        if self._formats:
            message = f"{len(self._formats)} {of} belong to quantized weights: {_some(self._formats)}."
            advice = "Merge into the base model in 16 or 32 bits."
            problems.append(error(str(self._base), message, advice))
        if self._twice:
            message = f"{len(self._twice)} {of} mean the same weights as another: {_some(self._twice)}."
            problems.append(error(str(self._adapter.folder), message, "Export the adapter again."))
        if problems:
            raise UserError(*problems)


def _some(names: list[str]) -> str:
    rest = len(names) - _WORDS_SHOWN
    return ", ".join(names[:_WORDS_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(str(length) for length in shape)


def _transposes(adapter: PeftAdapter, config: Mapping[str, object]) -> bool:
    # PEFT decides by the class of each layer and corrects the flag in the adapter's settings, so the family is the
    # better witness; the flag counts for models that bring their own code.
    return config.get("model_type") in _CONV1D_FAMILIES or (adapter.fan_in_fan_out and bool(config.get("auto_map")))


def _embedding(tensors: Mapping[str, StoredTensor]) -> StoredTensor | None:
    found = [tensor for name, tensor in tensors.items() if _EMBEDDING.fullmatch(name)]
    return found[0] if found else None


def _head(tensors: Mapping[str, StoredTensor]) -> StoredTensor | None:
    found = [tensor for name, tensor in tensors.items() if _HEAD.fullmatch(name)]
    return found[0] if found else None


def _is_tied(config: Mapping[str, object], head: StoredTensor | None) -> bool:
    # Without a head in the files the model can only run with one matrix for both.
    return head is None or config.get("tie_word_embeddings") is True


def _untie(
    adapter: PeftAdapter,
    edits: dict[str, Written],
    tensors: Mapping[str, StoredTensor],
    embedding: StoredTensor | None,
) -> bool:
    """Gives input and output embeddings a matrix each where the adapter changes one of them; whether it did.

    PEFT trains a copy of the one that is named and leaves the other as it was, so this is what the adapter computes.
    """
    changed_head = [name for name in edits if _HEAD.fullmatch(name)]
    changed_embedding = [name for name in edits if _EMBEDDING.fullmatch(name)]
    if not changed_head and not changed_embedding:
        return False
    if adapter.keeps_tie:
        _keep_tie(edits, tensors, changed_head, changed_embedding)
        return False
    if embedding is None:
        message = "The adapter changes one of two tied embeddings, and the base's files hold no input embeddings."
        advice = "Train with ensure_weight_tying, or save the base model untied and train on that."
        raise UserError(error(str(adapter.folder), message, advice))
    if not changed_head and _head(tensors) is None:
        name = _head_name(embedding.name)
        edits[name] = Written(name, embedding.dtype, embedding.shape, embedding)
    return True


def _keep_tie(
    edits: dict[str, Written], tensors: Mapping[str, StoredTensor], heads: list[str], embeddings: list[str]
) -> None:
    """Lets one trained matrix stand for both embeddings, under the names that the base's files have."""
    trained = edits[(embeddings or heads)[0]]
    for name in (*heads, *embeddings):
        del edits[name]
    for name, stored in tensors.items():
        if _HEAD.fullmatch(name) or _EMBEDDING.fullmatch(name):
            edits[name] = Written(name, stored.dtype, stored.shape, trained.source, trained.change)


def _head_name(embedding: str) -> str:
    if embedding.endswith("embed_in.weight"):
        return "embed_out.weight"
    return "language_model.lm_head.weight" if embedding.startswith("language_model.") else "lm_head.weight"
