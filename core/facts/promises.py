"""Compares what a model's config promises with what its weight files hold."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import Problem, UserError, error
from core.facts.architectures import TOWERS
from core.facts.blueprints import BLUEPRINTS, tensors_of
from core.facts.config_reader import MAX_NUMBER
from core.facts.linears import Layout
from core.facts.model_config import ModelConfig
from core.facts.tensors import Tensor

_SAMPLES = 16
_SAMPLE_BYTES = 65_536
_MAX_NAMED = 3
_PLAIN = frozenset(("F64", "F32", "F16", "BF16"))
_OTHER_MODEL = "The files belong to different models or a download is unfinished; take the model from its source."
# Families whose classes make the MLP four times as wide as the hidden size when the config says nothing, and those
# whose every attention head has its own keys then (defaults of the configuration classes in transformers 5.23).
_FOURFOLD = frozenset(("gpt2", "bloom", "falcon"))
_UNGROUPED = frozenset(("llama", "olmo", "olmo2", "phi", "phi3", "gpt2", "gpt_neox", "bloom", "falcon", "opt"))


def is_tied(folder: Path, config: ModelConfig, layout: Layout, assumptions: list[str]) -> bool:
    """Whether head and embeddings are one matrix once loaded, by transformers' own rule.

    Raises:
        UserError: head or embeddings are missing and the config does not allow the other to serve as both.
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
        if unknown:
            assumptions.append("The files hold no input embeddings; the output head is believed to serve as them.")
        if promised or unknown:
            return True
        raise UserError(
            error(
                str(folder),
                "The weights have no input embeddings, and config.json says that the output head does not serve as "
                f"them (tie_word_embeddings is false): there is only “{layout.head.name}” in {layout.head.file}.",
                _OTHER_MODEL,
            )
        )
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
    impossible = list(_impossible(layout, matrix))
    if impossible:
        raise UserError(*(error(str(path), text, _OTHER_MODEL) for text in impossible))
    lies = list(_lies(config, layout, matrix))
    if lies and not config.family.architecture:
        assumptions.extend(f"{lie} The weights are believed." for lie in lies)
    elif lies:
        raise UserError(*(error(str(path), lie, _OTHER_MODEL) for lie in lies))


def _impossible(layout: Layout, matrix: Tensor) -> Iterable[str]:
    """What no loader could make sense of, whatever the config says."""
    for first, second in layout.doubles[:_MAX_NAMED]:
        yield (
            f"“{first.name[:200]}” in {first.file} and “{second.name[:200]}” in {second.file} are loaded as one "
            "tensor; which of them counts is open."
        )
    matrices = (matrix, *(layout.tensors.get(f"{linear.name}.weight") for linear in layout.linears))
    empty = [tensor for tensor in matrices if tensor is not None and not tensor.elements]
    if empty:
        yield f"“{empty[0].name}” in {empty[0].file} holds no values at all ({_size(empty[0].shape)})."


def check_formats(path: Path, layout: Layout) -> None:
    """Refuses matrices stored in formats from which plain numbers cannot be told.

    Raises:
        UserError: a matrix holds whole numbers or narrow ones, and nothing says how to read them.
    """
    matrices = (
        layout.embedding,
        layout.head,
        *(layout.tensors.get(f"{linear.name}.weight") for linear in layout.linears),
    )
    packed = [tensor for tensor in matrices if tensor is not None and tensor.dtype not in _PLAIN]
    if packed:
        first = packed[0]
        raise UserError(
            error(
                str(path),
                f"“{first.name}” in {first.file} is stored as {first.dtype}, and config.json has no "
                f"quantization_config that says how to read it. The same holds for {len(packed):,} matrices in all.",
                "Take a version of the model in 16 or 32 bits, or the config.json that belongs to these weights.",
            )
        )


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
    yield from _expert_lies(config, layout)


def _expert_lies(config: ModelConfig, layout: Layout) -> Iterable[str]:
    """How many experts the config counts, against what is stored: one by one, all in one tensor, or a router's rows."""
    if not config.experts:
        return
    counts = {name: _expert_count(name.split("."), tensor) for name, tensor in layout.tensors.items()}
    name = max(counts, key=lambda name: counts[name])
    stored, count = layout.tensors[name], counts[name]
    if count and count != config.experts:
        yield (
            f"The config says {config.key('num_experts')} = {config.experts:,}, but by “{stored.name[:200]}” in "
            f"{stored.file} there are {count:,} experts in a layer."
        )


def _expert_count(parts: list[str], tensor: Tensor) -> int:
    """How many experts a layer must have for this tensor to be in it; 0 for those that say nothing about it."""
    if "experts" in parts[:-1] and (number := parts[parts.index("experts") + 1]).isdecimal():
        return min(int(number[:9]) + 1, MAX_NUMBER)
    fused = "experts" in parts and len(tensor.shape) == 3
    router = parts[-2:] in (["gate", "weight"], ["router", "weight"]) and len(tensor.shape) == 2
    return tensor.shape[0] if fused or router else 0


