"""An engine without a model: a real process that speaks the protocol and misbehaves on demand.

``python fake_engine.py FOLDER MODE [SECONDS]``; the modes are the functions named after them below.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from core import __version__
from core.events.types import (
    PROTOCOL_VERSION,
    Body,
    CheckpointSaved,
    Completed,
    Evaluated,
    Failed,
    Hello,
    PhaseStarted,
    Started,
    Step,
    Stopped,
)
from core.events.writer import EventWriter
from core.runs.control import take_request
from core.runs.layout import RunFolder
from core.runs.lock import hold_lock

STEPS = 5
LONG_SECONDS = 120.0
FLOOD_BYTES = 50 * 1024 * 1024


class Engine:
    """What every mode has at hand."""

    def __init__(self, folder: RunFolder, seconds: float) -> None:
        self.folder = folder
        self.seconds = seconds
        self.signalled = False
        self.writer = EventWriter(folder.events())

    def say(self, body: Body) -> None:
        self.writer.emit(body)

    def hello(self, protocol: int = PROTOCOL_VERSION) -> None:
        self.say(Hello(protocol, __version__, "train", os.getpid(), sys.version.split()[0]))

    def begin(self, first: int = 0) -> None:
        self.hello()
        self.say(PhaseStarted("train", "Pretending to train."))
        self.say(Started(first, STEPS, 80, 4, 1000, 100_000, "none", "fp32", "sdpa", "chunked", 0, 2048))

    def step(self, number: int) -> None:
        self.say(Step(number, number / STEPS, 3.0 / number, 1e-4, 0.5, 100, 40, 0.01, 1_000_000))

    def train(self, first: int = 0) -> None:
        self.begin(first)
        for number in range(first + 1, STEPS + 1):
            self.step(number)
        self.say(CheckpointSaved(STEPS, f"checkpoints/step-{STEPS:08d}", 10, 0.0, "end"))

    def done(self) -> None:
        self.say(Completed(STEPS, 0.1, f"Trained {STEPS} steps.", {"path": str(self.folder.adapter)}))

    def heed_signals(self) -> None:
        def remember(_number: int, _frame: object) -> None:
            self.signalled = True

        signal.signal(signal.SIGTERM, remember)


def ok(engine: Engine) -> None:
    sys.stdout.write("pretending to train\n")
    engine.train()
    engine.done()


def pairs(engine: Engine) -> None:
    """Learns from pairs of answers, and measures others before and after."""
    engine.begin()
    engine.say(Evaluated(0, 0.69, 100, 0.01, preferred=0.5, margin=0.0))
    for number in range(1, STEPS + 1):
        share, margin = number / STEPS, 0.1 * number
        engine.say(Step(number, share, 0.6, 1e-5, 0.5, 100, 40, 0.01, 1_000_000, preferred=share, margin=margin))
    engine.say(Evaluated(STEPS, 0.6, 100, 0.01, best=True, preferred=0.75, margin=0.25))
    engine.done()


def resume(engine: Engine) -> None:
    """Goes on after step 3 of an earlier attempt."""
    engine.train(first=3)
    engine.done()


def steady(engine: Engine) -> None:
    """Steps until it is asked to stop."""
    engine.heed_signals()
    engine.begin()
    for number in range(1, 1_000_000):
        engine.step(number)
        if take_request(engine.folder, "save"):
            engine.say(CheckpointSaved(number, "checkpoints/asked", 10, 0.0, "request"))
        for name in ("stop", "pause"):
            if take_request(engine.folder, name):
                engine.say(Stopped(number, name, resumable=True))
                return
        if engine.signalled:
            engine.say(Stopped(number, "signal", resumable=True))
            return
        time.sleep(0.02)


def deaf(engine: Engine) -> None:
    """Reads no requests, but heeds SIGTERM."""
    engine.heed_signals()
    engine.begin()
    engine.step(1)
    deadline = time.monotonic() + LONG_SECONDS
    while not engine.signalled and time.monotonic() < deadline:
        time.sleep(0.02)
    engine.say(Stopped(1, "signal", resumable=False))


def ignore_stop(engine: Engine) -> None:
    """Heeds nothing, and has a child that heeds nothing either and has left the session."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    child = subprocess.Popen([sys.executable, "-c", deep], start_new_session=True)
    (engine.folder.path / "child.pid").write_text(str(child.pid))
    engine.begin()
    engine.step(1)
    time.sleep(LONG_SECONDS)


