"""How soon the first rows of a large JSONL file are there, and in how much memory: `python -m benchmarks.data_open`.

The file (2 GB unless told otherwise) is made in a scratch folder and deleted afterwards. Each look is a process of its
own, as the first one of a program is: the imports are counted apart. `--read` also reads the file to its end, once, row
by row, as the whole-set report would.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GB = 10**9
MOST_SECONDS = 1.0
MOST_BYTES = 300 * 10**6


def make_file(path: Path, size: int) -> None:
    """Chats of one turn to four, of words that repeat no row."""
    source = random.Random(2)
    words = [f"word{source.randrange(10**6)}" for _ in range(20_000)]
    block = bytearray()
    for _ in range(20_000):
        turns = []
        for _ in range(source.randint(1, 4)):
            turns.append({"role": "user", "content": " ".join(source.choices(words, k=source.randint(3, 40)))})
            turns.append({"role": "assistant", "content": " ".join(source.choices(words, k=source.randint(5, 120)))})
        block += json.dumps({"messages": turns}).encode() + b"\n"
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(block)


def peak_bytes() -> int:
    """What Linux says that this program held at most; getrusage would count the program that started it as well."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def look(path: Path, *, whole: bool) -> None:
    """One look, in this process; prints seconds and bytes as JSON."""
    began = time.perf_counter()
    from core.data.formats import detect, read_rows
    from core.data.preview import RowPages, open_preview
    from core.data.types import Row
    from core.spec.sections import DataSpec

    imported = time.perf_counter()
    preview = open_preview(path, DataSpec())
    opened = time.perf_counter()
    with RowPages(preview) as pages:
        assert len(pages.page(len(preview.rows), 100)) == 100
    paged = time.perf_counter()
    rows = sum(isinstance(row, Row) for row in read_rows(detect(path))) if whole else 0
    told = {
        "imports": imported - began,
        "first rows": opened - imported,
        "next page": paged - opened,
        "whole file": time.perf_counter() - paged if whole else 0.0,
        "rows": rows,
        "estimate": preview.total_rows,
        "bytes": peak_bytes(),
    }
    print(json.dumps(told))


def ask(path: Path, *, whole: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.data_open", "--look", str(path), *(["--read"] if whole else [])]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_open")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--scratch", type=Path, help="where the file is made; the system's own place if left out")
    parser.add_argument("--read", action="store_true", help="read the whole file once as well")
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.look:
        look(asked.look, whole=asked.read)
        return 0
    with tempfile.TemporaryDirectory(dir=asked.scratch) as folder:
        path = Path(folder) / "rows.jsonl"
        make_file(path, round(asked.gigabytes * GB))
        print(f"{path.stat().st_size / GB:.2f} GB")
        looks = [ask(path, whole=False) for _ in range(5)]
        for found in looks:
            print(
                f"imports {found['imports']:.2f} s, first rows {1e3 * found['first rows']:.0f} ms, next page "
                f"{1e3 * found['next page']:.0f} ms, memory {found['bytes'] / 1e6:.0f} MB"
            )
        if asked.read:
            read = ask(path, whole=True)
            rate = path.stat().st_size / 1e6 / read["whole file"]
            print(
                f"whole file {read['whole file']:.1f} s ({rate:.0f} MB/s), {read['rows']:.0f} rows (estimated before: "
                f"{read['estimate']:.0f}), memory {read['bytes'] / 1e6:.0f} MB"
            )
            looks.append(read)
    slow = max(found["imports"] + found["first rows"] for found in looks) > MOST_SECONDS
    return 1 if slow or max(found["bytes"] for found in looks) > MOST_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
