"""``lowrank plan`` for other cards, with what makes a run fit, and without data or a downloaded model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.cli.room_report import room_of
from core.errors import ExitCode
from core.facts import hardware
from core.facts.types import HardwareFacts
from core.plan.cards import CARDS
from core.runs import prepare
from tests.core.cli.conftest import Said
from tests.core.plan.invented_facts import facts, spec

LowRank = Callable[..., Said]
Basics = tuple[str, ...]
CATALOGUED = "Qwen/Qwen3-8B"
COLUMNS = 80


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch, lowrank_home: Path) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    facts_here = replace(
        hardware.read_hardware(lowrank_home), gpus=(), ram_total_bytes=64 << 30, ram_free_bytes=48 << 30
    )

    def read(_folder: Path) -> HardwareFacts:
        return facts_here

    monkeypatch.setattr(prepare, "read_hardware", read)


def planned(lowrank: LowRank, *words: object) -> Any:
    return lowrank("plan", "--set", f"model.base={CATALOGUED}", *words, "--json").json


def narrow(said: Said) -> bool:
    """Whether nothing but a word that cannot be broken, such as a path, is wider than the terminal."""
    return all(len(line) <= COLUMNS or len(line.split()) <= 2 for line in said.out.splitlines())


def test_a_model_of_the_catalogue_is_planned_without_files_and_without_data(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}")
    assert said.code == ExitCode.BAD_SPEC  # it cannot start: neither model nor rows are here
    assert "1,000 assumed rows of 512 tokens" in " ".join(said.out.split())
    assert "--download" in said.out
    assert "Time " in said.out
    assert narrow(said)
    found = planned(lowrank)
    assert found["plan"]["duration"]["seconds"] > 0
    assert found["can_start"] is False
    assert found["exit_code"] == ExitCode.BAD_SPEC
    assert found["assumed"]


def test_a_model_that_nobody_knows_is_refused(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", "model.base=nobody/knows-this-model", "--gpu", "4090")
    assert said.code == ExitCode.BAD_SPEC
    assert "nobody/knows-this-model" in said.err


def test_data_alone_is_too_little(lowrank: LowRank, rows: Path) -> None:
    said = lowrank("plan", "--set", f"data.train={rows}")
    assert said.code == ExitCode.BAD_SPEC
    assert "--set model.base=…" in said.err
    assert "data.train=…" not in said.err


def test_a_run_still_needs_data(lowrank: LowRank, tiny_model: Path) -> None:
    said = lowrank("run", "--set", f"model.base={tiny_model}")
    assert said.code == ExitCode.BAD_SPEC
    assert "data.train" in said.err


def test_one_card_gives_its_whole_plan(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", "rtx 3060 12")
    assert said.code == ExitCode.DONE
    assert said.out.index("Planned for the RTX 3060 12 GB") < said.out.index("Memory")
    assert "Energy" not in said.out
    assert "of energy" in said.out
    assert said.out.rstrip().endswith("This would fit the RTX 3060 12 GB.")
    assert narrow(said)
    found = planned(lowrank, "--gpu", "rtx 3060 12")
    assert found["gpu"]["name"] == "RTX 3060 12 GB"
    assert found["can_start"] is False
    assert found["plan"]["choices"]["quantization"]["value"] == "nf4"
    memory = found["plan"]["memory"]
    assert sum(part["bytes"] for part in memory["parts"]) == memory["peak_bytes"]
    assert "shown_bytes" in memory


def test_a_card_that_is_too_small_is_its_own_exit_status(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", "4 GB")
    assert said.code == ExitCode.DOES_NOT_FIT
    assert said.out.rstrip().endswith("This would not fit a card with 4 GB.")
    assert planned(lowrank, "--gpu", "4 GB")["exit_code"] == ExitCode.DOES_NOT_FIT


def test_several_cards_give_a_table(lowrank: LowRank) -> None:
    words = ("--set", f"model.base={CATALOGUED}", "--gpu", "4090, t4", "--gpu", "4 GB,4090")
    said = lowrank("plan", *words)
    assert said.code == ExitCode.DONE
    lines = said.out.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("Card "))
    assert [line.split("  ")[0].strip() for line in lines[first + 1 : first + 4]] == ["RTX 4090", "T4", "4 GB"]
    assert " yes " in lines[first + 1]
    assert " no " in lines[first + 3]
    assert "The smallest card that holds this run" in said.out
    assert narrow(said)
    found = lowrank("plan", *words, "--json").json
    assert [one["card"]["name"] for one in found["gpus"]] == ["RTX 4090", "T4", "4 GB"]
    assert [one["verdict"] for one in found["gpus"]] == ["fits", "fits", "does_not_fit"]
    assert found["smallest_card"]["gigabytes"] <= 24


def test_all_cards(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--set", "hardware.attention=flash", "--gpu", "all")
    assert said.code == ExitCode.DONE
    assert all(f"\n{card.name} " in said.out for card in CARDS)
    assert " cannot " in said.out
    assert said.out.count("Cannot: ") == len({card.capability for card in CARDS if not card.flash})
    assert said.out.count("no kernels for the card") == len({c.capability for c in CARDS if not c.supported})
    assert narrow(said)


def test_no_card_is_enough(lowrank: LowRank) -> None:
    words = ("--set", "model.base=meta-llama/Llama-3.1-70B", "--set", "adapter.method=full", "--gpu", "4090,3090")
    said = lowrank("plan", *words)
    assert said.code == ExitCode.DOES_NOT_FIT
    assert "None of the cards that are known holds this run" in said.out


def test_cards_that_nobody_knows_are_named_together(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", "4900,h1000,t4")
    assert said.code == ExitCode.BAD_SPEC
    assert "“4900”" in said.err
    assert "“h1000”" in said.err
    assert "Did you mean RTX 4090" in said.err


@pytest.mark.parametrize("text", ["", " , "])
def test_no_card_is_named(lowrank: LowRank, text: str) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", text)
    assert said.code == ExitCode.BAD_SPEC
    assert "names no card" in said.err


def test_a_comma_too_many_is_no_card(lowrank: LowRank) -> None:
    assert planned(lowrank, "--gpu", "4090,")["gpu"]["name"] == "RTX 4090"


@pytest.mark.parametrize("text", ["-24", "0", "24 MB", "2 TB"])
def test_impossible_sizes_are_refused(lowrank: LowRank, text: str) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", text)
    assert said.code == ExitCode.BAD_SPEC
    assert "Name a size between 1 GB and 512 GB" in said.err


def test_a_card_that_is_too_old_cannot_run_it_whatever_its_memory(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", "1080 ti")
    assert said.code == ExitCode.BAD_SPEC
    assert said.out.rstrip().endswith("This cannot run on the GTX 1080 Ti.")
    assert "none of the 16-bit formats" in " ".join(said.out.split())
    assert planned(lowrank, "--gpu", "1080 ti, 2080 ti")["exit_code"] == ExitCode.DONE


def test_solve_wants_one_card(lowrank: LowRank) -> None:
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", "--gpu", "h100", "--solve")
    assert said.code == ExitCode.BAD_SPEC
    assert "3 are meant" in said.err


def test_solve_offers_what_fits_when_it_is_planned_again(lowrank: LowRank) -> None:
    settings = ("model.quantization=none", "data.max_length=16384", "hardware.activation_checkpointing=off")
    words = ("--gpu", "4090", *(word for setting in settings for word in ("--set", setting)))
    said = lowrank("plan", "--set", f"model.base={CATALOGUED}", *words, "--solve")
    assert said.code == ExitCode.DOES_NOT_FIT
    assert "Make it fit" in said.out
    assert narrow(said)
    found = planned(lowrank, *words, "--solve")
    best = found["room"]["solution"]["best"]
    assert best["fits"]
    mended = [word for edit in best["edits"] for word in ("--set", f"{edit['path']}={edit['value']}")]
    again = planned(lowrank, *words, *mended)
    assert again["exit_code"] == ExitCode.DONE
    assert again["plan"]["memory"]["peak_bytes"] == best["peak_bytes"]


def test_solve_says_how_far_a_run_that_fits_can_go(lowrank: LowRank, basics: Basics) -> None:
    said = lowrank("plan", *basics, "--solve")
    assert said.code == ExitCode.DONE
    assert "The run fits as it is." in said.out
    assert "--set adapter.rank=32" in said.out  # as wide as the model's widest module on its narrow side
    room = lowrank("plan", *basics, "--solve", "--json").json["room"]
    assert set(room["largest"]) == {
        "data.max_length",
        "adapter.rank",
        "training.micro_batch_tokens",
        "training.effective_batch",
    }
    assert room["smallest_card"]["name"]


def test_a_plan_is_printed_with_its_parts(lowrank: LowRank, basics: Basics) -> None:
    said = lowrank("plan", *basics)
    assert said.code == ExitCode.DONE
    assert narrow(said)
    for words in ("tokens a second", "Counted from", "Base weights", "Choices", "This can start."):
        assert words in said.out
    found = lowrank("plan", *basics, "--json").json
    assert found["can_start"] is True
    assert found["gpu"] is None
    assert found["room"] is None
    assert found["assumed"] == ""
    assert json.dumps(found, allow_nan=False)


def test_room_of_an_unknown_model_is_empty() -> None:
    known = replace(facts("rtx4090", "1b"), model=None)
    room = room_of(spec(), known)
    assert room.solution.best is None
    assert set(room.largest.values()) == {None}
    assert room.smallest is None
