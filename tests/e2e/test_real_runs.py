"""The main job on real weights and real rows: it learns, it is exact, and it comes back from the dead."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from core.events.tail import EventTail
from core.events.types import CheckpointSaved, Completed, Notice, Sampled, Started, Step, Stopped
from core.runs.store import load_plan
from tests.e2e import real_runs
from tests.e2e.real_runs import create, execute, execute_inside, make_spec, run, run_folder, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]

STEPS = 20
"""Of a run that is to be interrupted: enough for that to happen before its end on a busy computer."""


def adapter_bytes(finished: real_runs.Finished) -> bytes:
    return (finished.folder.adapter / "adapter_model.safetensors").read_bytes()


def test_a_small_run_leaves_exactly_what_it_promises(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 40)
    finished = run(
        short_starter,
        rows,
        data__validation_share=0.1,
        training__sample_prompts=("Define “Dog”.",),
        training__sample_tokens=8,
        training__evaluate_every=3,
    )
    assert finished.losses[-1] < finished.losses[0]
    assert len(finished.losses) == 6
    assert len(finished.validation) == 3  # before, after step 3, after step 6
    started = finished.of(Started)[0]
    assert (started.rows, started.validation_rows) == (36, 4)
    assert (started.attention, started.loss_head) == ("flash attention (CPU)", "chunked")
    plan = load_plan(finished.folder)
    assert plan.parameters is not None
    assert started.trainable == plan.parameters.trainable
    assert [sample.variant for sample in finished.of(Sampled)] == ["base", "tuned"]
    files = {path.relative_to(finished.folder.path).as_posix() for path in finished.folder.path.rglob("*")}
    assert files == {
        "spec.yaml", "plan.json", "facts.json", "process.json", "events.jsonl", "engine.log", "engine.lock",
        "outcome.json", "control", "checkpoints", "samples",
        "samples/step-00000000.json", "samples/step-00000006.json", "adapter",
        "checkpoints/step-00000003", "checkpoints/step-00000006",  # the best one so far, and the last
        *(f"checkpoints/step-0000000{step}/{name}" for step in (3, 6) for name in (
            "manifest.json", "masters.safetensors", "optimizer.safetensors", "random.safetensors", "state.json")),
        *(f"adapter/{name}" for name in (
            "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "lowrank.json", "README.md",
            "loss.png", "spec.yaml")),
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl", 24)


@pytest.fixture(scope="module")
def usual(short_starter: Path, rows: Path) -> real_runs.Finished:
    """Steps without anything that changes how they are made."""
    return run_inside(short_starter, rows, training__max_steps=STEPS, training__schedule="constant")


def test_the_same_seed_gives_the_same_run_and_another_seed_another(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    first, again, other = (
        run_inside(short_starter, rows, training__max_steps=3, training__seed=seed) for seed in (42, 42, 43)
    )
    assert first.losses == again.losses
    assert adapter_bytes(first) == adapter_bytes(again)
    assert first.losses != other.losses


@pytest.mark.parametrize(
    "settings",
    [
        {"training__micro_batch_tokens": 128},
        {"data__packing": "off"},
        {"hardware__activation_checkpointing": "all"},
        {"hardware__attention": "eager"},
    ],
    ids=["small passes", "no packing", "activation checkpointing", "plain attention"],
)
def test_how_the_work_is_done_does_not_change_the_losses(
    short_starter: Path, rows: Path, usual: real_runs.Finished, settings: dict
) -> None:
    special = run_inside(short_starter, rows, training__max_steps=3, training__schedule="constant", **settings)
    assert special.losses == pytest.approx(usual.losses[:3], rel=1e-5)


def test_killed_and_resumed_is_bit_for_bit_the_uninterrupted_run(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    settings = {"training__max_steps": STEPS, "adapter__dropout": 0.1, "training__checkpoint_minutes": 0.001}
    whole = run_inside(short_starter, rows, **settings)
    folder = create(make_spec(short_starter, rows, **settings))

    def kill_after_four(supervisor: object, event: object) -> None:
        body = getattr(event, "body", None)
        if isinstance(body, Step) and body.step == 4:
            os.kill(json.loads(folder.process.read_text())["pid"], signal.SIGKILL)

    killed = execute(folder, kill_after_four)
    assert killed.outcome.kind == "crashed"
    resumed = execute(folder)
    assert resumed.outcome.kind == "completed", resumed.outcome
    assert resumed.of(Started)[-1].step > 0, "the resumed run started from nothing"
    assert resumed.losses == whole.losses
    assert adapter_bytes(resumed) == adapter_bytes(whole)


@pytest.mark.parametrize("request_name", ["stop", "pause"])
def test_asked_to_end_it_saves_and_continues_where_it_was(
    short_starter: Path, rows: Path, usual: real_runs.Finished, request_name: str
) -> None:
    folder = create(make_spec(short_starter, rows, training__max_steps=STEPS, training__schedule="constant"))

    def ask(supervisor: object, event: object) -> None:
        body = getattr(event, "body", None)
        if isinstance(body, Step) and body.step == 2:
            supervisor.request(request_name)  # type: ignore[attr-defined]

    stopped = execute(folder, ask)
    assert stopped.outcome.kind == "stopped"
    last = stopped.of(Stopped)[0]
    assert (last.reason, last.resumable) == (request_name, True)
    assert folder.adapter.exists() == (request_name == "stop")
    assert not list(folder.control.iterdir())
    resumed = execute_inside(folder)
    assert [started.step for started in resumed.of(Started)] == [0, last.step]
    assert isinstance(resumed.events[-1].body, Completed)
    assert resumed.losses == usual.losses


def test_sigterm_at_shutdown_ends_in_a_saved_state(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    folder = create(make_spec(short_starter, rows, training__max_steps=500))

    def terminate(supervisor: object, event: object) -> None:
        body = getattr(event, "body", None)
        if isinstance(body, Step) and body.step == 2:
            os.kill(json.loads(folder.process.read_text())["pid"], signal.SIGTERM)

    ended = execute(folder, terminate)
    assert ended.outcome.kind == "stopped"
    assert ended.of(CheckpointSaved)


def test_data_that_changed_since_the_plan_is_refused(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    folder = create(make_spec(short_starter, rows))
    write_rows(rows, 20)
    failed = execute(folder)
    assert failed.outcome.kind == "failed"
    assert "data" in failed.outcome.message
    assert not folder.adapter.exists()


def test_a_second_engine_on_the_same_folder_is_refused(short_starter: Path, tmp_path: Path) -> None:
    from core.errors import UserError
    from core.runs.supervisor import Supervisor

    rows = write_rows(tmp_path / "rows.jsonl", 24)
    folder = create(make_spec(short_starter, rows, training__max_steps=500))
    first = Supervisor(folder)
    first.start()
    deadline = time.monotonic() + 90
    while not any(isinstance(event.body, Step) for event in first.poll()) and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(UserError, match="already"):
        Supervisor(folder).start()
    first.stop()
    assert first.wait().kind == "stopped"


def test_non_finite_steps_change_nothing_are_counted_and_end_the_run(
    short_starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.engine.loss import LossHead
    from core.engine.masters import Masters
    from core.errors import JobError

    rows = write_rows(tmp_path / "rows.jsonl", 24)
    healthy, calls, learned = LossHead.summed, [-1], []  # one pass before the first step proves the attention

    def sick(self: LossHead, one: object) -> object:
        summed = healthy(self, one)  # type: ignore[arg-type]
        calls[0] += self.model.training
        return summed * float("inf") if calls[0] == 2 or calls[0] > 4 else summed

    monkeypatch.setattr(LossHead, "summed", sick)
    publish = Masters.publish
    monkeypatch.setattr(Masters, "publish", lambda self: (learned.append(1), publish(self))[1])
    folder = create(make_spec(short_starter, rows, training__max_steps=60, training__max_bad_steps=3))
    with pytest.raises(JobError, match="not finite in 3 steps in a row"):
        run_folder(folder)
    steps = [event.body for event in EventTail(folder.events()).read() if isinstance(event.body, Step)]
    assert [step.applied for step in steps] == [True, False, True, True, False, False, False]
    assert len(learned) == 3


def test_a_base_that_computes_nonsense_is_named_before_training(short_starter: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from core.errors import JobError

    base = Path(shutil.copytree(short_starter, tmp_path / "broken"))
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    folder = create(make_spec(base, write_rows(tmp_path / "rows.jsonl", 24)))
    with pytest.raises(JobError, match="not a number"):
        run_folder(folder)


def test_early_stopping_ends_a_run_that_gets_worse(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 24)
    finished = run_inside(
        short_starter,
        rows,
        data__validation_share=0.2,
        training__learning_rate=0.05,
        training__schedule="constant",
        training__max_steps=200,
        training__evaluate_every=1,
        training__early_stopping=2,
    )
    assert len(finished.losses) < 200
    assert any(notice.code == "early_stop" for notice in finished.of(Notice))