def check_shapes(folder: Path, config: ModelConfig, raw: Mapping[str, Any], layout: Layout) -> tuple[str, ...]:
    """Compares every tensor with the shape that the config gives it, for families whose shapes are known by heart.

    Returns:
        The tensors that the loaded class has no place for, named as they would be there.

    Raises:
        UserError: a tensor has another shape, is missing, or is a bias that the config denies; one problem for each
            kind of tensor.
    """
    if config.model_type not in BLUEPRINTS or not _is_complete(config):
        return ()
    kinds, known = _promised(config, raw, layout)
    problems = []
    missing = [name for names, _ in kinds for name in names if name not in layout.tensors]
    if missing:
        rest = f" and {len(missing) - _MAX_NAMED:,} more" if len(missing) > _MAX_NAMED else ""
        named = ", ".join(f"“{name}”" for name in missing[:_MAX_NAMED]) + rest
        message = f"The weights lack {named}, which the config promises; values that nobody trained would stand there."
        problems.append(error(str(folder), message, _OTHER_MODEL))
    for names, shape in kinds:
        there = [(name, layout.tensors[name]) for name in names if name in layout.tensors]
        problems += _once(folder, [_difference(name, shape, found) for name, found in there if found.shape != shape])
    problems += [error(str(folder), text, _OTHER_MODEL) for text in _expert_gaps(config, raw, layout)]
    strangers = [name for name in layout.tensors if name not in known and not _varies(name, config)]
    denied: dict[str, list[str]] = {}
    for name in strangers:
        module, _, last = name.rpartition(".")
        if last == "bias" and (f"{module}.weight" in known or module == config.family.head):
            tensor = layout.tensors[name]
            kind = name.rpartition(".layers.")[2].partition(".")[2] or name
            denied.setdefault(kind, []).append(
                f"{tensor.file} holds “{tensor.name}”, but by the config this layer has no bias; without it the model "
                "would compute something else."
            )
    for found in denied.values():
        problems += _once(folder, found)
    if problems:
        raise UserError(*problems)
    return tuple(strangers)


def _expert_gaps(config: ModelConfig, raw: Mapping[str, Any], layout: Layout) -> Iterable[str]:
    """The first layer whose experts are not as many values as the config promises; files hold them in several ways."""
    if not config.experts:
        return
    wanted = 3 * config.experts * config.expert_size * config.hidden_size
    counts = dict.fromkeys(sorted(layout.blocks), 0)
    routers: set[int] = set()
    for name, tensor in layout.tensors.items():
        parts = name.removeprefix(f"{config.family.blocks}.").split(".")
        if "experts" in parts and parts[0].isdecimal():
            counts[int(parts[0])] += tensor.elements
        elif parts[-2:] == ["gate", "weight"] and tensor.shape == (config.experts, config.hidden_size):
            routers.add(int(parts[0]))
    sparse = bool(raw.get("mlp_only_layers")) or raw.get("decoder_sparse_step", 1) != 1  # some layers have none
    for number, count in counts.items():
        if (count == wanted and number in routers) or (sparse and not count):
            continue
        yield (
            f"By the config layer {number} has {config.experts:,} experts with {wanted:,} values and a router, but the "
            f"weights hold {count:,} values{'' if number in routers else ' and no such router'}."
        )
        return


def _promised(
    config: ModelConfig, raw: Mapping[str, Any], layout: Layout
) -> tuple[list[tuple[list[str], tuple[int, ...]]], frozenset[str]]:
    """What the config promises, a tensor's names in all blocks together, and all those names."""
    inside = f"{config.family.blocks}.0."
    optional = {f"{layout.embedding_name}.weight", f"{config.family.head}.weight"}  # `is_tied` has looked for them
    kinds = []
    for wanted in tensors_of(config, {**raw, "vision_config": None}, 1, "", 0):
        name = wanted.name.removeprefix(inside)
        if _varies(wanted.name, config):
            continue
        if name != wanted.name:
            names = [f"{config.family.blocks}.{number}.{name}" for number in sorted(layout.blocks)]
        else:
            names = [name] if name in layout.tensors or name not in optional else []
        kinds.append((names, wanted.shape))
    head = f"{config.family.head}.weight"
    if layout.head is not None and [head] not in (names for names, _ in kinds):  # stored though it is shared
        kinds.append(([head], (config.vocab_size, config.embedding_size)))
    return kinds, frozenset(name for names, _ in kinds for name in names)


def _once(folder: Path, found: list[str]) -> list[Problem]:
    """One problem for what is wrong in the same way in several blocks."""
    repeated = f" The same holds for {len(found):,} layers." if len(found) > 1 else ""
    return [error(str(folder), found[0] + repeated, _OTHER_MODEL)] if found else []


def _is_complete(config: ModelConfig) -> bool:
    """Whether the config states all that shapes depend on; for what it leaves out, classes have their own defaults."""
    stated = config.hidden_size and config.num_layers and config.num_heads and config.vocab_size
    inner = config.intermediate_size or config.model_type in _FOURFOLD
    inner = inner and (config.experts or "experts" not in BLUEPRINTS[config.model_type].block)
    return bool(stated and inner and ("num_key_value_heads" in config.keys or config.model_type in _UNGROUPED))


def _varies(name: str, config: ModelConfig) -> bool:
    """Tensors that are stored otherwise than they are loaded, or not in every block."""
    parts = name.split(".")
    mixed = bool(config.experts) and not {"mlp", "block_sparse_moe"}.isdisjoint(parts)
    return mixed or "experts" in parts or bool(TOWERS.intersection(parts))


def _difference(name: str, wanted: tuple[int, ...], found: Tensor) -> str:
    return f"By the config “{name}” has {_size(wanted)} values, but {found.file} holds {_size(found.shape)} for it."


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape)
