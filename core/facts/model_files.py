"""Reads a base model from its files: config.json and safetensors headers, or one GGUF header. No weights, no torch."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.errors import UserError, error
from core.facts.architectures import NATIVE, not_adaptable
from core.facts.gguf_header import read_gguf_header
from core.facts.gguf_model import gguf_config, gguf_tensors, gguf_text
from core.facts.linears import Layout, read_layout, without
from core.facts.model_config import ModelConfig, fingerprint, parse_config, read_config
from core.facts.model_folder import CONFIG_FILE, not_there, require_model, require_weights
from core.facts.model_texts import read_licence, read_template
from core.facts.prequantized import quantization_name, unpacked
from core.facts.promises import check_formats, check_promises, check_shapes, is_tied
from core.facts.safetensors_header import Weights, read_weights
from core.facts.tensors import Tensor
from core.facts.types import LinearFacts, ModelFacts

_MISSING_HEAD_DIM = 64
_EXPERTS = "The experts of this mixture of experts get no adapters; its attention and shared layers do."


def read_model(path: Path) -> ModelFacts:
    """The facts of a base model: a folder with config.json and safetensors files, or a GGUF file.

    Raises:
        UserError: there is no model, it is broken or half there, its config contradicts its weights, or it is none
            that continues text.
    """
    try:
        return _read(path)
    except OSError as failure:
        raise UserError(
            error(
                str(path),
                f"The model cannot be read: {failure.strerror or failure}.",
                "Check the path and the rights of the folder.",
            )
        ) from failure


def _read(path: Path) -> ModelFacts:
    if path.is_dir():
        return _read_folder(path)
    if path.is_file():
        if path.suffix.lower() == ".gguf":
            return _read_gguf(path)
        raise UserError(
            error(
                str(path),
                f"The file {path.name} is not a model that can be opened by itself.",
                f"Choose the folder that holds it, {path.parent}, or a GGUF file.",
            )
        )
    raise UserError(not_there(path))


def _read_folder(folder: Path) -> ModelFacts:
    require_model(folder)
    config, raw = read_config(folder / CONFIG_FILE)
    require_weights(folder)
    weights = read_weights(folder)
    layout = read_layout(unpacked(weights.tensors, raw, folder), config.family, config.num_layers, config.extra_layers)
    assumptions: list[str] = []
    notes: list[str] = []
    if not (folder / "tokenizer.json").is_file():
        notes.append("The folder has no tokenizer.json, so texts cannot be turned into tokens with it.")
    template, origin = read_template(folder)
    check_promises(folder, config, layout, assumptions)
    tied = is_tied(folder, config, layout, assumptions)
    prequantized = quantization_name(raw)
    if not prequantized:  # packed weights have other shapes
        check_formats(folder, layout)
        strangers = check_shapes(folder, config, raw, layout)
        if strangers:
            notes.append(_left_out(strangers, layout, config))
            layout = without(layout, strangers, config.family)
    return describe(
        folder,
        config,
        layout,
        weights,
        assumptions,
        notes,
        tied=tied,
        fingerprint=fingerprint(raw, weights.tensors),
        prequantized=prequantized,
        licence=read_licence(folder),
        template=template,
        template_origin=origin,
        remote_code=config.remote_code and config.model_type not in NATIVE,
    )


def _left_out(strangers: Sequence[str], layout: Layout, config: ModelConfig) -> str:
    first = layout.tensors[strangers[0]]
    return (
        f"The class {config.architecture} has no place for {len(strangers):,} of the stored tensors, such as "
        f"“{first.name[:200]}” in {first.file}; they are left out, as they are when it is loaded."
    )


def _read_gguf(path: Path) -> ModelFacts:
    header = read_gguf_header(path)
    raw = gguf_config(path, header)
    config = parse_config(raw, str(path))
    layout = read_layout(gguf_tensors(header), config.family, config.num_layers)
    assumptions: list[str] = []
    check_promises(path, config, layout, assumptions)
    template = gguf_text(header, "tokenizer.chat_template")
    return describe(
        path,
        config,
        layout,
        Weights(header.tensors, (path.name,), header.bytes),
        assumptions,
        [],
        tied=layout.head is None,
        fingerprint=fingerprint(raw, header.tensors),
        licence=gguf_text(header, "general.license", "general.license.name"),
        template=template,
        template_origin=path.name if template else "",
    )


def describe(
    path: Path,
    config: ModelConfig,
    layout: Layout,
    weights: Weights,
    assumptions: list[str],
    notes: list[str],
    *,
    tied: bool,
    **texts: Any,
) -> ModelFacts:
    """The facts of a model whose config and tensors are known, from wherever they came.

    Args:
        path: what the facts and the complaints call it.
        config: its settings.
        layout: its tensors, sorted, after `check_promises`.
        weights: the files as they are stored.
        assumptions: what was guessed so far.
        notes: what else there is to say.
        tied: whether head and embeddings are one matrix once loaded.
        texts: further fields of `ModelFacts`.
    """
    matrix = layout.embedding or layout.head
    assert matrix is not None, "check_promises has looked"
    shared = layout.head.elements if tied and layout.head and layout.embedding else 0
    refused = not_adaptable(config.model_type)
    linears = layout.linears
    if refused:
        linears = tuple(replace(linear, adaptable=linear.short_name not in refused) for linear in linears)
    heads, kv_heads, head_dim = _heads(config, linears, assumptions)
    return ModelFacts(
        path=str(path),
        family=config.model_type,
        architecture=config.architecture,
        parameters=layout.parameters - shared,
        embedding_parameters=matrix.elements + (layout.positions.elements if layout.positions else 0),
        linear_parameters=sum(
            linear.in_features * linear.out_features for linear in linears if linear.role != "head" or not tied
        ),
        bytes_on_disk=weights.bytes,
        dtype=_commonest(weights.tensors),
        hidden_size=config.hidden_size or matrix.shape[1],
        intermediate_size=_intermediate_size(config, linears),
        num_layers=len(layout.blocks),
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=matrix.shape[0],
        context_length=config.context_length,
        tied_embeddings=tied,
        linears=linears,
        weight_files=weights.files,
        sliding_window=config.sliding_window,
        experts=config.experts,
        active_experts=config.active_experts,
        expert_size=config.expert_size,
        residual_dropout=config.residual_dropout,
        attention_dropout=config.attention_dropout,
        state_leaks=config.family.state_leaks or config.stateful or layout.stateful,
        embedding=layout.embedding_name,
        positions=layout.positions_name,
        assumptions=(*assumptions, *_guesses(config, layout)),
        notes=(*notes, *([_EXPERTS] if layout.has_experts else [])),
        **texts,
    )


def _heads(config: ModelConfig, linears: Iterable[LinearFacts], assumptions: list[str]) -> tuple[int, int, int]:
    """Attention heads, key/value heads and the size of a head; what the config leaves out comes from the shapes."""
    outputs = {linear.short_name: linear.out_features for linear in linears if linear.role == "attention"}
    known = bool(config.family.architecture)
    heads, size = config.num_heads, config.head_dim
    if not size and heads:
        size = max(1, config.hidden_size // heads)
    if not heads:
        given, size = size, size or _MISSING_HEAD_DIM
        heads = max(1, (outputs.get("q_proj") or config.hidden_size) // size)
        if "q_proj" in outputs and not (known and given):
            assumptions.append(f"The config does not name its attention heads; {heads} heads of {size} are assumed.")
    elif not known and outputs.get("q_proj", heads * size) != heads * size:
        assumptions.append(
            f"{heads} heads of {size} do not make the {outputs['q_proj']:,} values that q_proj gives; memory of the "
            "attention is estimated with them all the same."
        )
    kv_heads = config.num_kv_heads or (outputs.get("k_proj", 0) // size) or heads
    if not known and "num_key_value_heads" not in config.keys and "k_proj" not in outputs:
        assumptions.append(
            "The config does not name heads for keys and values; every head is believed to have its own."
        )
    return heads, kv_heads, size


def _intermediate_size(config: ModelConfig, linears: Iterable[LinearFacts]) -> int:
    widths: dict[str, int] = {}
    for linear in linears:
        if linear.role == "mlp":
            widths[linear.short_name] = max(linear.out_features, widths.get(linear.short_name, 0))
    for name in ("up_proj", "fc1", "c_fc", "dense_h_to_4h", "fc_in", "gate_proj", "w1"):
        if name in widths:
            return widths[name]
    return widths["gate_up_proj"] // 2 if "gate_up_proj" in widths else config.intermediate_size


def _commonest(tensors: Iterable[Tensor]) -> str:
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.bytes
    return sizes.most_common(1)[0][0] if sizes else ""


def _guesses(config: ModelConfig, layout: Layout) -> Iterable[str]:
    """What is taken for granted of a family that is not known."""
    if config.family.architecture:
        return
    yield (
        f"The family “{config.model_type or config.architecture}” is not in the table of known ones: its linear "
        f"layers were found by their names and shapes, below “{layout.guessed_root}”."
    )
    if not config.stateful and not layout.stateful:
        yield "No tensor looks as if it carried state from one token to the next, so rows may share a pass."
    if not config.context_length:
        yield "The config does not say how long a row may be, so no length is refused."
