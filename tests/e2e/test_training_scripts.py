"""“Copy as script”: the plain script that is written of a run has the engine's losses, step by step."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.errors import UserError
from core.export.script import run_script, training_script
from core.runs.store import load_facts, load_plan, load_spec
from core.spec.codec import read_spec
from core.spec.run_spec import RunSpec
from tests.e2e.real_runs import run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]


def losses_of(script: str, folder: Path) -> list[float]:
    """Runs a script as anybody would, in a process of its own."""
    (folder / "train.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "adapter" / "tokenizer.json").is_file()
    return [float(loss) for loss in re.findall(r"^step .*: loss ([\d.]+),", done.stdout, re.MULTILINE)]


PAIRS = [{"question": f"What is {number} and {number}?", "answer": f"It is {2 * number}."} for number in range(12)]
CASES: dict[str, dict[str, Any]] = {
    "chat, cosine": {},
    "rslora of some modules, LoRA+, linear, another template": {
        "adapter__method": "rslora",
        "adapter__targets": ("q_proj", "down_proj"),
        "adapter__b_rate_ratio": 4.0,
        "training__schedule": "linear",
        "training__weight_decay": 0.1,
        "data__template": "plain",
        "training__max_steps": 4,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_the_script_has_the_engines_losses(case: str, short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 10)
    finished = run_inside(short_starter, rows, **CASES[case])
    script = run_script(finished.folder)
    found = losses_of(script, tmp_path)
    assert found == pytest.approx(finished.losses, abs=2e-3)
    assert found[-1] < found[0]


def test_questions_and_answers_in_a_table_of_their_own(short_starter: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("\n".join(map(json.dumps, PAIRS)))
    finished = run_inside(
        short_starter,
        rows,
        training__max_steps=4,
        training__schedule="cosine_restarts",
        adapter__layers="last 1",
        data__train_on="all",
    )
    assert losses_of(run_script(finished.folder), tmp_path) == pytest.approx(finished.losses, abs=2e-3)


def test_the_script_says_what_is_different_and_refuses_what_it_cannot_do(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 12)
    finished = run_inside(
        short_starter, rows, training__max_steps=1, data__validation_share=0.2, training__embedding_noise=5.0
    )
    script = run_script(finished.folder)
    assert "The run held back 2 rows to measure on" in script
    assert main(["show", str(finished.folder.path), "--script", str(tmp_path / "mine.py")]) == 0
    assert (tmp_path / "mine.py").read_text() == script
    assert main(["show", str(finished.folder.path), "--script", str(tmp_path / "mine.py")]) == 2
    assert "Noise on embeddings (NEFTune) was left out." in script
    compile(script, "train.py", "exec")
    beside = {path.name: path.read_bytes() for path in finished.folder.adapter.iterdir()}
    assert beside["loss.png"][:4] == b"\x89PNG"
    assert read_spec(finished.folder.adapter / "spec.yaml").training == load_spec(finished.folder).training
    assert str(tmp_path).encode() not in beside["spec.yaml"] + beside["README.md"]
    assert b"](loss.png)" in beside["README.md"]
    facts, plan = load_facts(finished.folder), load_plan(finished.folder)
    with pytest.raises(UserError, match="never planned to the end"):
        training_script(RunSpec(), type(facts)(facts.hardware), plan)
