"""Pictures of every page from real states: `python launch.py screenshots FOLDER`.

Two real runs are trained first (the second one a little differently), the tuned model is asked, and one export is
written; then every page is pictured, light and dark, in English and Chinese, at 1280×800 and 1024×640, and once more at
200 % scaling by a process of its own, because Qt reads its scale when it starts.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from core import paths
from core.spec.demo import PROMPTS, demo_spec
from core.spec.run_spec import RunSpec

SIZES = ((1280, 800), (1024, 640))
LOOKS = (("en", "light"), ("en", "dark"), ("zh_CN", "light"), ("zh_CN", "dark"))
_WAIT_SECONDS = 240.0
_ANSWER_TOKENS = 60


def train(spec: RunSpec, say: Callable[[str], None]) -> None:
    """One real run, to its end.

    Raises:
        RuntimeError: it did not complete.
    """
    from core.events.types import Event, Step
    from core.runs.prepare import prepare
    from core.runs.store import create_run
    from core.runs.supervisor import Supervisor

    prepared = prepare(spec)
    supervisor = Supervisor(create_run(prepared.spec, prepared.facts, prepared.plan))
    supervisor.start()

    def heard(event: Event) -> None:
        if isinstance(event.body, Step):
            say(f"step {event.body.step} of {prepared.plan.batch.steps if prepared.plan.batch else '?'}")

    outcome = supervisor.wait(heard)
    if outcome.kind != "completed":
        raise RuntimeError(outcome.text)


def real_runs(steps: int, say: Callable[[str], None]) -> None:
    """Two runs to show and to compare."""
    first = demo_spec("starter", steps).replace("output.name", "devils-dictionary-r16")
    second = first.replace("adapter.rank", 4).replace("adapter.alpha", 8.0).replace("training.learning_rate", 3e-4)
    train(first, lambda words: say(f"first run: {words}"))
    second = second.replace("training.sample_prompts", PROMPTS[:1]).replace("training.max_steps", max(4, steps // 2))
    train(second.replace("output.name", "devils-dictionary-r4"), lambda words: say(f"second run: {words}"))


class Camera:
    """The application, put into one state after the other and pictured."""

    def __init__(self, target: Path, say: Callable[[str], None]) -> None:
        from studio.app import Studio, make_application

        self.target = target
        self.say = say
        self.app = make_application(["lowrank-studio"])
        self.studio = Studio(self.app)
        self.desk = self.studio.desk
        self.studio.show()

    def wait(self, until: Callable[[], object], what: str) -> None:
        """Lets the window work until something is true.

        Raises:
            RuntimeError: it did not become so in time.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while not until():
            if time.monotonic() > deadline:
                raise RuntimeError(f"{what} took longer than {_WAIT_SECONDS:.0f} seconds")
            self.app.processEvents()
            time.sleep(0.01)

    def rest(self, seconds: float = 0.4) -> None:
        """Lets everything that was begun come to an end."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, "a short rest")

    def set_up(self) -> None:
        """The state that all pictures share: a finished run that is shown, asked and exported."""
        from core.runs.history import list_runs
        from studio.state.chat_choice import ChatChoice
        from studio.state.chats import chats_of
        from studio.state.exports import exports_of
        from studio.state.runs import spec_of

        desk = self.desk
        newest = {run.name: run for run in list_runs()}
        run = newest["devils-dictionary-r16"]
        desk.session.set_spec(spec_of(run.folder))
        self.wait(lambda: desk.session.prepared() is not None, "reading the model and the data")
        shown = desk.runs.watch(run.folder)
        self.wait(lambda: shown.outcome is not None, "reading the run")
        chats = chats_of(desk)
        exports = exports_of(desk)
        self.wait(lambda: desk.runs.known, "listing the runs")
        self.studio.window.show_page("export")
        self.wait(lambda: exports.can_start, "preparing the export")
        exports.start()
        self.wait(lambda: exports.past, "the export")
        self.studio.window.show_page("try")
        self.rest()
        chats.sampling = replace(chats.sampling, max_new_tokens=_ANSWER_TOKENS, temperature=0.0)
        other = newest["devils-dictionary-r4"]
        chats.invite(ChatChoice("run", other.path))
        chats.load()
        self.wait(lambda: chats.phase.value == "ready", "loading the model")
        chats.send(PROMPTS[0])
        self.wait(lambda: not chats.conversation.turns[-1].is_open, "the answers")

    def scenes(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Every page, and what makes it show the state that is wanted."""
        window = self.studio.window

        def page(name: str) -> Callable[[], None]:
            return lambda: window.show_page(name)

        def press(page_name: str, object_name: str) -> Callable[[], None]:
            from PySide6.QtWidgets import QAbstractButton

            def act() -> None:
                window.show_page(page_name)
                found = window.pages[page_name].findChild(QAbstractButton, object_name)
                if found is None:
                    raise RuntimeError(f"there is no button “{object_name}” on {page_name}")
                found.click()

            return act

        yield "welcome", page("welcome")
        yield "model", page("model")
        yield "data", page("data")
        yield "adapter", page("adapter")
        yield "fit", page("fit")
        yield "training-setup", press("training", "training-side-setup")
        yield "training-run", press("training", "training-side-run")
        yield "try", page("try")
        yield "export", page("export")
        yield "runs", page("runs")
        yield "settings", page("settings")

    def picture_all(self, looks: tuple[tuple[str, str], ...], sizes: tuple[tuple[int, int], ...], mark: str) -> None:
        """Every scene in every look and size, as ``page-size-theme-language.png``."""
        for language, theme in looks:
            preferences = self.studio.preferences
            for name, value in (("language", language), ("theme", theme)):
                before = self.studio.window
                if getattr(preferences.now, name) != value:
                    preferences.set(name, value)
                    self.wait(lambda before=before: self.studio.window is not before, "making the window anew")  # type: ignore[misc]
            for width, height in sizes:
                self.studio.window.resize(width, height)
                for name, show in self.scenes():
                    show()
                    self.rest(1.0 if name in ("settings", "runs", "fit") else 0.4)
                    for card in tuple(self.studio.window.notices.cards):
                        card.leave()
                    picture = self.target / f"{name}-{width}x{height}{mark}-{theme}-{language}.png"
                    self.studio.window.grab().save(str(picture))
                    self.say(picture.name)

    def close(self) -> None:
        """Ends the application and everything that it started."""
        self.studio.window.close()
        self.studio.close()


