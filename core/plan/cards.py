"""Common NVIDIA GPUs by their data sheets, and finding them by name, by size, or by what the driver calls them.

Source: NVIDIA's data sheets, product pages and architecture white papers from Pascal to Blackwell; for the RTX PRO
cards, which have no table of clocks there, public databases of GPUs. The memory is what ``nvidia-smi`` lists as the
total, a little less than the number on the box, as published logs show it. Rules that hold within a generation (the
tests hold the table to them):

* Throughput is dense, 16-bit, with 32-bit sums. GeForce cards from Turing on do that at half the rate of the same chip
  in a workstation card. Cards without tensor cores (Pascal, GTX 16) are listed with their 32-bit rate: their fast
  16-bit units sum in 16 bits, which training cannot use.
* Laptop GPUs run at what the laptop's maker allows; the numbers are for the highest power and clock that NVIDIA lists.
"""

import difflib
import functools
import re
from dataclasses import dataclass

from core.errors import UserError, error
from core.facts.types import GpuFacts
from core.plan.card_table import GROUPS, SPOKEN, Group, Kind, Row
from core.units import GIB, MIB

OLDEST_SUPPORTED = (7, 5)
"""PyTorch's builds for CUDA 13, the default on PyPI, have kernels from this compute capability on."""
AMPERE, ADA, HOPPER = (8, 0), (8, 9), (9, 0)
LARGEST_SIZE = 512
ALIKE = 0.65
"""How alike a name must be to what was asked for to be proposed, as `difflib` counts."""
MOST_PROPOSED = 4
_INVENTED = "GPU with "
_UNITS = {"m": MIB, "g": GIB, "t": 1024 * GIB}
# Words that make another card of the same number, so they have to be said: “4070” is not the 4070 Ti.
_APART = frozenset({"ti", "super", "laptop", "d", "max", "q", "server"})
_SIZE = re.compile(r"([-+]?\d{1,6}(?:[.,]\d+)?)\s*(m(?=i?b)|g|t(?=i?b))?(?:i?b)?")
_WORD = re.compile(r"[rg]tx|[a-z]+\d+[a-z]*|\d+|[a-z]+")
_NUMBER = re.compile(r"\d{4}|[a-z]+\d+[a-z]*")
_SILENT = frozenset(
    {"nvidia", "geforce", "tesla", "gpu", "generation", "edition", "blackwell", "workstation", "card", "gb", "gib", "g"}
)


@dataclass(frozen=True, slots=True)
class Card:
    """One model of GPU in one memory size; what it supports follows from its compute capability.

    Attributes:
        name: what people call it, or the size alone; unique.
        driver: what the driver calls it; the same for two sizes of one model.
        gigabytes: the size on the box.
        memory_bytes: what the driver shows as the total.
        bandwidth: of its memory, bytes a second.
        tflops: dense 16-bit products with 32-bit sums, 10^12 operations a second.
        fp32_tflops: the same in 32 bits, without TF32.
        watts: most power that the board takes.
    """

    name: str
    driver: str
    kind: Kind
    gigabytes: float
    memory_bytes: int
    bandwidth: float
    tflops: float
    fp32_tflops: float
    capability: tuple[int, int]
    watts: int

    @property
    def invented(self) -> bool:
        """Whether it is a size without a name, see `card_of_size`."""
        return self.kind == "any"

    @property
    def bf16(self) -> bool:
        """Whether bfloat16 is fast."""
        return self.capability >= AMPERE

    @property
    def flash(self) -> bool:
        """Whether flash attention over rows of any length runs."""
        return self.capability >= AMPERE

    @property
    def int8(self) -> bool:
        """Whether 8-bit integer products have tensor cores, which LLM.int8 needs."""
        return self.capability >= OLDEST_SUPPORTED

    @property
    def fp8(self) -> bool:
        """Whether 8-bit floating-point products have tensor cores."""
        return self.capability >= ADA

    @property
    def supported(self) -> bool:
        """Whether the PyTorch that the set-up installs has kernels for it."""
        return self.capability >= OLDEST_SUPPORTED


def _card(group: Group, row: Row) -> Card:
    said, gigabytes, mebibytes, bandwidth, tflops, single, watts = row
    model = said if said in SPOKEN else re.sub(r" \d+ GB$", "", said)
    name = SPOKEN.get(said, said) + (" Laptop" if group.kind == "laptop" else "")
    driver = group.driver.replace("*", model)
    memory, speed = mebibytes * MIB, bandwidth * 1e9
    return Card(name, driver, group.kind, gigabytes, memory, speed, tflops, single, group.capability, watts)


CARDS: tuple[Card, ...] = tuple(
    sorted(
        (_card(group, row) for group in GROUPS for row in group.rows),
        key=lambda card: (card.gigabytes, card.watts, card.name),
    )
)
"""Every card that is known: smallest memory first, then least power."""


