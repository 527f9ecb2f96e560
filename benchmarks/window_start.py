"""How fast the window is up and how much memory it holds then, beside a bare PySide6 window as the limit.

    python benchmarks/window_start.py [--runs N]

Each figure is measured in processes of their own, taken in turn (ours, bare, ours, …), on the screen that DISPLAY
names or offscreen. “First paint” counts from the start of the process to the end of the first paint event of the
window; memory is what is resident then and, on Linux, alone (without what the libraries share with others).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

CHILD = """
import json, os, sys, time
import psutil
began = psutil.Process().create_time()
which, page = sys.argv[1], sys.argv[2]
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QLabel, QMainWindow
if which == "studio":
    from studio.app import Studio, make_application
    app = make_application(["studio"])
    studio = Studio(app)
    if page:
        studio.window.show_page(page)
    window = studio.window
else:
    app = QApplication([])
    window = QMainWindow()
    window.setCentralWidget(QLabel("bare"))
    window.resize(1280, 800)

class Watch(QObject):
    def eventFilter(self, watched, event):
        if event.type() is QEvent.Type.Paint:
            QTimer.singleShot(0, self.painted)
            app.removeEventFilter(self)
        return False
    def painted(self):
        seconds = time.time() - began
        memory = psutil.Process().memory_full_info()
        print(json.dumps([seconds, memory.rss, getattr(memory, "uss", memory.rss), len(sys.modules)]))
        sys.stdout.flush()
        os._exit(0)

watch = Watch()
app.installEventFilter(watch)
(studio if which == "studio" else window).show()
app.exec()
"""


def measure(which: str, page: str, home: str) -> list[float]:
    """Seconds to the first paint, resident bytes, bytes of its own, modules."""
    env = {**os.environ, "LOWRANK_HOME": home}
    env.setdefault("QT_QPA_PLATFORM", "xcb" if env.get("DISPLAY") else "offscreen")
    command = [sys.executable, "-c", CHILD, which, page]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=True)
    figures: list[float] = json.loads(done.stdout)
    return figures


def slowest_imports(home: str, count: int) -> list[tuple[float, str]]:
    """The modules whose own code takes longest at import, in milliseconds."""
    env = {**os.environ, "LOWRANK_HOME": home}
    command = [sys.executable, "-X", "importtime", "-c", "import studio.app"]
    told = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT, check=True).stderr
    found = []
    for line in told.splitlines():
        own, _, rest = line.removeprefix("import time:").partition("|")
        if own.strip().isdigit():
            found.append((int(own) / 1000, rest.partition("|")[2].strip()))
    return sorted(found, reverse=True)[:count]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--page", default="", help="the page that is in front; the first-run page if left out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        pairs = [(measure("studio", options.page, home), measure("bare", "", home)) for _ in range(options.runs + 1)][
            1:
        ]
        imports = slowest_imports(home, 12)
    names = ("first paint, s", "resident, MiB", "of its own, MiB", "modules")
    scales = (1.0, 2**20, 2**20, 1.0)
    print(f"{'':18}{'studio':>10}{'bare':>10}{'ratio':>8}   (medians of {options.runs} pairs)")
    for index, (name, scale) in enumerate(zip(names, scales, strict=True)):
        ours = statistics.median(pair[0][index] for pair in pairs) / scale
        bare = statistics.median(pair[1][index] for pair in pairs) / scale
        print(f"{name:18}{ours:10.2f}{bare:10.2f}{ours / bare:8.2f}")
    print("\nbar: first paint under 1 s and under 200 MiB resident on 2 cores\n\nslowest imports, ms of their own")
    for milliseconds, module in imports:
        print(f"{milliseconds:8.1f}  {module}")


if __name__ == "__main__":
    main()
