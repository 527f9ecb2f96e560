"""Runs that learn from pairs of answers, from rows to an adapter: they learn, stop, go on, and share their work."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.errors import JobError
from core.events.types import Evaluated, Notice, PhaseStarted, Progress, Step, Stopped
from core.paths import write_atomic
from core.runs.layout import RunFolder
from core.runs.resuming import accept, look_again
from core.runs.store import load_spec
from core.spec.codec import to_yaml
from tests.e2e.real_runs import DICTIONARY, Finished, create, execute, execute_inside, make_spec, run_inside

pytestmark = [pytest.mark.torch, pytest.mark.slow]

PAIRS = 10
SETTINGS: dict[str, Any] = {
    "data__train_on": "preferences",
    "data__max_length": 64,
    "training__max_steps": 5,
    "training__effective_batch": 4,
    "training__learning_rate": 1e-3,
    "training__warmup": 0.0,
}
TITLE = "reference"


def write_pairs(path: Path, count: int = PAIRS) -> Path:
    """The chosen answer is the dictionary's, the rejected one that of another word."""
    rows = [json.loads(line) for line in DICTIONARY.read_text(encoding="utf-8").splitlines()]
    rows = [row["messages"] for row in rows if len(row["messages"][-1]["content"]) < 120][: 2 * count]
    assert len(rows) == 2 * count
    lines = [
        {"prompt": own[-2]["content"], "chosen": own[-1]["content"], "rejected": other[-1]["content"]}
        for own, other in zip(rows[::2], rows[1::2], strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.jsonl")


def measured(finished: Finished) -> int:
    """How often the reference was measured."""
    return sum(phase.phase == TITLE for phase in finished.of(PhaseStarted))


def told(finished: Finished) -> list[tuple[float, float | None, float | None]]:
    found = {step.step: (step.loss, step.preferred, step.margin) for step in finished.of(Step)}
    return [found[step] for step in sorted(found)]


@pytest.fixture(scope="module")
def whole(short_starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run that nobody interrupts."""
    rows = write_pairs(tmp_path_factory.mktemp("whole") / "pairs.jsonl")
    return run_inside(short_starter, rows, **SETTINGS)


def test_a_run_begins_at_the_logarithm_of_two_and_learns(short_starter: Path, pairs: Path) -> None:
    settings = SETTINGS | {"training__max_steps": 12, "data__validation_share": 0.3, "training__learning_rate": 3e-3}
    finished = run_inside(short_starter, pairs, **settings)
    steps, evaluations = finished.of(Step), finished.of(Evaluated)
    assert steps[0].loss == pytest.approx(math.log(2), abs=2e-5)
    assert steps[0].margin == pytest.approx(0.0, abs=1e-4)
    assert evaluations[0].loss == pytest.approx(math.log(2), abs=2e-5)
    assert steps[-1].loss < 0.6 * math.log(2)
    assert steps[-1].preferred == 1.0
    assert steps[-1].margin > 0.3
    assert evaluations[-1].preferred is not None
    state = finished.state
    assert state.preferred == steps[-1].preferred
    assert state.margin == steps[-1].margin
    progress = [one for one in finished.of(Progress) if one.phase == TITLE]
    assert {one.unit for one in progress} == {"pairs"}


@pytest.mark.parametrize("kind", ["orpo", "dpo"])
def test_the_chosen_answer_is_learned_as_well(short_starter: Path, pairs: Path, kind: str) -> None:
    more = {"training__chosen_weight": 1.0} if kind == "dpo" else {}
    settings = SETTINGS | {"training__max_steps": 8, "training__preference_loss": kind}
    finished = run_inside(short_starter, pairs, **settings, **more)
    losses = finished.losses
    assert losses[0] > 2.0, "the loss of a whole answer is in it"
    assert losses[-1] < 0.9 * losses[0]
    assert measured(finished) == (kind == "dpo")
    assert finished.folder.reference.exists() is (kind == "dpo")


def test_stopped_and_resumed_is_the_same_to_the_bit(short_starter: Path, pairs: Path, whole: Finished) -> None:
    folder = create(make_spec(short_starter, pairs, **SETTINGS))

    def stop(body: Any) -> None:
        if isinstance(body, Step) and body.step == 2:
            ask(folder, "pause")

    first = execute_inside(folder, stop)
    assert isinstance(first.events[-1].body, Stopped)
    again = execute_inside(folder)
    assert told(again) == told(whole)
    assert measured(again) == 1, "what was measured is kept"


def ask(folder: RunFolder, what: str) -> None:
    folder.control.mkdir(exist_ok=True)
    folder.request(what).touch()  # type: ignore[arg-type]


def test_a_stop_while_measuring_keeps_what_is_known(short_starter: Path, pairs: Path, whole: Finished) -> None:
    folder = create(make_spec(short_starter, pairs, **SETTINGS, training__micro_batch_tokens=64))

    def stop(body: Any) -> None:
        if isinstance(body, Progress) and body.phase == TITLE and body.done == 1:
            ask(folder, "stop")

    first = execute_inside(folder, stop)
    ended = first.events[-1].body
    assert isinstance(ended, Stopped)
    assert (ended.step, ended.reason, ended.resumable) == (0, "stop", True)
    assert first.of(Step) == []
    known = table(folder)
    assert 0 < known.isnan().any(dim=1).sum() < PAIRS
    again = execute_inside(folder)
    assert again.losses == pytest.approx(whole.losses, rel=1e-5)
    kept = ~known.isnan()
    assert (table(folder)[kept] == known[kept]).all(), "nothing is measured twice"


def table(folder: RunFolder) -> Any:
    from safetensors.torch import load_file

    return load_file(folder.reference)["log_probabilities"].clone()  # a test may write over the file


@pytest.mark.parametrize("harm", ["cut", "foreign", "gone"])
def test_a_reference_that_does_not_belong_is_measured_anew(
    short_starter: Path, pairs: Path, whole: Finished, tmp_path: Path, harm: str
) -> None:
    folder = create(make_spec(short_starter, pairs, **SETTINGS))
    execute_inside(folder, lambda body: ask(folder, "pause") if isinstance(body, Step) and body.step == 2 else None)
    before = table(folder)
    if harm == "cut":
        folder.reference.write_bytes(folder.reference.read_bytes()[:-9])
    elif harm == "foreign":
        other = write_pairs(tmp_path / "other.jsonl", PAIRS - 1)
        ran = run_inside(short_starter, other, **SETTINGS | {"training__max_steps": 1})
        folder.reference.write_bytes(ran.folder.reference.read_bytes())
    else:
        folder.reference.unlink()
    again = execute_inside(folder)
    assert told(again) == told(whole)
    assert (table(folder) == before).all(), "the model was as the run began"
    warned = [notice for notice in again.of(Notice) if notice.code == "reference_anew"]
    assert len(warned) == (harm != "gone")


def test_only_what_the_steps_take_is_measured(short_starter: Path, pairs: Path) -> None:
    finished = run_inside(short_starter, pairs, **SETTINGS | {"training__max_steps": 1})
    assert int((~table(finished.folder).isnan()).all(dim=1).sum()) == 4


def test_memory_that_is_short_while_measuring_makes_smaller_passes(
    short_starter: Path, pairs: Path, whole: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from core.engine import reference

    usual, refused = reference.pass_losses, []

    def failing(head: Any, rows: Any, device: Any) -> Any:
        if sum(map(len, rows)) > 256:
            refused.append(rows)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(head, rows, device)

    monkeypatch.setattr(reference, "pass_losses", failing)
    finished = run_inside(short_starter, pairs, **SETTINGS, training__micro_batch_tokens=1024)
    assert refused
    assert "smaller_passes" in [notice.code for notice in finished.of(Notice)]
    assert finished.losses == pytest.approx(whole.losses, rel=1e-4)


def test_an_adapter_that_is_gone_on_from_is_the_reference(short_starter: Path, pairs: Path, whole: Finished) -> None:
    taught = run_inside(short_starter, pairs, **SETTINGS | {"data__train_on": "completions"})
    assert taught.of(Step)[0].preferred is None
    finished = run_inside(short_starter, pairs, **SETTINGS, adapter__start_from=str(taught.folder.adapter))
    assert finished.losses[0] == pytest.approx(math.log(2), abs=2e-5)
    ours, base = table(finished.folder), table(whole.folder)
    assert (ours[:, 0] > base[:, 0] + 1).all(), "the answers that were taught were likelier from the start"


@pytest.mark.parametrize(
    "settings", [{"model__quantization": "nf4"}, {"adapter__start": "pissa"}], ids=["nf4", "pissa"]
)
def test_bases_that_are_not_as_they_were(short_starter: Path, pairs: Path, settings: dict[str, Any]) -> None:
    folder = create(make_spec(short_starter, pairs, **SETTINGS, **settings))
    execute_inside(folder, lambda body: ask(folder, "pause") if isinstance(body, Step) and body.step == 2 else None)
    folder.reference.unlink()
    finished = execute_inside(folder)
    straight = run_inside(short_starter, pairs, **SETTINGS, **settings)
    assert finished.losses[0] == pytest.approx(math.log(2), abs=1e-4)
    assert finished.losses == pytest.approx(straight.losses, rel=1e-5)


def test_two_processes_learn_the_same(short_starter: Path, pairs: Path, whole: Finished) -> None:
    finished = execute(create(make_spec(short_starter, pairs, **SETTINGS, hardware__processes=2)))
    assert finished.outcome is not None
    assert finished.outcome.kind == "completed", finished.outcome
    for ours, theirs in zip(told(finished), told(whole), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-5)
    assert not table(finished.folder).isnan().any()


def test_another_beta_goes_on_with_consent_and_the_same_reference(
    short_starter: Path, pairs: Path, whole: Finished
) -> None:
    folder = create(make_spec(short_starter, pairs, **SETTINGS))
    execute_inside(folder, lambda body: ask(folder, "pause") if isinstance(body, Step) and body.step == 2 else None)
    before = table(folder)
    spec = load_spec(folder).replace("training.preference_beta", 0.5)
    write_atomic(folder.spec, to_yaml(spec, full=True))
    with pytest.raises(JobError, match=r"preference_beta was 0\.1 and is 0\.5 now"):
        execute_inside(folder)
    seen = look_again(folder)
    assert [change.path for change in seen.changes] == ["training.preference_beta"]
    accept(seen)
    again = execute_inside(folder)
    assert [step.step for step in again.of(Step)] == [1, 2, 3, 4, 5]
    assert measured(again) == 1, "what was measured does not depend on beta"
    assert (table(folder) == before).all()
    assert again.of(Step)[2].margin == pytest.approx(5 * whole.of(Step)[2].margin, rel=1e-4)
