"""Model families as llama.cpp knows them: its name for each, what the file says of the model, what weights become.

The keys and their meaning are those of the GGUF specification (https://github.com/ggml-org/ggml, docs/gguf.md) and of
llama.cpp's own converter; ``gguf.get_tensor_name_map`` has the names of the tensors.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import Problem, UserError, error

_NEEDED = (
    ("num_hidden_layers", "n_layer"),
    ("num_attention_heads", "n_head"),
    ("hidden_size", "n_embd"),
    ("max_position_embeddings", "n_positions", "n_ctx"),
)
_ROPE_NEEDED: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings"),
    "llama3": (
        "rope_theta", "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings",
    ),
}  # fmt: skip
_NO_ROPE_EVERY = 4
"""Layers of SmolLM3 that llama.cpp computes without positions: each fourth."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's ``config.json``, whichever version of transformers wrote it."""

    config: Mapping[str, Any]

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of these settings that is there."""
        return next((self.config[name] for name in names if self.config.get(name) is not None), default)

    def need(self, *names: str) -> Any:
        """The same, of a setting without which the model cannot be described.

        Raises:
            UserError: it is missing.
        """
        found = self.get(*names)
        if found is None:
            message = f"The model's config.json has no “{names[0]}”."
            raise UserError(error("config.json", message, "Take the model's files anew."))
        return found

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.need("num_hidden_layers", "n_layer"))

    @property
    def heads(self) -> int:
        """Number of query heads."""
        return int(self.need("num_attention_heads", "n_head"))

    @property
    def key_heads(self) -> int:
        """Number of key heads."""
        return int(self.get("num_key_value_heads", default=self.heads))

    @property
    def width(self) -> int:
        """Width of the hidden states."""
        return int(self.need("hidden_size", "n_embd"))

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return int(self.get("head_dim", default=self.width // self.heads))

    def rope(self, kind: str = "full_attention") -> dict[str, Any]:
        """What is said of rotary positions (of a kind of layers, where kinds differ), in the newer spelling."""
        found = dict(self.get("rope_parameters", default={}))
        found = dict(found[kind]) if isinstance(found.get(kind), Mapping) else found
        if not found:
            found = dict(self.get("rope_scaling", default={}))
        found.setdefault("rope_type", found.get("type", "default"))
        found.setdefault("rope_theta", self.get("rope_theta"))
        return found


@dataclass(frozen=True, slots=True)
class Family:
    """What llama.cpp wants to know of a family of models.

    Attributes:
        arch: its name there.
        describe: says the model's numbers to a ``gguf.GGUFWriter``.
        interleaved: rows of q and k stand in pairs of one angle, not in halves.
        norms_plus_one: the norms' weights are written with the one that the model adds to them.
        transposed: endings of weights that the model keeps as (in, out).
    """

    arch: str
    describe: Callable[[Any, Shape], None]
    interleaved: bool = False
    norms_plus_one: bool = False
    transposed: tuple[str, ...] = ()


def family_of(config: Mapping[str, Any]) -> Family | None:
    """The family of a model, or None where no file can be written for it here."""
    return _FAMILIES.get(str(config.get("model_type")))


def family_problems(config: Mapping[str, Any], base: Path) -> Iterator[Problem]:
    """Why no GGUF file can be written for a model of this config.json."""
    foreign = list(foreign_problems(config, base))
    yield from foreign
    if foreign:
        return
    shape, kind = Shape(config), str(config.get("model_type"))
    lost = [names[0] for names in _needed(kind) if shape.get(*names) is None]
    if lost:
        yield _lacking(base, f"The model's config.json has no “{lost[0]}”.")
    elif kind != "gpt2":
        rope = shape.rope()
        word = str(rope.get("rope_type", "default"))
        lost = [name for name in _ROPE_NEEDED.get(word, ()) if rope.get(name) is None]
        if lost:
            message = f"The model's config.json says no “{lost[0]}” of its positions, which are of the kind “{word}”."
            yield _lacking(base, message)


def foreign_problems(config: Mapping[str, Any], base: Path) -> Iterator[Problem]:
    """What is not known here of a model, and may be known to llama.cpp's own converter."""
    kind = str(config.get("model_type"))
    elsewhere = (
        "Install llama.cpp's own converter (convert_hf_to_gguf.py) on the PATH, or name its folder in "
        "LOWRANK_LLAMA_CPP; it is asked then."
    )
    if kind not in _FAMILIES:
        known = ", ".join(sorted(_FAMILIES))
        message = f"GGUF files are written for {known}; this model is a “{kind}”."
        yield error(str(base), message, elsewhere)
        return
    shape = Shape(config)
    if kind != "gpt2":
        rope = shape.rope().get("rope_type", "default")
        known_ropes = ("default", "linear", "llama3", "yarn") if kind != "phi3" else ("default", "longrope", "su")
        if rope not in known_ropes:
            yield error(
                str(base), f"The model's positions are of the kind “{rope}”, which is not known here.", elsewhere
            )
    if shape.get("num_local_experts", "num_experts"):
        yield error(str(base), "The model is a mixture of experts, which is not written here.", elsewhere)
    pattern = shape.get("no_rope_layers")
    if kind == "smollm3" and isinstance(pattern, list):
        expected = [int((layer + 1) % _NO_ROPE_EVERY != 0) for layer in range(len(pattern))]
        if pattern != expected:
            message = "The model has layers without positions where llama.cpp expects them to have some."
            yield error(str(base), message, elsewhere)


