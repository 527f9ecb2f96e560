"""The numbers behind the ledger's words: how wide “hidden” or “query” are in one model."""

from core.facts.types import ModelFacts

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


def flash_width(width: int) -> int:
    """The width of a head as flash attention's backward pass rounds it up (flash_api.cpp, ``head_size_rounded``)."""
    width = -(-width // 8) * 8
    multiple = 32 if width <= 128 else 64
    return -(-width // multiple) * multiple
