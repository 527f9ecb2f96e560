"""Runs whose layers compute in another form: the same losses, and plain layers as soon as anything goes wrong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from core.engine import layer_choice
from core.engine.kernels.compiled_layers import CompiledLayers
from core.events.tail import EventTail
from core.events.types import Notice, Started
from core.plan.types import Chosen
from core.runs.device_records import read_records
from core.runs.prepare import prepare
from core.runs.store import create_run
from tests.e2e.real_runs import Finished, make_spec, run_folder, run_inside, write_rows

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:::torch"),  # the compiler warns of itself
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


class Breaking:
    """Layers as they are, until one of them fails."""

    name = "compiled"

    def __init__(self, base: Any, after: int) -> None:
        self.layers, self.left = list(base.model.layers), after

    def obstacle(self) -> str:
        return ""

    def on(self) -> None:
        for layer in self.layers:
            layer.forward = self._forward(layer)

    def _forward(self, layer: Any) -> Any:
        def forward(*inputs: Any, **others: Any) -> Any:
            self.left -= 1
            if not self.left:
                raise RuntimeError("the kernel is gone")
            return type(layer).forward(layer, *inputs, **others)

        return forward

    def off(self) -> None:
        for layer in self.layers:
            layer.__dict__.pop("forward", None)

    def settle(self) -> None:
        return None

    def complaint(self) -> str:
        return ""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", 24)


@pytest.fixture(scope="module")
def plain(short_starter: Path, rows: Path) -> Finished:
    return run_inside(short_starter, rows, hardware__kernels="plain", training__micro_batch_tokens=128)


def said(finished: Finished) -> list[Notice]:
    return [notice for notice in finished.of(Notice) if notice.code == "layer_form"]


def used(finished: Finished) -> str:
    (started,) = finished.of(Started)
    return started.kernels


def run_measured(model: Path, rows: Path) -> Finished:
    """A run whose plan leaves the form to it, as plans for GPUs do."""
    prepared = prepare(make_spec(model, rows, training__micro_batch_tokens=128))
    choices = replace(prepared.plan.choices, kernels=Chosen("measured", "To be tried."))
    folder = create_run(prepared.spec, prepared.facts, replace(prepared.plan, choices=choices))
    run_folder(folder)
    return Finished(folder, None, EventTail(folder.events()).read())


def test_compiled_layers_learn_what_plain_ones_learn(
    plain: Finished, short_starter: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the way but the compiler, which tests/core/engine/test_layer_forms.py calls."""
    monkeypatch.setattr(
        layer_choice, "_forms", lambda session: [CompiledLayers(session.head.model, "flash", backend="aot_eager")]
    )
    found = run_inside(short_starter, rows, hardware__kernels="compiled", training__micro_batch_tokens=128)
    assert (used(plain), used(found)) == ("plain", "compiled")
    assert found.losses == pytest.approx(plain.losses, rel=1e-5)
    (notice,) = said(found)
    assert notice.level == "info"
    assert "agree with plain layers" in notice.message
    assert not said(plain)


def test_layers_that_fail_in_the_middle_of_a_run_are_given_up_and_the_step_is_taken_again(
    plain: Finished, short_starter: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_choice, "_forms", lambda session: [Breaking(session.head.model, after=40)])
    found = run_inside(short_starter, rows, hardware__kernels="compiled", training__micro_batch_tokens=128)
    assert used(found) == "compiled"
    assert found.losses == pytest.approx(plain.losses, rel=1e-5)
    assert len(found.losses) == len(plain.losses)
    _, notice = said(found)
    assert notice.level == "warning"
    assert "given up for plain ones: It failed with RuntimeError: the kernel is gone." in notice.message
    assert "taken again" in notice.message


def test_a_run_that_may_choose_measures_and_says_what_it_found(
    plain: Finished, short_starter: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        layer_choice, "_forms", lambda session: [Breaking(session.head.model, 10**9), Breaking(session.head.model, 2)]
    )
    monkeypatch.setattr(layer_choice, "WORTH", 0.0)
    found = run_measured(short_starter, rows)
    assert used(found) == "compiled"
    assert found.losses == pytest.approx(plain.losses, rel=1e-5)
    (notice,) = said(found)
    assert "times as fast as plain layers" in notice.message
    assert "the kernel is gone" in notice.message


def test_where_no_form_can_be_had_layers_stay_plain_and_what_they_took_is_remembered(
    plain: Finished, short_starter: Path, rows: Path
) -> None:
    """A processor has none that is ready at once, and the run is too short for a compiler."""
    found = run_measured(short_starter, rows)
    assert used(found) == "plain"
    assert found.losses == plain.losses
    (notice,) = said(found)
    assert notice.level == "info"
    assert "The layers stay plain. Liger's fused kernels: " in notice.message
    (record,) = read_records().records
    assert record.residuals
