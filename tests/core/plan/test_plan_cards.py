"""The table of GPUs is consistent, and cards are found by what people and drivers call them."""

import pytest

from core.errors import UserError
from core.facts.types import GpuFacts
from core.plan.cards import CARDS, Card, card_of, card_of_size, find_cards
from core.units import GIB, MIB


def by_name(name: str) -> Card:
    return next(card for card in CARDS if card.name == name)


def names(text: str) -> list[str]:
    return [card.name for card in find_cards(text)]


def test_the_table_is_large_and_its_names_are_unique() -> None:
    assert len(CARDS) >= 45
    assert len({card.name for card in CARDS}) == len(CARDS)
    sizes = [(card.gigabytes, card.watts) for card in CARDS]
    assert sizes == sorted(sizes)
    generations = {card.capability for card in CARDS}
    assert {(6, 0), (6, 1), (7, 0), (7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)} == generations


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_row_is_plausible(card: Card) -> None:
    # Error correction and the driver take up to 8 %; nothing shows more than its box says.
    assert 0.92 * card.gigabytes * GIB <= card.memory_bytes <= 1.02 * card.gigabytes * GIB
    assert 40 <= card.watts <= 1000
    assert 100e9 < card.bandwidth < 9e12
    assert card.tflops >= card.fp32_tflops > 2


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_tensor_and_plain_throughput_agree_within_a_generation(card: Card) -> None:
    """A multiprocessor's tensor units do a fixed multiple of its 32-bit rate."""
    ratio = card.tflops / card.fp32_tflops
    consumer = card.kind in ("desktop", "laptop")
    if card.capability < (7, 0) or card.name.startswith("GTX"):
        expected = 1.0
    elif card.capability == (7, 0) or (card.capability == (7, 5) and not consumer):
        expected = 8.0
    elif card.capability in ((8, 6), (8, 9), (12, 0)):
        expected = 2.0 if consumer or card.name in ("A10G", "L20", "L40") else 4.0
    elif card.capability == (7, 5):
        expected = 4.0
    else:
        return  # the large chips each have a ratio of their own
    assert ratio == pytest.approx(expected, rel=0.04)


@pytest.mark.parametrize(
    ("name", "gigabytes", "bandwidth", "tflops", "watts"),
    [
        ("T4", 16, 320, 65, 70),  # NVIDIA T4 data sheet
        ("A10", 24, 600, 125, 150),  # NVIDIA A10 data sheet
        ("A100 PCIe 40 GB", 40, 1555, 312, 250),  # NVIDIA A100 data sheet
        ("A100 SXM 80 GB", 80, 2039, 312, 400),  # the same
        ("L4", 24, 300, 121, 72),  # NVIDIA L4 data sheet: 242 with sparsity
        ("L40S", 48, 864, 362, 350),  # NVIDIA L40S data sheet: 733 with sparsity
        ("H100 PCIe", 80, 2039, 756, 350),  # NVIDIA H100 data sheet: 1513 with sparsity
        ("H100 SXM", 80, 3350, 989, 700),  # the same: 1979 with sparsity
        ("H200 SXM", 141, 4800, 989, 700),  # NVIDIA H200 data sheet
        ("RTX 3090", 24, 936, 71, 350),  # NVIDIA GA102 white paper, appendix: 16 bits with 32-bit sums
        ("RTX 4090", 24, 1008, 165.2, 450),  # NVIDIA Ada white paper, appendix
    ],
)
def test_what_is_published_of_well_known_cards(
    name: str, gigabytes: int, bandwidth: float, tflops: float, watts: int
) -> None:
    card = by_name(name)
    assert (card.gigabytes, card.watts) == (gigabytes, watts)
    assert card.bandwidth == pytest.approx(bandwidth * 1e9, rel=0.01)
    assert card.tflops == pytest.approx(tflops, rel=0.01)


