"""Every problem that facts reveal: its path, its sentence, and a fix that mends it."""

import dataclasses

import pytest

from core.errors import Problem, Severity
from core.facts.types import Facts
from core.plan.planner import plan
from core.spec.rules import check
from core.spec.run_spec import RunSpec
from core.units import GIB
from tests.core.plan.invented_facts import MACHINES, MODELS, data, facts, lengths, spec

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def with_model(**changes: object) -> Facts:
    return dataclasses.replace(facts(), model=dataclasses.replace(MODELS["1b"], **changes))  # type: ignore[arg-type]


def with_data(**changes: object) -> Facts:
    return dataclasses.replace(facts("rtx4090", "1b"), data=data(**changes))  # type: ignore[arg-type]


def found(asked: RunSpec, known: Facts, path: str) -> Problem:
    (problem,) = [problem for problem in plan(asked, known).problems if problem.path == path]
    return problem


def mended(asked: RunSpec, problem: Problem, index: int = 0) -> RunSpec:
    for edit in problem.fixes[index].edits:
        asked = asked.replace(edit.path, edit.value)
    return asked


def test_a_good_spec_has_no_problems() -> None:
    made = plan(spec(), facts("rtx4090", "1b"))
    assert made.problems == ()
    assert made.can_start


def test_nothing_known_still_gives_a_plan() -> None:
    made = plan(RunSpec(), Facts(MACHINES["rtx4090"]))
    assert not made.can_start
    assert (made.parameters, made.batch, made.curve, made.disk, made.duration) == (None,) * 5
    assert made.memory is not None
    assert made.memory.verdict == "unknown"
    assert made.memory.limit_bytes == 24 * GIB
    # The spec's own rules already say that base and data are missing; they are not said twice.
    assert [problem.path for problem in made.problems if problem.severity is ERROR] == ["model.base", "data.train"]
    assert len(made.problems) == 2


def test_chosen_but_unread_files_are_said() -> None:
    made = plan(spec(), Facts(MACHINES["rtx4090"]))
    assert [(problem.severity, problem.path) for problem in made.problems] == [
        (INFO, "model.base"),
        (INFO, "data.train"),
    ]
    assert "“some-model”" in made.problems[0].message
    assert "2,048 tokens" in made.problems[1].message


def test_half_of_the_facts() -> None:
    only_model = plan(spec(), Facts(MACHINES["rtx4090"], MODELS["1b"]))
    assert only_model.parameters is not None
    assert only_model.memory is not None
    assert only_model.memory.verdict == "fits"
    assert only_model.disk is not None
    assert (only_model.batch, only_model.duration, only_model.can_start) == (None, None, False)
    only_data = plan(spec(), Facts(MACHINES["rtx4090"], None, data()))
    assert only_data.batch is not None
    assert only_data.curve is not None
    assert (only_data.parameters, only_data.duration, only_data.can_start) == (None, None, False)


def test_targets_that_are_not_there() -> None:
    made = plan(spec(adapter__targets=("qproj",)), facts("rtx4090", "1b"))
    assert made.parameters is None
    assert made.memory is not None
    assert made.memory.verdict == "unknown"
    assert "q_proj" in str(made.problems[0])
    assert not made.can_start


def test_problems_of_the_spec_come_first_and_win() -> None:
    asked = spec(adapter__layers="everything", adapter__alpha=1.0)
    problems = plan(asked, facts("rtx4090", "1b")).problems
    assert problems[: len(check(asked))] == check(asked)
    assert len([problem for problem in problems if problem.path == "adapter.layers"]) == 1


@pytest.mark.parametrize(
    "path", ["adapter.rank", "adapter.targets", "data.max_length", "training.epochs", "output.name"]
)
@pytest.mark.parametrize("value", [None, "nonsense", -5, ["x"], float("nan"), object()])
def test_values_of_wrong_types_never_raise(path: str, value: object) -> None:
    made = plan(spec().replace(path, value), facts("rtx4090", "1b"))
    assert made.memory is not None


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"path": "/models/tiny.Q8_0.GGUF"}, "model.base", "lowrank models --import /models/tiny.Q8_0.GGUF"),
        ({"prequantized": "gptq"}, "model.base", "already quantized (gptq)"),
        ({"remote_code": True}, "model.trust_remote_code", "its own Python code"),
        ({"context_length": 1024}, "data.max_length", "at most 1,024"),
    ],
)
def test_models_that_are_refused(changes: dict[str, object], path: str, words: str) -> None:
    known = with_model(**changes)
    problem = found(spec(), known, path)
    assert problem.severity is ERROR
    assert words in str(problem)
    assert not plan(spec(), known).can_start


def test_consent_and_a_shorter_limit_mend_what_they_should() -> None:
    for changes, path in (
        ({"remote_code": True}, "model.trust_remote_code"),
        ({"context_length": 1024}, "data.max_length"),
    ):
        known = with_model(**changes)
        asked = mended(spec(), found(spec(), known, path))
        assert plan(asked, known).can_start


def test_an_unknown_context_is_no_limit() -> None:
    assert plan(spec(), with_model(context_length=0)).can_start


