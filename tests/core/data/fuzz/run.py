"""Mutated files through the importer: ``python -m tests.core.data.fuzz.run 10000 --seed 1``.

Prints every finding and a tally. The exit status is 1 where anything was found; a crash of the process itself shows as
a signal, and ``--loud`` names each trial before it is read, so that the last one named is the one that crashed.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from tests.core.data.fuzz.trials import Importer, peak_bytes
from tests.core.data.small_tokenizers import model_of, write_tokenizer


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Runs the trials that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.core.data.fuzz.run")
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first trial")
    parser.add_argument("--loud", action="store_true", help="name every trial before it is read")
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = write_tokenizer(Path(name))
        tokenizer = Tokenizer.load(folder)
        importer = Importer(Path(name), tokenizer, choose_template("auto", model_of(folder), tokenizer))
        found = 0
        for number in range(asked.first, asked.first + asked.count):
            if asked.loud:
                _say(str(number))
            for finding in importer.findings(asked.seed, range(number, number + 1)):
                found += 1
                _say(f"--- {finding.number} {finding.name} {', '.join(finding.mutations)}\n{finding.trouble}")
    tally = importer.tally
    _say(
        f"{asked.count} files in {time.monotonic() - began:.1f} s, {found} findings; {tally.refused} refused, "
        f"{tally.complained} read with complaints, {tally.clean} read without; slowest {tally.slowest:.2f} s of "
        f"processor time (number {tally.slowest_number}); memory {peak_bytes() / 1e6:.0f} MB at most"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
