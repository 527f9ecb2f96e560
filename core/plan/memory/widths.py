"""The numbers behind the ledger's words: how wide “hidden”, “query” or “A:q_proj” are in one model."""

from collections import Counter
from collections.abc import Mapping, Sequence

from core.facts.types import LinearFacts, ModelFacts

NF4_BLOCK = 64
# Phi 2 and Pythia rotate a part of each head: partial_rotary_factor and rotary_pct of their published configs.
_TURNED = {"phi": 0.4, "gpt_neox": 0.25}


def model_widths(model: ModelFacts) -> dict[str, int]:
    """Widths that all layers share."""
    heads, keys, width = model.num_heads, model.num_kv_heads, model.head_dim
    query, key = heads * width, keys * width
    turned = 2 * int(width * _TURNED.get(model.family, 1.0) / 2)  # columns of a head that are rotated
    return {
        "experts": model.experts,
        "active": model.active_experts,
        "expert": model.expert_size,
        "expert_both": 2 * model.expert_size,
        "router": model.experts * model.hidden_size,
        "gate_up_experts": 2 * model.experts * model.expert_size * model.hidden_size,
        "down_experts": model.experts * model.expert_size * model.hidden_size,
        "turned_query": heads * turned,
        "turned_key": keys * turned,
        "half_turned_query": heads * turned // 2,
        "half_turned_key": keys * turned // 2,
        "straight_query": heads * (width - turned),
        "straight_key": keys * (width - turned),
        "one": 1,
        "two": 2,
        "row": 1,
        "input": model.hidden_size,
        "hidden": model.hidden_size,
        "query": query,
        "key": key,
        "value": key,
        "half_query": query // 2,
        "half_key": key // 2,
        "wide": model.intermediate_size,
        "heads": heads,
        "key_heads": keys,
        "head": width,
        "heads_rounded": heads * flash_width(width),
        "words": model.vocab_size,
        "vocabulary": model.vocab_size * model.hidden_size,
    }


def labels(linears: Sequence[LinearFacts]) -> dict[str, str]:
    """Full name -> what the blocks call a matrix: its last part, or the last two where a layer has two of that name."""
    counts = Counter(linear.short_name for linear in linears)
    return {
        linear.name: linear.short_name if counts[linear.short_name] == 1 else ".".join(linear.name.split(".")[-2:])
        for linear in linears
    }


def layer_widths(linears: Sequence[LinearFacts], ranks: Mapping[str, int]) -> dict[str, int]:
    """Widths of one layer's matrices and of their adapters, by label; ``ranks`` is by full name."""
    found: dict[str, int] = {}
    named = labels(linears)
    for linear in linears:
        name, rank = named[linear.name], ranks.get(linear.name, 0)
        found[f"i:{name}"] = linear.in_features
        found[f"o:{name}"] = linear.out_features
        found[f"w:{name}"] = linear.in_features * linear.out_features
        found[f"e:{name}"] = linear.in_features**2
        found[f"s:{name}"] = -(-linear.in_features * linear.out_features // NF4_BLOCK)
        if rank:
            found[f"r:{name}"] = rank
            found[f"A:{name}"] = rank * linear.in_features
            found[f"B:{name}"] = rank * linear.out_features
    return found


def flash_width(width: int) -> int:
    """The width of a head as flash attention's backward pass rounds it up (flash_api.cpp, ``head_size_rounded``)."""
    width = -(-width // 8) * 8
    multiple = 32 if width <= 128 else 64
    return -(-width // multiple) * multiple
