"""A real run with known numbers: a change that should not alter what is learned must not alter these."""

import json
from pathlib import Path

import pytest

from tests.e2e.real_runs import run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "losses" / "short-starter-lora.json"


def test_the_losses_of_a_known_run(first_layers: Path, tmp_path: Path) -> None:
    """Eight float32 steps of LoRA on the starter model's first layers; the tolerance covers other processors."""
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    finished = run_inside(
        first_layers,
        write_rows(tmp_path / "rows.jsonl", 40, longest=10_000),
        data__validation_share=0.2,
        training__max_steps=8,
        training__evaluate_every=4,
    )
    assert finished.losses == pytest.approx(golden["train"], rel=1e-4)
    assert finished.validation == pytest.approx(golden["validation"], rel=1e-4)
