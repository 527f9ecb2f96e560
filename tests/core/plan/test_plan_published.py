"""What others publish about the memory that tuning takes, held against the plan.

Their engines are others and their tables are coarse, so none of this is exact; what is wrong by a large factor, or the
wrong way round, shows here.
"""

import pytest

from core.facts.catalogue import find_entry
from core.facts.types import Facts
from core.plan.cards import card_of_size
from core.plan.planner import plan
from core.plan.solve import largest
from core.plan.types import Memory
from core.plan.what_if import on_card, smallest_card
from core.spec.run_spec import RunSpec
from tests.core.plan.invented_facts import MACHINES, spec

LLAMA_7B, QWEN_14B, LLAMA_70B = "meta-llama/Llama-2-7b-hf", "Qwen/Qwen2.5-14B", "meta-llama/Llama-2-70b-hf"
SHORT = {"data__max_length": 512, "adapter__rank": 8, "adapter__alpha": 16.0}


def known(name: str) -> Facts:
    """A model of the catalogue, with no data: rows are as long as the limit."""
    entry = find_entry(name)
    assert entry is not None
    return Facts(MACHINES["cpu24"], entry.facts)


def asked(quantization: str, **settings: object) -> RunSpec:
    fixed = {"model__quantization": quantization, "hardware__activation_checkpointing": "all"}
    return spec(**fixed, **settings)


def memory_on(gigabytes: float, wanted: RunSpec, name: str) -> Memory:
    memory = plan(wanted, on_card(known(name), card_of_size(gigabytes))).memory
    assert memory is not None
    return memory


@pytest.mark.parametrize(
    ("quantization", "name", "published"),
    [
        ("none", LLAMA_7B, 16),
        ("none", QWEN_14B, 32),
        ("none", LLAMA_70B, 160),
        ("int8", LLAMA_7B, 10),
        ("int8", QWEN_14B, 20),
        ("int8", LLAMA_70B, 80),
        ("nf4", LLAMA_7B, 6),
        ("nf4", QWEN_14B, 12),
        ("nf4", LLAMA_70B, 48),
    ],
)
def test_estimates_of_llama_factory(quantization: str, name: str, published: int) -> None:
    """Source: LLaMA-Factory's README, “Hardware Requirement” (“estimated”, in GB, without rows' length or rank)."""
    memory = memory_on(512, asked(quantization, training__micro_batch_tokens=512, **SHORT), name)
    assert 0.84 * published < memory.peak_bytes / 1e9 < 1.10 * published


@pytest.mark.parametrize(
    ("quantization", "name", "least", "most"),
    [
        ("none", LLAMA_7B, 16, 20),  # 15.1 GB and the desktop's share do not leave a tenth of 16 GiB free
        ("int8", LLAMA_7B, 10, 12),
        ("nf4", LLAMA_7B, 6, 8),
        ("nf4", QWEN_14B, 12, 16),
        ("nf4", LLAMA_70B, 48, 48),
    ],
)
def test_the_smallest_card_is_the_next_size_on_sale(quantization: str, name: str, least: int, most: int) -> None:
    """The same table: no card below it is said to be enough, and none far above it to be needed."""
    card = smallest_card(asked(quantization, training__micro_batch_tokens=512, **SHORT), known(name))
    assert card is not None
    assert least <= card.gigabytes <= most


@pytest.mark.parametrize(
    ("gigabytes", "eager", "offloaded"),
    [
        (12, 932, 21_848),
        (16, 2551, 40_724),
        (24, 5789, 78_475),
        (40, 12_264, 153_977),
        (48, 15_502, 191_728),
        (80, 28_454, 342_733),
    ],
)
def test_longest_rows_lie_between_those_of_two_engines(gigabytes: int, eager: int, offloaded: int) -> None:
    """Llama 3.1 8B, QLoRA of rank 32 on all linear layers, 8-bit AdamW, rows one at a time.

    Source: unsloth's README (2025), table of context lengths. “Transformers and flash attention 2” writes out every
    token's scores over the vocabulary, which this engine takes in chunks; unsloth also keeps the layers' inputs in RAM
    between the passes, which this engine does not.
    """
    wanted = asked("nf4", adapter__rank=32, adapter__alpha=64.0, training__optimizer="adamw_8bit")
    model = known("meta-llama/Llama-3.1-8B")
    longest = largest(wanted, on_card(model, card_of_size(gigabytes)), "max_length")
    assert longest is not None
    assert 2 * eager < longest < offloaded


def test_65_billion_parameters_on_one_card_of_48_gb() -> None:
    """Source: QLoRA (arXiv:2305.14314), abstract: a model of 65 B in 48 GB, of rank 64 on all linear layers.

    The model here is 6 % larger, and what is trained is kept in 32 bits beside the copies that products take.
    """
    wanted = asked(
        "nf4", adapter__rank=64, adapter__alpha=16.0, data__max_length=512, training__optimizer="paged_adamw"
    )
    memory = memory_on(48, wanted, LLAMA_70B)
    assert memory.verdict in ("fits", "tight")
