"""Something changes between a saved state and its resume: it is named, and goes on only with the user's consent."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.cli.main import main
from core.errors import FailureKind, JobError, UserError
from core.events.tail import EventTail
from core.events.types import Notice, Started, Step
from core.paths import write_atomic
from core.runs.layout import RunFolder
from core.runs.resuming import accept, look_again
from core.runs.saved_states import list_checkpoints
from core.runs.store import load_spec
from core.spec.codec import to_yaml
from tests.e2e.real_runs import run_folder, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


@dataclass(frozen=True, slots=True)
class Trained:
    """A run after three steps, its rows, and both as they were."""

    rows: Path
    run: RunFolder
    kept: Path


@pytest.fixture(scope="module")
def trained(short_starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained once for all tests, each of which gets it as it was."""
    place = tmp_path_factory.mktemp("halfway")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(place / "home"))
        rows = write_rows(place / "rows.jsonl", 24)
        run = run_inside(short_starter, rows, training__max_steps=3).folder
    kept = place / "kept"
    shutil.copytree(run.path, kept / "run", symlinks=True)
    shutil.copy2(rows, kept / "rows.jsonl")
    return Trained(rows, run, kept)


@pytest.fixture
def rows(trained: Trained) -> Path:
    shutil.copy2(trained.kept / "rows.jsonl", trained.rows)
    return trained.rows


@pytest.fixture
def halfway(trained: Trained, rows: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run after three steps."""
    monkeypatch.setenv("LOWRANK_HOME", str(trained.rows.parent / "home"))
    shutil.rmtree(trained.run.path)
    shutil.copytree(trained.kept / "run", trained.run.path, symlinks=True)
    return trained.run


def change(folder: RunFolder, **settings: object) -> None:
    spec = load_spec(folder)
    for name, value in settings.items():
        spec = spec.replace(name.replace("__", "."), value)
    write_atomic(folder.spec, to_yaml(spec, full=True))


def bodies(folder: RunFolder, kind: type) -> list:
    return [event.body for event in EventTail(folder.events()).read() if isinstance(event.body, kind)]


def test_other_settings_are_named_and_taken_with_consent(halfway: RunFolder) -> None:
    change(halfway, training__max_steps=5, training__learning_rate=5e-4)
    with pytest.raises(JobError, match=r"learning_rate was 0\.001 and is 0\.0005 now") as caught:
        run_folder(halfway)
    assert caught.value.failure.kind is FailureKind.RESUME_MISMATCH
    seen = look_again(halfway)
    assert {item.path for item in seen.changes} == {
        "training.max_steps", "training.learning_rate", "chosen.steps",
    }  # fmt: skip
    assert seen.blocked == ()
    accept(seen)
    run_folder(halfway)
    assert bodies(halfway, Started)[-1].step == 3
    assert [step.step for step in bodies(halfway, Step)] == [1, 2, 3, 4, 5]
    agreed = [notice.message for notice in bodies(halfway, Notice) if notice.code == "accepted_change"]
    assert len(agreed) == 3
    assert look_again(halfway).changes == ()


def test_tensors_of_another_size_cannot_be_consented_to(halfway: RunFolder) -> None:
    rank = load_spec(halfway).adapter.rank
    change(halfway, adapter__rank=rank + 1)
    assert [item.path for item in look_again(halfway).blocked] == ["adapter.rank"]
    change(halfway, adapter__rank=rank, adapter__modules_to_save=("lm_head",))
    assert "adapter.modules_to_save" in [item.path for item in look_again(halfway).blocked]


def test_consent_counts_for_what_was_shown_alone(halfway: RunFolder) -> None:
    change(halfway, training__learning_rate=5e-4)
    accept(look_again(halfway))
    change(halfway, training__learning_rate=6e-4)
    with pytest.raises(JobError, match=r"is 0\.0006 now"):
        run_folder(halfway)


def test_settings_that_change_nothing_learned_need_no_consent(halfway: RunFolder) -> None:
    change(halfway, training__checkpoint_minutes=7.0, training__keep_checkpoints=1, hardware__threads=1)
    run_folder(halfway)


def test_changed_data_is_named_by_file_and_taken_with_consent(halfway: RunFolder, rows: Path) -> None:
    rows.write_text(rows.read_text("utf-8") + rows.read_text("utf-8").splitlines()[0] + "\n", "utf-8")
    with pytest.raises(JobError, match=r"rows\.jsonl changed") as caught:
        run_folder(halfway)
    assert "--accept-changes" in caught.value.failure.hint
    change(halfway, training__max_steps=4)
    seen = look_again(halfway)
    assert f"The data file {rows} has changed." in [item.message for item in seen.changes]
    accept(seen)
    run_folder(halfway)
    assert bodies(halfway, Step)[-1].step == 4


def test_data_that_has_vanished_is_named_and_the_state_stays(halfway: RunFolder, rows: Path) -> None:
    states = list_checkpoints(halfway.checkpoints)
    rows.rename(rows.with_name("elsewhere.jsonl"))
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        run_folder(halfway)
    assert list_checkpoints(halfway.checkpoints) == states
    rows.with_name("elsewhere.jsonl").rename(rows)
    change(halfway, training__max_steps=4)
    accept(look_again(halfway))
    run_folder(halfway)
    assert bodies(halfway, Started)[-1].step == 3


def test_another_rank_needs_another_run(halfway: RunFolder) -> None:
    change(halfway, adapter__rank=4, training__max_steps=5)
    accept(look_again(halfway))
    with pytest.raises(JobError, match="saved ones do not fit"):
        run_folder(halfway)


def test_another_optimizer_needs_another_run(halfway: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    halfway.outcome.unlink(missing_ok=True)
    change(halfway, training__optimizer="lion")
    assert main(["resume", str(halfway.path), "--accept-changes"]) != 0
    assert "optimizer was adamw and is lion now" in capsys.readouterr().err