def main(arguments: list[str]) -> int:
    """Makes the real states, then the pictures."""
    parser = argparse.ArgumentParser("launch.py screenshots", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--steps", type=int, default=45, help="how long the first of the two real runs is (45)")
    parser.add_argument("--home", type=Path, help="a data folder that has the two runs of an earlier call")
    parser.add_argument("--only-200", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)

    def say(words: str) -> None:
        sys.stderr.write(f"{words}\n")

    if not os.environ.get("DISPLAY") and sys.platform == "linux":
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    home, temporary = _home(options.home)
    try:
        if not (home / "runs").is_dir():
            real_runs(options.steps, say)
        camera = Camera(options.folder, say)
        camera.set_up()
        if options.only_200:
            camera.picture_all((("en", "light"), ("zh_CN", "dark")), (SIZES[1],), "-200")
        else:
            camera.picture_all(LOOKS, SIZES, "")
        camera.close()
        if not options.only_200:
            _at_200_percent(options.folder, home)
    finally:
        if temporary:
            shutil.rmtree(home, ignore_errors=True)
    return 0


def _home(chosen: Path | None) -> tuple[Path, bool]:
    """A data folder for the pictures with the starter model in it, and whether it goes away again."""
    from core.runs.starter import ensure_starter

    starter = ensure_starter()
    home = (chosen or Path(tempfile.mkdtemp(prefix="lowrank-pictures-"))).absolute()
    os.environ[paths.HOME_VARIABLE] = str(home)
    models = home / "models"
    models.mkdir(parents=True, exist_ok=True)
    if not (models / "starter").exists():
        try:
            (models / "starter").symlink_to(starter, target_is_directory=True)
        except OSError:  # Windows lets few people make links
            shutil.copytree(starter, models / "starter")
    return home, chosen is None


def _at_200_percent(folder: Path, home: Path) -> None:
    command = [sys.executable, "-P", "-m", "studio.screenshots", str(folder), "--home", str(home), "--only-200"]
    subprocess.run(command, env={**os.environ, "QT_SCALE_FACTOR": "2"}, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
