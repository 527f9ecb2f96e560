"""No text is cut off, nothing overlaps and nothing lies beyond an edge: on any page, in any language, at any size."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.studio.audit.cut_off import findings
from tests.studio.audit.whole_window import SIZES, TOLD, WELCOME, State, WholeWindow, whole_window

LOOKS = [("en", 1.0), ("en", 1.5), ("zh_CN", 1.5), ("zh_CN", 1.0)]
"""One thing changes at a time: each change makes the window anew."""
ROOT = Path(__file__).parents[3]


def look_through(whole: WholeWindow, language: str, scale: float, *, welcome: bool) -> list[str]:
    """What is wrong in each view of each page at each size, each finding once, with where it was seen first."""
    whole.speak(language, scale)
    seen: dict[str, str] = {}
    for size in SIZES:
        whole.resize(size)
        if whole.window.width() > size[0] or whole.window.height() > size[1]:
            seen.setdefault(f"the window cannot be as small as {size}", "")
        views = [*whole.views((WELCOME,))] if welcome else []
        for finding in findings(whole.window) if views else ():
            seen.setdefault(finding, f"{WELCOME} at {size[0]}x{size[1]}")
        for view in whole.views():
            for finding in findings(whole.window):
                seen.setdefault(finding, f"{view} at {size[0]}x{size[1]}")
    return [f"{language} × {scale}, {where}: {finding}" for finding, where in seen.items()]


@pytest.mark.slow
@pytest.mark.parametrize("state", ["empty", "ready", "live"])
def test_nothing_is_cut_off_anywhere(qapp: Any, state: State, starter_home: Path, starter: Path) -> None:
    found = []
    with whole_window(qapp, state, starter) as whole:
        for language, scale in LOOKS:
            found += look_through(whole, language, scale, welcome=state == "empty")
    assert not found, "\n".join(["", *found])


TWICE_AS_LARGE = """
import json
import sys
from pathlib import Path
from studio.app import make_application
from tests.studio.audit.test_layout_audit import look_through
from tests.studio.audit.whole_window import TOLD, whole_window

TOLD.update((tuple(asked), answer) for asked, answer in json.loads(sys.argv[2]))
app = make_application(["studio"])
with whole_window(app, "ready", Path(sys.argv[1])) as whole:
    assert whole.window.devicePixelRatioF() == 2
    found = [*look_through(whole, "en", 1.0, welcome=False), *look_through(whole, "zh_CN", 1.0, welcome=False)]
sys.stdout.write("\\n".join(found))
"""


@pytest.mark.slow
def test_nothing_is_cut_off_on_a_screen_of_twice_the_density(starter_home: Path, starter: Path) -> None:
    environment = {**os.environ, "QT_SCALE_FACTOR": "2", "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    words = [TWICE_AS_LARGE, str(starter), json.dumps([*TOLD.items()])]
    done = subprocess.run([sys.executable, "-c", *words], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "\n" + done.stdout