def find_cards(text: str) -> tuple[Card, ...]:
    """The cards that a text means: a name or a part of one (“4090”, “rtx 3060 12”, “h100”), or a size (“24 GB”).

    A size gives one invented card of that memory, as fast as the middle one of the known cards of that size.

    Raises:
        UserError: nothing is called like that; the advice names what is.
    """
    asked = text.strip().casefold()
    gigabytes = _size_of(asked)
    if gigabytes is not None:
        return (card_of_size(gigabytes),)
    words = _words(asked)
    named = [card for card in CARDS if words and words <= _words_of(card)]
    if not named:
        raise UserError(error("", f"No GPU called “{text.strip()}” is known.", _nearest(asked)))
    exact = [card for card in named if not (_words_of(card) & _APART) - words]
    return tuple(exact or named)


def _size_of(asked: str) -> float | None:
    """The size in GB that a text means, with “GB” unless it names another unit; None for the number of a model."""
    size = _SIZE.fullmatch(asked)
    if size is None:
        return None
    number = float(size[1].replace(",", "."))
    return number * _UNITS[size[2] or "g"] / GIB if size[2] or number <= LARGEST_SIZE else None


def card_of_size(gigabytes: float) -> Card:
    """An invented card of this memory; as fast as the middle one of the known cards of that size, or the next larger.

    Raises:
        UserError: no card has that size.
    """
    if not 1 <= gigabytes <= LARGEST_SIZE:
        message = f"A GPU with {round(gigabytes, 2):g} GB does not exist."
        raise UserError(error("", message, f"Name a size between 1 GB and {LARGEST_SIZE} GB."))
    modern = [card for card in CARDS if card.bf16 and card.kind != "laptop"]
    nearest = min((card.gigabytes for card in modern if card.gigabytes >= gigabytes), default=modern[-1].gigabytes)
    like = sorted((card for card in modern if card.gigabytes == nearest), key=lambda card: card.tflops)
    middle = like[(len(like) - 1) // 2]
    return Card(
        name=f"{gigabytes:g} GB",
        driver=f"{_INVENTED}{gigabytes:g} GB",
        kind="any",
        gigabytes=gigabytes,
        memory_bytes=round(gigabytes * GIB),
        bandwidth=middle.bandwidth,
        tflops=middle.tflops,
        fp32_tflops=middle.fp32_tflops,
        capability=middle.capability,
        watts=middle.watts,
    )


def card_of(gpu: GpuFacts) -> Card | None:
    """The card that a GPU of this machine is, by the driver's name and its memory; None when it is not known."""
    return _card_called(gpu.name, gpu.total_bytes)


@functools.lru_cache(maxsize=256)
def _card_called(name: str, memory: int) -> Card | None:
    said = _words(name.casefold())
    size = _size_of(name.removeprefix(_INVENTED).casefold()) if name.startswith(_INVENTED) else None
    if size is not None:
        return card_of_size(size)
    fitting = [(len(words), card) for card, words in _DRIVER_WORDS if words <= said and said & _APART <= words]
    if not fitting:
        return None
    most = max(count for count, _ in fitting)
    return min((card for count, card in fitting if count == most), key=lambda card: abs(card.memory_bytes - memory))


def _words(text: str) -> frozenset[str]:
    """The words of a name that tell one card from another."""
    words = frozenset(_WORD.findall(text.replace("notebook", "laptop").replace("mobile", "laptop")))
    return words - _SILENT


@functools.cache
def _words_of(card: Card) -> frozenset[str]:
    return _words(f"{card.name} {card.driver}".casefold()) | {f"{card.gigabytes:g}"}


_DRIVER_WORDS = tuple((card, _words(card.driver.casefold())) for card in CARDS)


def _nearest(asked: str) -> str:
    """Names that share a number with what was asked for, or look like it; and the other way to ask."""
    sizes = "Sizes such as “24 GB” are understood as well."
    close_names = _of_that_number(asked) or _alike(asked)
    if close_names:
        return f"Did you mean {' or '.join(close_names)}? {sizes}"
    return f"Name an NVIDIA GPU such as “RTX 4090”. {sizes}"


def _of_that_number(asked: str) -> list[str]:
    numbers = {word for word in _words(asked) if _NUMBER.fullmatch(word)}
    near = sorted((card for card in CARDS if numbers & _words_of(card)), key=lambda card: card.kind == "laptop")
    return [card.name for card in near][:MOST_PROPOSED]


def _alike(asked: str) -> list[str]:
    names = {_compact(card.name): card.name for card in CARDS}
    short = {key.removeprefix("rtx").removeprefix("gtx"): name for key, name in names.items()}
    wanted = _compact(asked)
    close = difflib.get_close_matches(wanted, names, n=MOST_PROPOSED, cutoff=ALIKE)
    close = close or difflib.get_close_matches(wanted, short, n=MOST_PROPOSED, cutoff=ALIKE)
    return list(dict.fromkeys((names | short)[key] for key in close))


def _compact(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold().replace("nvidia", "").replace("geforce", ""))