def _lacking(base: Path, message: str) -> Problem:
    return error(str(base / "config.json"), message, "Take the model's files anew.")


def _needed(kind: str) -> tuple[tuple[str, ...], ...]:
    """The settings without which a family cannot be described; each by the names that it may have."""
    if kind == "gpt2":
        return (*_NEEDED, ("layer_norm_epsilon",))
    by_size = (("vocab_size",),) if _FAMILIES[kind].describe is _llama else ()
    return (*_NEEDED, ("rms_norm_eps",), *by_size)


def _basics(writer: Any, shape: Shape) -> None:
    writer.add_block_count(shape.layers)
    writer.add_context_length(int(shape.need("max_position_embeddings", "n_positions", "n_ctx")))
    writer.add_embedding_length(shape.width)
    writer.add_feed_forward_length(int(shape.get("intermediate_size", "n_inner", default=4 * shape.width)))
    writer.add_head_count(shape.heads)


def _rotary(writer: Any, shape: Shape) -> None:
    """What all families with rotary positions and RMS norms say alike."""
    _basics(writer, shape)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_layer_norm_rms_eps(float(shape.need("rms_norm_eps")))
    _positions(writer, shape)
    if shape.get("head_dim") is not None:
        writer.add_key_length(shape.head_width)
        writer.add_value_length(shape.head_width)


def _positions(writer: Any, shape: Shape) -> None:
    import gguf

    rope = shape.rope()
    writer.add_rope_freq_base(float(rope["rope_theta"] or 10_000.0))
    kind = rope["rope_type"]
    if kind in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR if kind == "linear" else gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    if kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))
        if rope.get("attention_factor") is not None:
            writer.add_rope_scaling_yarn_attn_factor(float(rope["attention_factor"]))
        for name in ("beta_fast", "beta_slow"):
            if rope.get(name) is not None:
                getattr(writer, f"add_rope_scaling_yarn_{name}")(float(rope[name]))


def _llama(writer: Any, shape: Shape) -> None:
    _rotary(writer, shape)
    writer.add_vocab_size(int(shape.need("vocab_size")))
    writer.add_rope_dimension_count(shape.head_width)


def _gemma2(writer: Any, shape: Shape) -> None:
    _rotary(writer, shape)
    for add, name in (
        (writer.add_attn_logit_softcapping, "attn_logit_softcapping"),
        (writer.add_final_logit_softcapping, "final_logit_softcapping"),
        (writer.add_sliding_window, "sliding_window"),
    ):
        if shape.get(name) is not None:
            add(shape.get(name))


