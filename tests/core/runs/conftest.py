"""A home of its own for every test, run folders, and fake engines that never outlive their test."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.facts.types import CpuFacts, DataFacts, Facts, FileFacts, HardwareFacts, LengthFacts
from core.plan.types import Batch, Choices, Chosen, Curve, Parameters, Plan, Target
from core.runs import supervisor
from core.runs.child_env import child_env
from core.runs.launch import LaunchCommand, exit_status
from core.runs.layout import RunFolder
from core.runs.process_record import is_own, read_process
from core.runs.process_tree import family, kill
from core.runs.store import create_run
from core.spec.run_spec import RunSpec

FAKE_ENGINE = Path(__file__).parents[2] / "fakes" / "fake_engine.py"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOWRANK_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.01)
    return tmp_path / "home"


@pytest.fixture
def spec() -> RunSpec:
    spec = RunSpec().replace("model.base", "starter").replace("data.train", ("/data/words.jsonl",))
    return spec.replace("output.name", "words")


@pytest.fixture
def facts() -> Facts:
    lengths = LengthFacts(80, 8000, 4000, 200, 90, 180, 0, 0, {"128": 60, "256": 20})
    hardware = HardwareFacts(CpuFacts("A CPU", 2, 4, avx2=True), (), 8 << 30, 4 << 30, 1 << 40, "Linux")
    file = FileFacts("/data/words.jsonl", "jsonl", 84, 12345, "ab" * 32)
    return Facts(hardware, None, DataFacts((file,), "alpaca", "It has its columns.", "model", lengths, lengths))


@pytest.fixture
def plan() -> Plan:
    def chosen(value: object) -> Chosen:  # type: ignore[type-arg]
        return Chosen(value, "Because.")

    choices = Choices(
        device=chosen("cpu"), quantization=chosen("none"), compute_dtype=chosen("fp32"), attention=chosen("sdpa"),
        checkpointed_layers=chosen(0), micro_batch_tokens=chosen(2048), packing=chosen(True),
        optimizer=chosen("adamw"), threads=chosen(2), evaluate_every=chosen(2),
    )  # fmt: skip
    return Plan(
        choices=choices,
        parameters=Parameters(1000, 99_000, 100_000),
        targets=(Target("model.layers.0.self_attn.q_proj", 16, 64, 64, 2048),),
        batch=Batch(80, 16, 5, 5, 1600.0, 800.0, 1.0),
        curve=Curve("cosine", 2e-4, 1, 5),
        memory=None,
        disk=None,
        duration=None,
        problems=(),
    )


@pytest.fixture
def run_folder(spec: RunSpec, facts: Facts, plan: Plan) -> Iterator[RunFolder]:
    """A run that has not been started; whatever is started in it ends with the test."""
    folder = create_run(spec, facts, plan)
    yield folder
    record = read_process(folder)
    if record is not None and not is_own(record):
        kill(family(record.key) if record.alive else ())
        eventually(lambda: not record.alive)
        exit_status(record.key)


@pytest.fixture
def fake(run_folder: RunFolder) -> Callable[..., LaunchCommand]:
    """The command for a fake engine in a mode."""

    def command(mode: str, *arguments: object) -> LaunchCommand:
        argv = (sys.executable, "-P", str(FAKE_ENGINE), str(run_folder.path), mode, *map(str, arguments))
        return LaunchCommand(argv, child_env(), run_folder.path)

    return command


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits until something is so; the limit only keeps a broken test from hanging."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., None]:
    return eventually