def oom(engine: Engine) -> None:
    engine.begin()
    engine.step(1)
    engine.say(Failed("out_of_memory", "The GPU's memory ran out.", "Lower “Tokens a pass”.", "a traceback", step=1))
    sys.exit(4)


def segfault(engine: Engine) -> None:
    engine.begin()
    engine.step(1)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(LONG_SECONDS)


def orphan(engine: Engine) -> None:
    """Dies and leaves a child behind."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    (engine.folder.path / "child.pid").write_text(str(child.pid))
    engine.begin()
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LONG_SECONDS)


def sigkill_self(engine: Engine) -> None:
    engine.train()
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LONG_SECONDS)


def crash_midway(engine: Engine) -> None:
    engine.begin()
    engine.step(1)
    engine.step(2)
    sys.stdout.write("loading\rloading 50 %\rloading 100 %\n")
    sys.stdout.write("\x1b[31mTraceback: the fake engine fell over\x1b[0m\n")
    sys.stdout.flush()
    os._exit(3)


def silent_exit(engine: Engine) -> None:
    engine.train()


def torn_line(engine: Engine) -> None:
    """Dies in the middle of a line."""
    engine.begin()
    for number in range(1, 4):
        engine.step(number)
    engine.say(CheckpointSaved(3, "checkpoints/step-00000003", 10, 0.0, "time"))
    with engine.folder.events().open("ab") as file:
        file.write(b'{"seq":99,"time":1.0,"rank":0,"type":"st')
    os._exit(1)


def hang_after_done(engine: Engine) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    engine.train()
    engine.done()
    time.sleep(LONG_SECONDS)


def flood(engine: Engine) -> None:
    """Prints more than any pipe would hold."""
    engine.begin()
    block = b"x" * 1023 + b"\n"
    for _ in range(FLOOD_BYTES // (64 * len(block))):
        os.write(1, block * 64)
    engine.train()
    engine.done()


def slow_start(engine: Engine) -> None:
    time.sleep(engine.seconds)
    engine.train()
    engine.done()


def bad_protocol(engine: Engine) -> None:
    engine.hello(protocol=99)
    time.sleep(LONG_SECONDS)


def other_rank_fails(engine: Engine) -> None:
    """Rank 1 runs out of memory, after which rank 0 fails for want of rank 1."""
    engine.begin()
    with EventWriter(engine.folder.events(1), rank=1) as other:
        other.emit(Failed("out_of_memory", "The memory of GPU 1 ran out.", "Use fewer tokens a pass.", step=1))
    time.sleep(0.01)
    engine.say(Failed("internal", "A peer process is gone.", "", step=1))
    sys.exit(4)


MODES: dict[str, Callable[[Engine], None]] = {
    mode.__name__: mode
    for mode in (
        ok, pairs, resume, steady, deaf, ignore_stop, oom, segfault, orphan, sigkill_self, crash_midway, silent_exit,
        torn_line, hang_after_done, flood, slow_start, bad_protocol, other_rank_fails,
    )
}  # fmt: skip


def main(arguments: list[str]) -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder = RunFolder(Path(arguments[0]))
    with hold_lock(folder):
        MODES[arguments[1]](Engine(folder, float(arguments[2]) if len(arguments) > 2 else 0.0))


if __name__ == "__main__":
    main(sys.argv[1:])