def test_rows_that_are_cut() -> None:
    known = with_data(train=lengths(longest=2048, truncated=3, lost=500))
    problem = found(spec(), known, "data.max_length")
    assert problem.severity is INFO
    assert "3 of 2,100 rows" in problem.message
    assert "0.10 % of all tokens are lost, the ends of answers among them" in problem.message
    # The longest of the three lost at most 498 tokens.
    assert problem.fixes[0].edits[0].value == 2560
    assert all(p.path != "data.max_length" for p in plan(mended(spec(), problem), known).problems)
    full = dataclasses.replace(known, model=dataclasses.replace(MODELS["1b"], context_length=2048))
    assert found(spec(), full, "data.max_length").fixes == ()
    double = with_data(train=lengths(longest=2048, truncated=1, lost=90_000))
    assert found(spec(), double, "data.max_length").fixes[0].edits[0].value == 4096


def test_rows_without_loss_too_few_rows_and_large_steps() -> None:
    # The reader of the data names rows without loss and where they are; the plan does not say it again.
    assert plan(spec(), with_data(fully_masked_rows=12)).problems == ()
    few = with_data(train=lengths(rows=30))
    assert found(spec(), few, "data.train").severity is WARNING
    large = spec(training__effective_batch=64)
    problem = found(large, few, "training.effective_batch")
    assert mended(large, problem).training.effective_batch == 2
    assert all(p.path != "training.effective_batch" for p in plan(mended(large, problem), few).problems)
    none = found(spec(), with_data(train=lengths(0, 0, 0)), "data.train")
    assert none.severity is ERROR
    single = with_data(train=lengths(rows=1))
    assert found(spec(), single, "training.effective_batch").fixes[0].edits[0].value == 1


def test_a_built_in_template_is_named() -> None:
    known = dataclasses.replace(with_data(template_name="chatml"), model=dataclasses.replace(MODELS["1b"], template=""))
    problem = found(spec(), known, "data.template")
    assert "“chatml”" in problem.message
    assert all(p.path != "data.template" for p in plan(mended(spec(), problem), known).problems)
    for quiet in (with_data(template_name="model"), with_data(template_name="chatml", shape="text")):
        assert all(problem.path != "data.template" for problem in plan(spec(), quiet).problems)


def test_disks() -> None:
    known = facts("rtx4090", "1b")
    full = dataclasses.replace(known, hardware=dataclasses.replace(known.hardware, disk_free_bytes=GIB // 10))
    problem = found(spec(), full, "output.folder")
    assert problem.severity is ERROR
    assert "free where it goes" in problem.message
    tight = dataclasses.replace(known, hardware=dataclasses.replace(known.hardware, disk_free_bytes=2 * GIB))
    assert found(spec(), tight, "output.folder").severity is WARNING


def test_no_gpu_where_one_is_asked_for() -> None:
    known = facts("cpu24", "135m")
    asked = spec(hardware__device="cuda")
    problem = found(asked, known, "hardware.device")
    assert problem.severity is ERROR
    made = plan(asked, known)
    assert made.choices.device.value == "cpu"
    assert not made.can_start
    assert plan(mended(asked, problem), known).can_start


def test_what_the_hardware_could_not_tell_is_passed_on() -> None:
    sentence = "The NVIDIA driver answered with an error."
    known = dataclasses.replace(facts("cpu24", "135m"))
    known = dataclasses.replace(known, hardware=dataclasses.replace(known.hardware, problems=(sentence,)))
    problem = found(spec(), known, "hardware.device")
    assert (problem.severity, problem.message) == (INFO, sentence)


def test_more_checkpointed_layers_than_there_are() -> None:
    asked = spec(hardware__activation_checkpointing="layers", hardware__checkpointed_layers=99)
    problem = found(asked, facts("rtx4090", "1b"), "hardware.checkpointed_layers")
    assert "has 16" in problem.message


def test_early_stopping_without_validation_rows() -> None:
    known = with_data(validation=lengths(0, 0, 0))
    problem = found(spec(training__early_stopping=3), known, "training.early_stopping")
    assert problem.severity is WARNING


def test_a_run_of_one_step() -> None:
    problem = found(spec(training__epochs=0.005), with_data(), "training.epochs")
    assert problem.severity in (WARNING, ERROR)


def test_every_sentence_is_one() -> None:
    known = with_data(
        train=lengths(rows=20, longest=2048, truncated=3, lost=500), fully_masked_rows=1, template_name="chatml"
    )
    model = dataclasses.replace(
        MODELS["70b"], remote_code=True, prequantized="awq", path="/m/x.gguf", context_length=512, template=""
    )
    known = dataclasses.replace(known, model=model)
    for asked in (
        spec(),
        spec(adapter__method="full"),
        spec(hardware__attention="eager", training__effective_batch=99),
    ):
        problems = plan(asked, known).problems
        assert len(problems) > 8
        for problem in problems:
            for text in (problem.message, problem.advice):
                assert text.endswith((".", "?")), text
                assert text[0] == text[0].upper(), text
                assert "  " not in text
                assert '"' not in text
            assert problem.path
