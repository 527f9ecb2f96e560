"""How long the window's main thread is ever busy while a real run trains: `python -m benchmarks.window_stalls [STEPS]`.

Opens the whole window on the Training page (on whatever platform Qt finds), starts a run of the starter model, and
lets a timer fire every 5 ms: how late it is says for how long nothing else could have been painted or typed. The bars:
p99 below 16 ms, maximum below 100 ms. With ``--blame`` a second thread writes down what the main thread was doing
when it was late by more than 30 ms.
"""

import collections
import math
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

EVERY = 0.005
LATE = 0.030


class Pulse:
    """Lateness of a timer, by stage of the run, in milliseconds."""

    def __init__(self) -> None:
        from PySide6.QtCore import Qt, QTimer

        self.stage = "before"
        self.late: dict[str, list[float]] = collections.defaultdict(list)
        self.last = time.perf_counter()
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.setInterval(round(1000 * EVERY))
        self.timer.timeout.connect(self.beat)
        self.timer.start()

    def beat(self) -> None:
        """One tick."""
        now = time.perf_counter()
        self.late[self.stage].append(max(0.0, 1000 * (now - self.last - EVERY)))
        self.last = now


class Blame(threading.Thread):
    """Looks at the main thread's stack whenever the pulse is late."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__(daemon=True)
        self.pulse = pulse
        self.main = threading.main_thread().ident
        self.seen: collections.Counter[str] = collections.Counter()

    def run(self) -> None:
        """The thread."""
        while True:
            time.sleep(EVERY)
            if time.perf_counter() - self.pulse.last > LATE:
                frame = sys._current_frames().get(self.main or 0)  # noqa: SLF001 (the documented way)
                stack = traceback.extract_stack(frame)[-6:] if frame is not None else []
                del frame  # it would keep the main thread's objects alive, and this thread would then destroy them
                self.seen[" < ".join(f"{Path(s.filename).name}:{s.lineno} {s.name}" for s in reversed(stack))] += 1


def spec_of_run(steps: int) -> Any:
    from core.paths import resource
    from core.spec.run_spec import RunSpec

    spec = RunSpec()
    values = {
        "model.base": "starter",
        "data.train": (str(resource("data", "devils-dictionary.jsonl")),),
        "data.validation": (str(resource("data", "devils-dictionary-held-back.jsonl")),),
        "data.max_length": 128,
        "data.max_rows": 200,
        "training.max_steps": steps,
        "training.effective_batch": 4,
        "training.evaluate_every": max(1, steps // 3),
        "training.sample_prompts": ("What is a friend?",),
        "training.sample_tokens": 24,
    }
    for path, value in values.items():
        spec = spec.replace(path, value)
    return spec


def pump(done: Any, seconds: float) -> None:
    from PySide6.QtCore import QEventLoop, QTimer

    loop = QEventLoop()
    watch = QTimer(loop)
    watch.setInterval(50)
    deadline = time.monotonic() + seconds
    watch.timeout.connect(lambda: loop.quit() if done() or time.monotonic() > deadline else None)
    watch.start()
    loop.exec()
    if not done():
        raise SystemExit("it took too long")


def report(name: str, late: list[float]) -> tuple[float, float]:
    ordered = sorted(late) or [0.0]
    p50, p99 = (ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)] for part in (0.5, 0.99))
    over = sum(1 for item in ordered if item > 16)
    print(f"{name:34} {len(ordered):7} {p50:8.2f} {p99:8.2f} {ordered[-1]:8.2f} {over:8}", flush=True)
    return p99, ordered[-1]


def measure(steps: int, *, blame: bool) -> int:
    from studio.app import Studio, make_application

    app = make_application(["stalls"])
    studio = Studio(app)
    studio.show()
    studio.window.resize(1280, 800)
    desk = studio.desk
    desk.session.set_spec(spec_of_run(steps))
    pump(lambda: desk.session.prepared() is not None, 120)
    studio.window.show_page("training")
    pulse = Pulse()
    watcher = Blame(pulse)
    if blame:
        watcher.start()
    pump(lambda: len(pulse.late["before"]) > 400, 30)
    pulse.stage = "start"
    studio.window.start()
    run = desk.runs.current
    assert run is not None, "the run did not start"
    pump(lambda: run.state.started is not None or not run.is_live, 300)
    pulse.stage = "train"
    pump(lambda: not run.is_live, 900)
    pulse.stage = "after"
    pump(lambda: len(pulse.late["after"]) > 300, 30)
    assert run.outcome is not None, run.problems
    print(f"{run.outcome.kind}: {run.outcome.message} platform {app.platformName()}, {os.cpu_count()} cores")
    print(f"{'stage':34} {'beats':>7} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'>16 ms':>8}")
    report("page open, no run", pulse.late["before"])
    report("Start pressed … first step", pulse.late["start"])
    p99, most = report("training", pulse.late["train"])
    report("ended", pulse.late["after"])
    for stack, count in watcher.seen.most_common(12):
        print(f"{count:5} {stack}")
    studio.close()
    return 0 if p99 < 16 and most < 100 else 1


def main() -> int:
    arguments = [item for item in sys.argv[1:] if not item.startswith("-")]
    steps = int(arguments[0]) if arguments else 30
    from core.facts.locate import STARTER, find_model

    starter = find_model(STARTER).resolve()
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "models").mkdir()
        (Path(home) / "models" / "starter").symlink_to(starter, target_is_directory=True)
        os.environ["LOWRANK_HOME"] = home
        return measure(steps, blame="--blame" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
