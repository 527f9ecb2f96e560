"""The loss of each row and the numbers made of it, against plain transformers and hand-computed cross-entropy."""

import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")


from core.data.types import Encoded  # noqa: E402
from core.engine.evaluation import evaluate  # noqa: E402
from core.engine.loading import load_base  # noqa: E402
from core.engine.loss import make_loss_head  # noqa: E402
from core.engine.row_losses import row_losses  # noqa: E402
from core.runs.evaluation_files import Question  # noqa: E402
from core.runs.evaluation_rows import Questions, Rows  # noqa: E402
from core.runs.evaluation_sums import choices_found, held_found  # noqa: E402
from tests.core.export.tiny_models import VOCABULARY, load, make_base, tune  # noqa: E402

CPU = torch.device("cpu")


def some_rows() -> tuple[Encoded, ...]:
    """Rows of several lengths, some masked in the middle."""
    draw = torch.Generator().manual_seed(3)
    rows = []
    for number, length in enumerate((5, 17, 9, 30, 2, 12)):
        ids = torch.randint(3, VOCABULARY, (length,), generator=draw).tolist()
        marks = [index > 0 and (index % 3 != 1 or length < 6) for index in range(length)]
        rows.append(Encoded(ids, marks, f"rows.jsonl:{number + 1}"))
    return tuple(rows)


def by_hand(model: Any, row: Encoded) -> float:
    """The sum of minus log softmax at each token that carries loss, one row alone, in float64."""
    with torch.no_grad():
        logits = model.eval()(torch.tensor([row.tokens])).logits[0].double()
    return sum(
        -float(torch.log_softmax(logits[index - 1], dim=-1)[token])
        for index, (token, learned) in enumerate(zip(row.tokens, row.trained, strict=True))
        if learned
    )


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma2", "gpt2"])
@pytest.mark.parametrize("packing", [True, False])
def test_each_row_has_the_loss_that_plain_transformers_give_it(tmp_path: Path, family: str, packing: bool) -> None:
    base = make_base(tmp_path / "base", family)
    head = make_loss_head(load_base(base, device=CPU, compute_dtype="fp32"))
    rows = some_rows()
    found = row_losses(head, rows, budget=40, packing=packing, device=CPU, on_pass=lambda *_: True)
    plain = load(base)
    assert found == pytest.approx([by_hand(plain, row) for row in rows], rel=1e-4)
    assert found is not None
    whole = evaluate(head, rows, budget=40, packing=packing, device=CPU)
    assert whole is not None
    assert sum(found) / sum(row.supervised for row in rows) == pytest.approx(whole.loss, rel=1e-5)


def test_with_the_adapter_off_and_on_one_model_is_base_and_tuned(tmp_path: Path) -> None:
    from peft import PeftModel

    tuned = tune(make_base(tmp_path / "base"), tmp_path / "adapter")
    rows = some_rows()
    loaded = load_base(tuned.base, device=CPU, compute_dtype="fp32")
    wrapped: Any = PeftModel.from_pretrained(loaded, str(tuned.adapter))
    head = make_loss_head(wrapped.get_base_model())

    def measure() -> list[float]:
        found = row_losses(head, rows, budget=40, packing=True, device=CPU, on_pass=lambda *_: True)
        assert found is not None
        return found

    with wrapped.disable_adapter():
        off = measure()
    on = measure()
    oracle: Any = PeftModel.from_pretrained(load(tuned.base), str(tuned.adapter))
    assert on == pytest.approx([by_hand(oracle, row) for row in rows], rel=1e-4)
    assert off == pytest.approx([by_hand(load(tuned.base), row) for row in rows], rel=1e-4)
    assert on != pytest.approx(off, rel=1e-2)


def test_somebody_who_wants_the_end_gets_it(tmp_path: Path) -> None:
    head = make_loss_head(load_base(make_base(tmp_path / "base"), device=CPU, compute_dtype="fp32"))
    assert row_losses(head, some_rows(), budget=40, packing=False, device=CPU, on_pass=lambda done, _: done < 2) is None


def test_losses_become_means_over_tokens_and_the_rows_that_changed_most() -> None:
    rows = tuple(Encoded((1,) * (n + 1), (False, *(True,) * n), f"f:{n}") for n in (2, 4, 8))
    found = held_found(Rows("f", rows, ("a", "b", "c")), base=[4.0, 4.0, 8.0], tuned=[1.0, 6.0, 8.0])
    assert (found.tokens, found.base, found.tuned) == (14, 16 / 14, 15 / 14)
    assert found.perplexities == (math.exp(16 / 14), math.exp(15 / 14))
    assert (found.better, found.worse) == (1, 1)
    assert [(item.place, item.gain) for item in (*found.gains, *found.losses)] == [("f:2", 1.5), ("f:4", -0.5)]
    ratio = -1 / 14
    spread = (-3 - 2 * ratio) ** 2 + (2 - 4 * ratio) ** 2 + (0 - 8 * ratio) ** 2
    assert found.error == pytest.approx(math.sqrt(spread * 3 / 2) / 14)


def test_choices_are_picked_by_likelihood_and_by_likelihood_per_character() -> None:
    questions = Questions("f", "", (Question("f:1", "q", ("no", "a long answer"), 1),), ())
    found = choices_found(questions, base=[3.0, 13.0], tuned=[4.0, 3.0])
    # 13 nats over 13 characters are fewer for each than 3 over 2, and more in all
    assert (found.base.accuracy, found.base.normalized) == (0.0, 1.0)
    assert (found.tuned.accuracy, found.tuned.normalized) == (1.0, 1.0)
    assert found.chance == 0.5
