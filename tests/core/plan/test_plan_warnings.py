"""Every piece of advice: what brings it up, what only nearly does, that its fixes mend it, and that it is rare."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Fix, Problem, Severity
from core.facts.types import DataFacts, Facts
from core.plan.planner import plan
from core.spec.demo import demo_spec
from core.spec.presets import apply_preset, presets
from core.spec.run_spec import RunSpec
from tests.core.plan.advice_cases import ADVICE, ERROR, INFO, World
from tests.core.plan.invented_facts import MACHINES, MODELS, data, lengths, spec


def at(world: World, path: str, words: str, changed: RunSpec | None = None) -> list[Problem]:
    return [item for item in world.problems(changed) if item.path == path and words in str(item)]


def after(asked: RunSpec, fix: Fix) -> RunSpec:
    for edit in fix.edits:
        asked = asked.replace(edit.path, edit.value)
    return asked


def errors(problems: tuple[Problem, ...]) -> set[tuple[str, str]]:
    return {(item.path, item.message) for item in problems if item.severity is ERROR}


@pytest.mark.parametrize("name", ADVICE)
def test_it_speaks_when_it_should(name: str) -> None:
    advice = ADVICE[name]
    found = at(advice.hit, advice.path, advice.words)
    assert len(found) == 1, [str(item) for item in advice.hit.problems()]
    assert found[0].severity is advice.severity
    assert len(found[0].fixes) == advice.fixes, [fix.title for fix in found[0].fixes]


@pytest.mark.parametrize("name", ADVICE)
def test_it_is_silent_just_before(name: str) -> None:
    advice = ADVICE[name]
    assert not [str(item) for item in advice.near.problems() if item.path == advice.path]


@pytest.mark.parametrize("name", [name for name, advice in ADVICE.items() if advice.fixes])
def test_each_fix_mends_it_and_breaks_nothing(name: str) -> None:
    advice = ADVICE[name]
    (found,) = at(advice.hit, advice.path, advice.words)
    for fix in found.fixes:
        changed = after(advice.hit.spec, fix)
        before = errors(advice.hit.problems())
        if any(edit.path == "data.validation_share" for edit in fix.edits):
            continue  # the data has to be read again before anything can change
        assert not at(advice.hit, advice.path, found.message, changed)
        assert found.path not in {item.path for item in advice.hit.problems(changed)}, fix.title
        assert errors(advice.hit.problems(changed)) <= before


def test_a_larger_share_gives_enough_rows_to_measure() -> None:
    advice = ADVICE["a validation loss of three rows"]
    (found,) = at(advice.hit, advice.path, advice.words)
    share = found.fixes[0].edits[0].value
    assert isinstance(share, float)
    assert share * 103 >= 10


def test_every_sentence_is_one() -> None:
    for advice in ADVICE.values():
        for problem in advice.hit.problems():
            for text in (problem.message, problem.advice):
                assert text.endswith((".", "?")), text
                assert text[0] == text[0].upper(), text
                assert "  " not in text
                assert '"' not in text


USUAL_ROWS: dict[str, Callable[[], DataFacts]] = {
    "few chats": lambda: data(lengths(rows=400, mean=180, longest=500), lengths(21, mean=180)),
    "chats": lambda: data(lengths(rows=8000, mean=220, longest=500), lengths(420, mean=220)),
    "many chats": lambda: data(lengths(rows=60_000, mean=300, longest=500), lengths(500, mean=300)),
    "text": lambda: data(lengths(rows=3000, mean=480, longest=500, supervised=1.0), lengths(158), shape="text"),
}


# “quick-cpu” says itself that it is for models of up to half a billion parameters.
STARTS = [(preset, model) for preset in ("", *(item.name for item in presets())) for model in ("135m", "1b", "8b")]
STARTS = [(preset, model) for preset, model in STARTS if preset != "quick-cpu" or model == "135m"]


@pytest.mark.parametrize("rows", USUAL_ROWS)
@pytest.mark.parametrize(("preset", "model"), STARTS)
def test_presets_and_defaults_are_not_nagged_at(rows: str, preset: str, model: str) -> None:
    asked = apply_preset(preset, spec()) if preset else spec()
    hardware = MACHINES["cpu24"] if asked.hardware.device == "cpu" else MACHINES["rtx4090"]
    found = plan(asked, Facts(hardware, MODELS[model], USUAL_ROWS[rows]())).problems
    assert [str(item) for item in found if item.severity is not INFO] == []
    assert len(found) <= 1, [str(item) for item in found]


@pytest.mark.parametrize("hardware", ["cpu24", "rtx4090"])
def test_the_demo_is_not_nagged_at(hardware: str) -> None:
    """The bundled rows: 999 of up to 571 tokens, 111 held back."""
    rows = data(lengths(rows=999, mean=150, longest=571, supervised=0.75), lengths(111, mean=150, longest=529))
    model = dataclasses.replace(MODELS["135m"], path="/models/SmolLM2-135M-Instruct")
    found = plan(demo_spec("starter"), Facts(MACHINES[hardware], model, rows)).problems
    # It shows 4 bits, which spare so small a model nothing on a processor; that is worth a word, and no warning.
    spared = [(INFO, "model.quantization")] if hardware == "cpu24" else []
    assert [(problem.severity, problem.path) for problem in found] == spared


@settings(max_examples=80, deadline=None)
@given(
    machine_name=st.sampled_from(sorted(MACHINES)),
    model_name=st.sampled_from(sorted(MODELS)),
    family=st.sampled_from(["llama", "gemma3_text"]),
    rows=st.sampled_from([0, 1, 7, 40, 300, 5000, 100_000]),
    cut=st.sampled_from([0, 1, 20]),
    held=st.sampled_from([0, 2, 400]),
    shape=st.sampled_from(["messages", "text"]),
    changes=st.fixed_dictionaries(
        {
            "training.learning_rate": st.sampled_from([1e-7, 2e-5, 2e-4, 9e-4, 0.01]),
            "training.warmup": st.sampled_from([0.0, 0.05, 0.5]),
            "training.epochs": st.sampled_from([0.01, 1.0, 3.0, 60.0]),
            "training.effective_batch": st.sampled_from([1, 16, 4096]),
            "training.max_steps": st.sampled_from([0, 1, 30_000]),
            "training.early_stopping": st.sampled_from([0, 3, 200]),
            "training.evaluate_every": st.sampled_from([0, 1, 100_000]),
            "training.checkpoint_minutes": st.sampled_from([0.0, 0.01, 10.0, 900.0]),
            "adapter.method": st.sampled_from(["lora", "rslora", "dora", "full"]),
            "adapter.rank": st.sampled_from([1, 16, 1024]),
            "adapter.alpha": st.sampled_from([0.1, 32.0, 2048.0]),
            "adapter.dropout": st.sampled_from([0.0, 0.05, 0.8]),
            "adapter.targets": st.sampled_from([("all-linear",), ("attention",)]),
            "adapter.rank_pattern": st.sampled_from([{}, {"q_proj": 900}]),
            "model.quantization": st.sampled_from(["auto", "none", "nf4", "int8"]),
            "model.compute_dtype": st.sampled_from(["auto", "fp16", "bf16"]),
            "data.packing": st.sampled_from(["auto", "off"]),
            "data.template": st.sampled_from(["auto", "none", "chatml"]),
        }
    ),
)
def test_no_fix_ever_trades_a_warning_for_an_error(
    machine_name: str,
    model_name: str,
    family: str,
    rows: int,
    cut: int,
    held: int,
    shape: str,
    changes: dict[str, Any],
) -> None:
    asked = spec()
    for path, value in changes.items():
        asked = asked.replace(path, value)
    train = lengths(rows, 300, 2048, truncated=min(cut, rows), lost=900 * min(cut, rows))
    model = dataclasses.replace(MODELS[model_name], family=family, path="/models/Some-Instruct")
    known = Facts(MACHINES[machine_name], model, data(train, lengths(held), shape=shape))
    before = plan(asked, known).problems
    for problem in (item for item in before if item.severity is not ERROR):
        for fix in problem.fixes:
            now = plan(after(asked, fix), known).problems
            new = errors(now) - errors(before)
            # Where a run does not fit already, the sentence about it has other numbers.
            paths = {path for path, _ in new} - {path for path, _ in errors(before)}
            assert not paths, (problem.message, fix.title, new)
            if problem.path != "hardware.device":
                assert problem not in now, (problem, fix.title)


def test_a_rank_gets_one_piece_of_advice() -> None:
    rows = data(lengths(rows=300))
    asked = spec(adapter__rank=512, adapter__alpha=1024.0)
    found = plan(asked, Facts(MACHINES["rtx4090"], MODELS["135m"], rows)).problems
    assert [item.severity for item in found if item.path == "adapter.rank"] == [Severity.WARNING]
