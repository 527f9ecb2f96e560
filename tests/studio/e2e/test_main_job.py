"""The whole main job with mouse and keyboard, on a real X server: from nothing to a merged model."""

import json
from pathlib import Path

import pytest

from tests.studio.e2e.person import Person

pytestmark = [pytest.mark.slow, pytest.mark.torch]


def write_rows(path: Path, count: int = 48) -> Path:
    lines = (json.dumps({"prompt": f"What is {n} plus one?", "completion": f"It is {n + 1}."}) for n in range(count))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def until_run(person: Person, what: str, wait: float = 120.0, **wanted: object) -> dict[str, object]:
    """Waits until the run that is shown says what is wanted; a number means at least that much."""

    def look() -> dict[str, object] | None:
        seen = person.see()
        for key, value in wanted.items():
            there = seen.get(key)
            enough = isinstance(value, int) and isinstance(there, int) and there >= value
            if not enough and there != value:
                return None
        return seen

    found: dict[str, object] = person.until(look, what, wait)
    return found


@pytest.mark.timeout(900)
def test_a_person_tunes_a_model_without_a_terminal(person: Person, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "sums.jsonl")
    person.open_window()

    # the first page offers the starter model; own rows take the place of the sample
    person.click("welcome-begin")
    person.until(lambda: person.see()["base"] == "starter", "the starter model was not chosen")
    person.press("ctrl+2")
    person.until(lambda: person.see()["page"] == "data", "Ctrl+2 did not show the Data page")
    for _ in range(2):
        person.click("remove-file")
    person.until(lambda: person.see()["train"] == [], "the sample rows could not be removed")
    person.drop(rows, 700, 400)
    person.until(lambda: person.see()["train"] == [str(rows)], "the dropped file was not taken")

    # 4 bits, another rank: the estimate moves
    person.click("rail-adapter")
    person.until(lambda: not person.see()["reading"], "the data was not read")
    assert person.see()["quantization"] == "nf4", "the first run loads in 4 bits"
    before = person.see()
    words = person.find("plan-trainable")["text"]
    person.fill("adapter.rank", "8")
    after = person.until(lambda: (seen := person.see())["rank"] == 8 and seen, "the rank did not change")
    assert after["trainable"] * 2 == before["trainable"]
    assert after["peak"] < before["peak"]
    assert person.find("plan-trainable")["text"] != words

    # a short run with small steps
    person.click("rail-training")
    person.fill("training.max_steps", "30")
    person.fill("training.effective_batch", "4")
    person.until(lambda: person.find("start")["enabled"], "Start is not enabled")
    person.click("start")
    seen = until_run(person, "the plot did not grow", step=4, points=4)
    person.click("stop")
    seen = until_run(person, "the run did not stop", outcome="stopped")
    stopped_at = seen["step"]
    person.close_window()

    # another day: the curve is there again, and the run goes on
    person.open_window()
    seen = until_run(person, "the run was not shown again", outcome="stopped", points=stopped_at)
    person.press("ctrl+4")
    person.click("resume")
    seen = until_run(person, "the resumed run did not finish", wait=240, outcome="completed")
    assert (seen["step"], seen["points"], seen["attempt"]) == (30, 30, 2)

    # ask it
    person.press("ctrl+5")
    person.click("load")
    person.until(lambda: person.find("prompt")["enabled"], "the model was not loaded", 120)
    person.click("prompt")
    person.type("What is 7 plus one?")
    person.press("Return")

    def answer() -> str:
        return str(person.ask(reply="reply-tuned")["text"]).strip()

    person.until(answer, "no answer came", 120)

    # take it away
    person.press("ctrl+6")
    person.click("format-merged")
    target = tmp_path / "merged"
    person.fill("target", str(target))
    person.click("start-export")
    person.until((target / "model.safetensors").is_file, "the merged model was not written", 180)
    person.close_window()
    assert_loads(target)


def assert_loads(folder: Path) -> None:
    """Plain transformers loads the model and continues a text."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is 7 plus one?"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        answer = model.generate(**ids, max_new_tokens=8, do_sample=False)
    assert answer.shape[1] > ids["input_ids"].shape[1]