def _gemma3(writer: Any, shape: Shape) -> None:
    _rotary(writer, shape)
    local = shape.rope("sliding_attention").get("rope_theta") if shape.get("rope_parameters") else None
    local = shape.get("rope_local_base_freq", default=local)
    if local is not None:
        writer.add_rope_freq_base_swa(float(local))
    if shape.get("final_logit_softcapping") is not None:
        writer.add_final_logit_softcapping(shape.get("final_logit_softcapping"))
    if shape.get("sliding_window") is not None:
        writer.add_sliding_window(int(shape.get("sliding_window")))


def _phi3(writer: Any, shape: Shape) -> None:
    import gguf

    rope = shape.rope()
    _basics(writer, shape)
    writer.add_head_count_kv(shape.key_heads)
    writer.add_layer_norm_rms_eps(float(shape.need("rms_norm_eps")))
    writer.add_rope_freq_base(float(rope["rope_theta"] or 10_000.0))
    writer.add_rope_dimension_count(_phi3_turned(shape))
    writer.add_rope_scaling_orig_ctx_len(_phi3_trained_length(shape))
    # llama.cpp tells Phi-4 from the others by a window of zero
    writer.add_sliding_window(int(shape.get("sliding_window", default=0)))
    if rope.get("long_factor"):
        trained, most = _phi3_trained_length(shape), int(shape.need("max_position_embeddings"))
        scale = most / trained
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        factor = math.sqrt(1 + math.log(scale) / math.log(trained)) if scale > 1 else 1.0
        writer.add_rope_scaling_attn_factors(factor)


def _phi3_turned(shape: Shape) -> int:
    part = shape.rope().get("partial_rotary_factor", shape.get("partial_rotary_factor", default=1.0))
    return int(part * shape.width) // shape.heads


def _phi3_trained_length(shape: Shape) -> int:
    said = shape.rope().get("original_max_position_embeddings")
    return int(said or shape.get("original_max_position_embeddings", default=shape.need("max_position_embeddings")))


def _gpt2(writer: Any, shape: Shape) -> None:
    _basics(writer, shape)
    writer.add_layer_norm_eps(float(shape.need("layer_norm_epsilon")))


def extra_tensors(config: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[float]]]:
    """Small float32 tensors that the file has and the model's files have not: factors of rotary frequencies."""
    shape, kind = Shape(config), config.get("model_type")
    if kind == "gpt2":
        return
    rope = shape.rope()
    if kind == "phi3":
        for name in ("long", "short"):
            if rope.get(f"{name}_factor"):
                yield f"rope_factors_{name}.weight", [float(value) for value in rope[f"{name}_factor"]]
    elif rope["rope_type"] == "llama3":
        yield "rope_freqs.weight", _llama3_factors(rope, shape.head_width)


def _llama3_factors(rope: Mapping[str, Any], width: int) -> list[float]:
    """By how much each frequency is divided: not the high ones, wholly the low ones, and some in between.

    As transformers computes the frequencies (``_compute_llama3_parameters`` in modeling_rope_utils).
    """
    theta, factor = float(rope["rope_theta"]), float(rope["factor"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    trained = float(rope["original_max_position_embeddings"])
    factors = []
    for place in range(0, width, 2):
        wave = 2 * math.pi * theta ** (place / width)
        if wave < trained / high:
            factors.append(1.0)
        elif wave > trained / low:
            factors.append(factor)
        else:
            smooth = (trained / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return factors


_FAMILIES = {
    "llama": Family("llama", _llama, interleaved=True),
    "mistral": Family("llama", _llama, interleaved=True),
    "smollm3": Family("smollm3", _llama, interleaved=True),
    "qwen2": Family("qwen2", _rotary),
    "qwen3": Family("qwen3", _rotary),
    "gemma": Family("gemma", _rotary, norms_plus_one=True),
    "gemma2": Family("gemma2", _gemma2, norms_plus_one=True),
    "gemma3_text": Family("gemma3", _gemma3, norms_plus_one=True),
    "phi3": Family("phi3", _phi3),
    "gpt2": Family("gpt2", _gpt2, transposed=(".c_attn.weight", ".c_proj.weight", ".c_fc.weight")),
}
