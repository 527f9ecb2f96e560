"""Compares what a model's config promises with what its weight files hold."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.facts.architectures import TOWERS
from core.facts.blueprints import BLUEPRINTS, tensors_of
from core.facts.linears import Layout
from core.facts.model_config import ModelConfig
from core.facts.tensors import Tensor

_SAMPLES = 16
_SAMPLE_BYTES = 65_536
_OTHER_MODEL = "The files belong to different models or a download is unfinished; take the model from its source."
# Families whose classes make the MLP four times as wide as the hidden size when the config says nothing, and those
# whose every attention head has its own keys then (defaults of the configuration classes in transformers 5.23).
_FOURFOLD = frozenset(("gpt2", "bloom", "falcon"))
_UNGROUPED = frozenset(("llama", "olmo", "olmo2", "phi", "phi3", "gpt2", "gpt_neox", "bloom", "falcon", "opt"))


def is_tied(folder: Path, config: ModelConfig, layout: Layout, assumptions: list[str]) -> bool:
    """Whether head and embeddings are one matrix once loaded, by transformers' own rule.

    Raises:
        UserError: the head is missing and the config does not allow the embeddings to serve as one.
    """
    promised = config.family.tied if config.tied is None else config.tied
    unknown = config.tied is None and not config.family.architecture
    if layout.head is None:
        if unknown:
            assumptions.append("The files hold no output head; the embeddings are believed to serve as one.")
        if promised or layout.embedding is None or unknown:
            return True
        raise UserError(
            error(
                str(folder),
                "The weights have no output head, and config.json says that the embeddings do not serve as one "
                f"(tie_word_embeddings is false): there is only “{layout.embedding.name}” in {layout.embedding.file}.",
                "Choose the complete language model; this may be a bare encoder, a classifier or an unfinished copy.",
            )
        )
    if layout.embedding is None:
        return True
    if unknown:
        assumptions.append(
            f"The config does not say whether head and embeddings are one matrix; “{layout.head.name}” and "
            f"“{layout.embedding.name}” are counted as two."
        )
    if not promised:
        return False
    if layout.head.shape == layout.embedding.shape and _same_bytes(folder, layout.head, layout.embedding):
        return True
    assumptions.append(
        "The config says that head and embeddings are one matrix (tie_word_embeddings is true), but "
        f"“{layout.head.name}” in {layout.head.file} differs from “{layout.embedding.name}” in "
        f"{layout.embedding.file}; both are used."
    )
    return False


def _same_bytes(folder: Path, first: Tensor, second: Tensor) -> bool:
    """Whether two tensors agree in samples spread over their whole length."""
    if first.bytes != second.bytes:
        return False
    try:
        with (folder / first.file).open("rb") as one, (folder / second.file).open("rb") as other:
            for part in range(_SAMPLES):
                start = first.bytes * part // _SAMPLES
                count = min(_SAMPLE_BYTES, first.bytes - start)
                one.seek(first.offset + start)
                other.seek(second.offset + start)
                if one.read(count) != other.read(count):
                    return False
    except OSError as failure:
        raise UserError(
            error(str(folder), f"The weights cannot be read: {failure.strerror or failure}.", "Check the files.")
        ) from failure
    return True


def check_promises(path: Path, config: ModelConfig, layout: Layout, assumptions: list[str]) -> None:
    """Compares what the config promises of any model with what the headers hold.

    Raises:
        UserError: they contradict each other, or there are no blocks or embeddings at all.
    """
    matrix = layout.embedding or layout.head
    if matrix is None or not layout.blocks:
        missing = "blocks of layers" if matrix else "embeddings"
        raise UserError(
            error(
                str(path),
                f"No {missing} were found among the model's {len(layout.tensors):,} tensors, so this is no language "
                "model of a known build.",
                "Choose a causal language model, such as Llama, Qwen, Mistral, Gemma or SmolLM.",
            )
        )
    lies = list(_lies(config, layout, matrix))
    if lies and not config.family.architecture:
        assumptions.extend(f"{lie} The weights are believed." for lie in lies)
    elif lies:
        raise UserError(*(error(str(path), lie, _OTHER_MODEL) for lie in lies))


def _lies(config: ModelConfig, layout: Layout, matrix: Tensor) -> Iterable[str]:
    blocks, last = len(layout.blocks), layout.tensors[layout.last_tensor]
    if config.num_layers and config.num_layers != blocks:
        yield (
            f"The config says {config.key('num_hidden_layers')} = {config.num_layers:,}, but the weights hold "
            f"{blocks:,} layers; “{last.name}” in {last.file} belongs to the last one."
        )
    if config.vocab_size and config.vocab_size != matrix.shape[0]:
        yield (
            f"The config says {config.key('vocab_size')} = {config.vocab_size:,}, but “{matrix.name}” in {matrix.file} "
            f"has {matrix.shape[0]:,} rows, one for each token."
        )
    if config.embedding_size and config.embedding_size != matrix.shape[1]:
        key = "word_embed_proj_dim" if "word_embed_proj_dim" in config.keys else "hidden_size"
        yield (
            f"The config says {config.key(key)} = {config.embedding_size:,}, but “{matrix.name}” in {matrix.file} has "
            f"{matrix.shape[1]:,} columns."
        )
    if max(layout.blocks) != blocks - 1:
        absent = next(number for number in range(blocks) if number not in layout.blocks)
        yield f"The weights of layer {absent} are missing, but “{last.name}” in {last.file} belongs to a later one."


def check_shapes(folder: Path, config: ModelConfig, raw: Mapping[str, Any], layout: Layout) -> None:
    """Compares every matrix with the shape that the config gives it, for families whose shapes are known by heart.

    Raises:
        UserError: a matrix has another shape or is missing; one problem for each kind of matrix.
    """
    if config.model_type not in BLUEPRINTS or not _is_complete(config):
        return
    inside = f"{config.family.blocks}.0."
    problems = []
    alone = {**raw, "vision_config": None}
    for wanted in tensors_of(config, alone, 1, "", 0):
        if not wanted.name.endswith(".weight") or len(wanted.shape) != 2 or _varies(wanted.name):
            continue
        name = wanted.name.removeprefix(inside)
        if name == wanted.name:
            places = [name] if name in layout.tensors else []  # what `is_tied` and `check_promises` have looked for
        else:
            places = [f"{config.family.blocks}.{number}.{name}" for number in sorted(layout.blocks)]
        found = [text for place in places if (text := _difference(place, wanted.shape, layout.tensors.get(place)))]
        if found:
            repeated = f" The same holds for {len(found):,} layers." if len(found) > 1 else ""
            problems.append(error(str(folder), found[0] + repeated, _OTHER_MODEL))
    if problems:
        raise UserError(*problems)


def _is_complete(config: ModelConfig) -> bool:
    """Whether the config states all that shapes depend on; for what it leaves out, classes have their own defaults."""
    stated = config.hidden_size and config.num_layers and config.num_heads and config.vocab_size
    inner = config.intermediate_size or config.model_type in _FOURFOLD
    return bool(stated and inner and ("num_key_value_heads" in config.keys or config.model_type in _UNGROUPED))


def _varies(name: str) -> bool:
    """Tensors that are stored otherwise than they are loaded, or not in every block."""
    parts = name.split(".")
    return "experts" in parts or parts[-2] == "gate" or bool(TOWERS.intersection(parts))


def _difference(name: str, wanted: tuple[int, ...], found: Tensor | None) -> str:
    if found is None:
        return f"The weights lack “{name}”, which the config promises; it would start with random values."
    if found.shape == wanted:
        return ""
    return f"By the config “{name}” has {_size(wanted)} values, but {found.file} holds {_size(found.shape)} for it."


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
