"""The download as a process: an engine without torch, stopped and started again, with a token that nobody can read."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.errors import FailureKind
from core.events.types import Event, Hello, PhaseStarted, Progress
from core.facts.locate import find_model, list_models
from core.hub.details import details
from core.hub.job import create_download, download_command
from core.hub.problems import HubError
from core.hub.unfinished import list_unfinished
from core.runs.layout import RunFolder
from core.runs.outcome import Outcome
from core.runs.process_record import read_process
from core.runs.supervisor import State, Supervisor
from tests.core.hub.conftest import whole_model
from tests.core.hub.hub_server import COMMIT, TOKEN, HubServer, Model

WEIGHTS = "model.safetensors"
PROBE = "import sys; from core.engine.__main__ import main; main(sys.argv[1:]); print('torch' in sys.modules)"


@pytest.fixture
def started() -> Iterator[list[Supervisor]]:
    """Engines that end with the test."""
    supervisors: list[Supervisor] = []
    yield supervisors
    for supervisor in supervisors:
        if supervisor.state not in (State.IDLE, State.ENDED):
            supervisor.kill()
            supervisor.wait()


def begin(started: list[Supervisor], name: str = "org/tiny", token: str = "") -> Supervisor:
    folder = create_download(details(name, "", token))
    supervisor = Supervisor(folder, download_command(folder, token))
    started.append(supervisor)
    supervisor.start()
    return supervisor


def process_of(supervisor: Supervisor) -> psutil.Process:
    """Its engine; other tests of this process may have left children too."""
    record = read_process(supervisor.folder)
    assert record is not None
    return psutil.Process(record.pid)


def until(supervisor: Supervisor, seen: list[Event], done: float) -> None:
    """Waits until so many bytes have come."""
    deadline = time.monotonic() + 30
    while not any(isinstance(event.body, Progress) and event.body.done >= done for event in seen):
        assert supervisor.outcome is None, supervisor.outcome
        assert time.monotonic() < deadline
        seen += supervisor.poll()
        time.sleep(0.01)


def test_a_download_from_begin_to_end(tiny: Model, hub: HubServer, started: list[Supervisor]) -> None:
    hub.faults.delay = 0.02
    events: list[Event] = []
    supervisor = begin(started)
    outcome = supervisor.wait(events.append)
    assert outcome.kind == "completed", outcome
    assert outcome.message == "Downloaded org/tiny."
    assert outcome.result["path"] == str(find_model("org/tiny"))
    assert next(event.body for event in events if isinstance(event.body, Hello)).job == "download"
    told = [(event.time, event.body) for event in events if isinstance(event.body, Progress)]
    total = details("org/tiny").bytes
    assert {(body.phase, body.total, body.unit) for _, body in told} == {("download", total, "bytes")}
    assert [body.done for _, body in told] == sorted(body.done for _, body in told)
    assert told[-1][1].done == total
    assert len(told) / (told[-1][0] - told[0][0]) > 3, "several a second"
    assert any(isinstance(event.body, PhaseStarted) and WEIGHTS in event.body.message for event in events)


def test_the_job_imports_no_torch(tiny: Model, hub: HubServer) -> None:
    folder = create_download(details("org/tiny"))
    command = download_command(folder)
    program = [sys.executable, "-P", "-c", PROBE, str(folder.path)]
    said = subprocess.run(program, env=dict(command.env), capture_output=True, text=True)
    assert said.stdout.strip() == "False", said.stderr
    assert [model.name for model in list_models()] == ["org/tiny"]
    folder = create_download(details("org/tiny"))
    folder.job.write_text(folder.job.read_text().replace("config.json", "config.yaml"))
    said = subprocess.run([*program[:-1], str(folder.path)], env=dict(command.env), capture_output=True, text=True)
    assert said.stdout.strip() == "False", "nor does it for saying that it failed"


def test_stopping_and_going_on(tiny: Model, hub: HubServer, started: list[Supervisor]) -> None:
    hub.faults.delay = 0.05
    seen: list[Event] = []
    supervisor = begin(started)
    until(supervisor, seen, 300_000)
    supervisor.stop()
    outcome = supervisor.wait(seen.append)
    assert (outcome.kind, outcome.resumable) == ("stopped", True)
    assert list_models() == ()
    (waiting,) = list_unfinished()
    assert waiting.bytes_here >= 300_000

    hub.faults.delay = 0
    first = hub.contents(WEIGHTS)[-1]
    events: list[Event] = []
    assert begin(started).wait(events.append).kind == "completed"
    again = hub.contents(WEIGHTS)[-1]
    here = int(again.range.removeprefix("bytes=").rstrip("-"))
    assert again is not first
    assert 250_000 < here <= first.sent
    assert again.sent == len(tiny.files[WEIGHTS]) - here
    assert next(event.body.done for event in events if isinstance(event.body, Progress)) == waiting.bytes_here
    assert (find_model("org/tiny") / WEIGHTS).read_bytes() == tiny.files[WEIGHTS]
    assert list_unfinished() == ()


def test_a_silent_server_does_not_keep_the_job_from_stopping(
    tiny: Model, hub: HubServer, started: list[Supervisor]
) -> None:
    hub.faults.silent.add(WEIGHTS)
    supervisor = begin(started)
    until(supervisor, [], 1)
    while not any(asked.path.endswith(WEIGHTS) and asked.server == "store" for asked in hub.asked):
        supervisor.poll()
        time.sleep(0.01)
    asked = time.monotonic()
    supervisor.stop()
    outcome = supervisor.wait()
    assert time.monotonic() - asked < 30, "it waited for the server, which says nothing for a minute"
    assert (outcome.kind, outcome.resumable) == ("stopped", True)


def test_a_killed_download_loses_nothing(tiny: Model, hub: HubServer, started: list[Supervisor]) -> None:
    hub.faults.delay = 0.05
    supervisor = begin(started)
    until(supervisor, [], 300_000)
    engine = process_of(supervisor)
    engine.kill()
    assert supervisor.wait().kind == "crashed"
    assert list_models() == ()
    hub.faults.delay = 0
    assert begin(started).wait().kind == "completed"
    assert int(hub.contents(WEIGHTS)[-1].range.removeprefix("bytes=").rstrip("-")) > 250_000
    assert (find_model("org/tiny") / WEIGHTS).read_bytes() == tiny.files[WEIGHTS]


def test_the_token_is_in_the_environment_of_the_job_and_nowhere_else(
    hub: HubServer, started: list[Supervisor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(whole_model("org/gated", gated="auto"))
    hub.faults.delay = 0.02
    supervisor = begin(started, "org/gated", TOKEN)
    until(supervisor, [], 100_000)
    engine = process_of(supervisor)
    assert TOKEN not in " ".join(engine.cmdline())
    outcome = supervisor.wait()
    assert outcome.kind == "completed"
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert leaks == []
    assert os.environ.get("HF_TOKEN") is None


def outcome_of(started: list[Supervisor], folder: RunFolder) -> Outcome:
    supervisor = Supervisor(folder, download_command(folder))
    started.append(supervisor)
    supervisor.start()
    return supervisor.wait()


def test_failures_have_kinds_and_advice(tiny: Model, hub: HubServer, started: list[Supervisor]) -> None:
    folder = create_download(details("org/tiny"))
    tiny.gated = "auto"
    refused = outcome_of(started, folder)
    assert (refused.kind, refused.failure) == ("failed", FailureKind.ACCESS)
    assert "accept the terms" in refused.hint
    tiny.gated = False
    hub.faults.spoil[WEIGHTS] = 5
    damaged = outcome_of(started, create_download(details("org/tiny")))
    assert (damaged.failure, damaged.title) == (FailureKind.BAD_DATA, "The data cannot be used")
    del hub.models["org/tiny"]
    assert outcome_of(started, folder).failure == FailureKind.BAD_SPEC


def test_no_network(tiny: Model, hub: HubServer, started: list[Supervisor], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = create_download(details("org/tiny"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    outcome = outcome_of(started, folder)
    assert (outcome.failure, outcome.title) == (FailureKind.NETWORK, "The network failed")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a folder that may not be written")
def test_a_cache_that_cannot_be_written(tiny: Model, hub_home: Path, started: list[Supervisor]) -> None:
    folder = create_download(details("org/tiny"))
    hub_home.mkdir()
    hub_home.chmod(0o500)
    outcome = outcome_of(started, folder)
    hub_home.chmod(0o700)
    assert "cache cannot be written" in outcome.message


def test_a_cache_whose_place_is_taken(tiny: Model, hub_home: Path, started: list[Supervisor]) -> None:
    folder = create_download(details("org/tiny"))
    hub_home.write_text("not a folder")
    outcome = outcome_of(started, folder)
    assert outcome.kind == "failed"
    assert "cache cannot be written" in outcome.message


def test_the_wish_to_be_offline_is_asked_where_the_job_is_made(
    tiny: Model, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = create_download(details("org/tiny"))
    assert "HF_HUB_OFFLINE" not in download_command(folder).env, "an engine's own default is not the user's wish"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        download_command(folder)


def test_what_stands_in_the_job(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    folder = create_download(details("org/tiny"))
    job = json.loads(folder.job.read_text())
    assert job["kind"] == "download"
    assert job["arguments"]["id"] == "org/tiny"
    assert job["arguments"]["commit"] == COMMIT
    assert WEIGHTS in job["arguments"]["files"]
    assert "HF_TOKEN" not in download_command(folder).env, "only a token that was chosen goes along"
    assert download_command(folder, TOKEN).env["HF_TOKEN"] == TOKEN