def test_what_a_card_supports_follows_from_its_generation() -> None:
    assert not by_name("T4").bf16
    assert not by_name("T4").flash
    assert by_name("T4").int8
    assert by_name("RTX 3090").flash
    assert not by_name("RTX 3090").fp8
    assert by_name("RTX 4090").fp8
    assert not by_name("V100 SXM 32 GB").supported
    assert by_name("RTX 2060 6 GB").supported


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4090", ["RTX 4090"]),
        ("rtx4090", ["RTX 4090"]),
        ("NVIDIA GeForce RTX 4090", ["RTX 4090"]),
        ("4090 laptop", ["RTX 4090 Laptop"]),
        ("rtx 3060 12", ["RTX 3060 12 GB"]),
        ("3060 8gb", ["RTX 3060 8 GB"]),
        ("3060ti", ["RTX 3060 Ti"]),
        ("4070 ti super", ["RTX 4070 Ti Super"]),
        ("4060 ti", ["RTX 4060 Ti 8 GB", "RTX 4060 Ti 16 GB"]),
        ("h100", ["H100 PCIe", "H100 SXM", "H100 NVL"]),
        ("A100 80", ["A100 PCIe 80 GB", "A100 SXM 80 GB"]),
        ("t4", ["T4"]),
        ("6000", ["Quadro RTX 6000", "RTX 6000 Ada", "RTX PRO 6000"]),
    ],
)
def test_names_find_cards(text: str, expected: list[str]) -> None:
    assert names(text) == expected


def test_every_card_is_found_by_its_own_name_and_its_drivers() -> None:
    for card in CARDS:
        assert names(card.name) == [card.name]
        assert card in find_cards(card.driver)
        assert card_of(GpuFacts(0, card.driver, card.capability, card.memory_bytes, 0)) is card


@pytest.mark.parametrize("text", ["24 GB", "24GiB", "24g", "24", " 24 gb ", "24576 MiB"])
def test_sizes_give_an_invented_card(text: str) -> None:
    (card,) = find_cards(text)
    assert card.memory_bytes == 24 * GIB
    assert card.bf16
    real = [other for other in CARDS if other.gigabytes == 24]
    assert min(other.tflops for other in real) < card.tflops < max(other.tflops for other in real)
    assert card_of(GpuFacts(0, card.driver, card.capability, card.memory_bytes, 0)) == card


def test_sizes_between_and_above_all_cards() -> None:
    assert card_of_size(13).memory_bytes == 13 * GIB
    assert card_of_size(13).tflops == card_of_size(16).tflops
    assert card_of_size(500).tflops == by_name("B200").tflops


@pytest.mark.parametrize(
    ("driver", "mebibytes", "expected"),
    [
        ("NVIDIA GeForce RTX 4060 Ti", 16380, "RTX 4060 Ti 16 GB"),
        ("NVIDIA GeForce RTX 4060 Ti", 8188, "RTX 4060 Ti 8 GB"),
        ("NVIDIA GeForce RTX 3080 Laptop GPU", 16384, "RTX 3080 16 GB Laptop"),
        ("NVIDIA GeForce GTX 1060 6GB", 6144, "GTX 1060 6 GB"),
        ("NVIDIA H200 NVL", 143771, "H200 NVL"),
        ("NVIDIA H200", 143771, "H200 SXM"),
        ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", 97887, "RTX PRO 6000 Max-Q"),
        ("NVIDIA RTX A2000 12GB", 12282, "RTX A2000 12 GB"),
        ("NVIDIA TITAN RTX", 24576, "TITAN RTX"),
    ],
)
def test_drivers_names_find_the_card_of_that_size(driver: str, mebibytes: int, expected: str) -> None:
    found = card_of(GpuFacts(0, driver, (8, 0), mebibytes * MIB, 0))
    assert found is not None
    assert found.name == expected


@pytest.mark.parametrize("driver", ["Mystery", "NVIDIA GeForce RTX 3050 Ti Laptop GPU", "GeForce 940M", ""])
def test_drivers_names_that_are_not_listed_find_nothing(driver: str) -> None:
    assert card_of(GpuFacts(0, driver, (8, 0), 4096 * MIB, 0)) is None


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("4900", "RTX 4090"),
        ("h1000", "H100"),
        ("rtx 4095", "RTX 4090"),
        ("rtx 3060 24", "RTX 3060 12 GB"),
        ("h100 40", "H100 PCIe or H100 SXM"),
        ("MI300X", "NVIDIA"),
        ("", "24 GB"),
        ("§", "24 GB"),
        ("0 gb", "512"),
        ("-24", "512"),
        ("1 TB", "512"),
        ("24 MB", "512"),
    ],
)
def test_what_is_not_known_is_refused_with_the_nearest(text: str, advice: str) -> None:
    with pytest.raises(UserError) as refusal:
        find_cards(text)
    assert advice in refusal.value.problems[0].advice
