"""A new run goes on from an adapter: its first loss is what the finished adapter was measured at on the same rows."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.events.tail import EventTail
from core.events.types import Evaluated, Step
from core.facts.base_model import read_base_model
from core.runs.prepare import prepare
from core.runs.resuming import accept, look_again
from core.runs.start_from import continuation
from core.runs.store import load_spec
from tests.e2e.real_runs import Finished, make_spec, run_folder, run_inside, write_rows

pytestmark = [pytest.mark.torch, pytest.mark.slow]

ROWS = 6
SHAPES: dict[str, dict[str, Any]] = {
    "lora": {"adapter__layers": "last 1", "adapter__rank_pattern": {"down_proj": 4}},
    "rslora": {"adapter__method": "rslora", "adapter__alpha": 4.0, "adapter__targets": ("q_proj", "v_proj")},
    "dora": {"adapter__method": "dora"},
    "pissa": {"adapter__start": "pissa"},
    "in full": {"adapter__modules_to_save": ("embed_tokens",), "adapter__targets": ("q_proj",)},
}


def first_run(model: Path, rows: Path, **settings: Any) -> Finished:
    return run_inside(model, rows, training__max_steps=3, **settings)


# PEFT says of embeddings that are trained alone, and so leave the head they were tied to, what may follow from it.
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_first_loss_is_that_of_the_finished_adapter(short_starter: Path, tmp_path: Path, shape: str) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    fresh = write_rows(tmp_path / "new.jsonl", ROWS, start=ROWS)
    first = first_run(short_starter, rows, data__validation=(str(fresh),), **SHAPES[shape])
    spec = continuation(first.folder, read_base_model(str(short_starter)))
    assert spec.data.train == ()
    settings = {f"adapter.{name}": getattr(spec.adapter, name) for name in spec.adapter.__slots__}
    again = run_inside(
        short_starter,
        fresh,
        training__max_steps=2,
        training__effective_batch=ROWS,
        training__learning_rate=1e-4,
        **settings,
    )
    begun, measured = first.of(Evaluated)[0], first.of(Evaluated)[-1]
    assert measured.step == 3
    assert abs(measured.loss - begun.loss) > 1e-3, "the first run has learned something"
    assert again.of(Step)[0].loss == pytest.approx(measured.loss, rel=2e-6)
    assert again.of(Step)[1].loss < again.of(Step)[0].loss
    assert again.folder.start.exists(), "the run holds what it began with"


def test_what_does_not_go_with_the_adapter_is_named_and_mended(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    first = first_run(short_starter, rows, adapter__targets=("q_proj", "v_proj"), adapter__layers="last 1")
    spec = make_spec(short_starter, rows, adapter__rank=4, adapter__start_from=first.folder.path.name)
    prepared = prepare(spec)
    assert prepared.spec.adapter.start_from == str(first.folder.adapter)
    found = {problem.path: problem for problem in prepared.plan.errors}
    assert set(found) == {"adapter.targets"}
    mended = spec
    for edit in found["adapter.targets"].fixes[0].edits:
        mended = mended.replace(edit.path, edit.value)
    assert prepare(mended).plan.errors == ()
    wrong = mended.replace("adapter.alpha", 32.0).replace("adapter.method", "dora").replace("adapter.rank", 2)
    paths = {problem.path for problem in prepare(wrong).plan.errors}
    assert paths == {"adapter.alpha", "adapter.method", "adapter.rank"}


def test_an_adapter_that_is_not_there_is_named(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(UserError) as caught:
        prepare(make_spec(short_starter, rows, adapter__start_from="nobody"))
    assert {problem.path for problem in caught.value.problems} == {"adapter.start_from"}
    assert caught.value.problems[0].fixes


def test_a_run_that_has_begun_needs_the_adapter_no_longer(short_starter: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    first = first_run(short_starter, rows)
    again = run_inside(short_starter, rows, training__max_steps=2, adapter__start_from=str(first.folder.adapter))
    shutil.rmtree(first.folder.path)
    seen = look_again(again.folder)
    assert seen.changes == ()
    longer = look_again(again.folder, load_spec(again.folder).replace("training.max_steps", 3))
    assert {change.path for change in longer.changes} == {"training.max_steps", "chosen.steps"}
    accept(longer)
    run_folder(again.folder)
    steps = [event.body.step for event in EventTail(again.folder.events()).read() if isinstance(event.body, Step)]
    assert steps == [1, 2, 3]


def test_an_adapter_that_plain_peft_has_made_is_gone_on_from(short_starter: Path, tmp_path: Path) -> None:
    import peft
    import torch
    import transformers as hf

    torch.manual_seed(3)
    base = hf.AutoModelForCausalLM.from_pretrained(short_starter, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=12, target_modules=["q_proj", "o_proj"], task_type="CAUSAL_LM")
    made = peft.get_peft_model(base, config)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if "lora_B" in name:
                tensor.normal_(0, 0.05)
    made.save_pretrained(tmp_path / "foreign")
    rows = write_rows(tmp_path / "rows.jsonl", ROWS)
    settings = {"adapter__rank": 4, "adapter__alpha": 12.0, "adapter__targets": ("q_proj", "o_proj")}
    run = run_inside(
        short_starter,
        rows,
        training__max_steps=1,
        training__effective_batch=ROWS,
        adapter__start_from=str(tmp_path / "foreign"),
        **settings,
    )
    plain = run_inside(short_starter, rows, training__max_steps=1, training__effective_batch=ROWS, **settings)
    encoded = load_rows(run)
    with torch.no_grad():
        summed = total = 0.0
        for row in encoded:
            ids = torch.tensor(row.tokens)[None]
            logits = made(input_ids=ids).logits[0, :-1].float()
            keep = torch.tensor(row.trained[1:])
            summed += float(torch.nn.functional.cross_entropy(logits[keep], ids[0, 1:][keep], reduction="sum"))
            total += int(keep.sum())
    assert run.of(Step)[0].loss == pytest.approx(summed / total, rel=1e-5)
    assert abs(run.of(Step)[0].loss - plain.of(Step)[0].loss) > 1e-3, "the adapter says something else than its base"


def load_rows(finished: Finished) -> Any:
    """The rows as the run has read them."""
    from core.data.dataset import load_dataset

    spec = load_spec(finished.folder)
    return load_dataset(spec.data, spec.training.seed, read_base_model(spec.model.base)).train
