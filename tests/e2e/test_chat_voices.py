"""Adapters that come and go on one loaded base: each answers as it would alone; misfits change nothing."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.data.prompts import encode_prompt
from core.errors import UserError
from core.export.chat_targets import find_target
from core.runs.layout import RunFolder
from core.runs.saved_states import list_checkpoints, step_of
from core.runs.targets import ChatTarget, as_voice, state_of_run, tuned_of_run
from core.runs.voices import Voice
from tests.e2e.real_runs import run_inside, write_rows

if TYPE_CHECKING:
    import torch

    from core.engine.respondent import Respondent

pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning"),
]

QUESTION = "Define “Dog”."


@pytest.fixture(scope="module")
def runs(short_starter: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Runs on one base that differ in what an adapter can be."""
    folder = tmp_path_factory.mktemp("voices")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOWRANK_HOME", str(folder / "home"))
        rows = write_rows(folder / "rows.jsonl", 24)
        ways = {
            "plain": {},
            "pissa": {"adapter__start": "pissa", "adapter__rank": 4},
            "dora": {"adapter__method": "dora", "adapter__modules_to_save": ("embed_tokens",)},
            "full": {"adapter__method": "full", "training__max_steps": 2, "training__learning_rate": 1e-3},
        }
        made = {}
        for name, settings in ways.items():
            asked = {"training__learning_rate": 0.005, "training__max_steps": 4, **settings}
            made[name] = run_inside(short_starter, rows, **asked).folder
        return made


def respondent(target: ChatTarget) -> "Respondent":
    from core.engine.respondent import load_respondent

    return load_respondent(target.arguments())


def logits(asked: "Respondent", voice: str) -> "torch.Tensor":
    """What a voice thinks of the next token."""
    import torch

    with asked.speaking_as(voice), torch.no_grad():
        prompt = encode_prompt(QUESTION, asked.tokenizer, asked.manner(voice).template)
        asked.model.eval()
        return asked.model(input_ids=torch.tensor([prompt])).logits[0, -1].float()


def newest_state(folder: RunFolder) -> ChatTarget:
    return state_of_run(folder, step_of(list_checkpoints(folder.checkpoints)[-1]))


def voice_of(target: ChatTarget, name: str) -> Voice:
    found = as_voice(target, name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["plain", "pissa", "dora", "full"])
def test_a_saved_state_answers_as_the_result_that_was_made_of_it(runs: dict[str, RunFolder], name: str) -> None:
    import torch

    saved, result = respondent(newest_state(runs[name])), respondent(tuned_of_run(runs[name]))
    assert saved.main == result.main == "tuned"
    expected = logits(result, "tuned")
    # A full fine-tuning's result was rounded to the base's own format once more.
    assert torch.allclose(logits(saved, "tuned"), expected, atol=0.05 if name == "full" else 1e-5)
    if name != "full":
        assert not torch.allclose(logits(saved, "base"), expected, atol=1e-3)


def test_adapters_come_and_go_and_nobody_hears_the_others(runs: dict[str, RunFolder]) -> None:
    import torch

    alone = {name: logits(respondent(tuned_of_run(runs[name])), "tuned") for name in ("plain", "pissa", "dora")}
    asked = respondent(tuned_of_run(runs["plain"]))
    base = logits(asked, "base")
    asked.bring(voice_of(tuned_of_run(runs["pissa"]), "voice-1"))
    asked.bring(voice_of(newest_state(runs["dora"]), "voice-2"))
    for _ in range(2):
        assert torch.allclose(logits(asked, "voice-2"), alone["dora"], atol=1e-5)
        assert torch.allclose(logits(asked, "base"), base, atol=1e-5)
        assert torch.allclose(logits(asked, "tuned"), alone["plain"], atol=1e-5)
        assert torch.allclose(logits(asked, "voice-1"), alone["pissa"], atol=1e-5)
    held = sum(parameter.numel() for parameter in asked.model.parameters())
    asked.drop("voice-2")
    assert sum(parameter.numel() for parameter in asked.model.parameters()) < held
    with pytest.raises(UserError, match="“voice-2” cannot be asked here, where only base and tuned and voice-1 can"):
        logits(asked, "voice-2")
    assert torch.allclose(logits(asked, "voice-1"), alone["pissa"], atol=1e-5)
    asked.drop("voice-1")
    asked.drop("tuned")
    assert torch.allclose(logits(asked, "base"), base, atol=1e-5)
    asked.bring(voice_of(tuned_of_run(runs["plain"]), "tuned"))
    assert torch.allclose(logits(asked, "tuned"), alone["plain"], atol=1e-5)


def test_a_base_alone_takes_an_adapter_and_generates_with_it(runs: dict[str, RunFolder], short_starter: Path) -> None:
    from core.engine.sampling import Sampling, answer

    asked = respondent(find_target(str(short_starter)))
    assert asked.main == "base"
    asked.bring(voice_of(tuned_of_run(runs["plain"]), "voice-1"))
    said = {}
    for voice in ("base", "voice-1"):
        manner = asked.manner(voice)
        with asked.speaking_as(voice):
            prompt = encode_prompt(QUESTION, asked.tokenizer, manner.template)
            sampling = Sampling(max_new_tokens=8)
            said[voice] = answer(
                asked.model, asked.tokenizer, prompt, stop_ids=(), sampling=sampling, device=asked.device
            ).tokens
    assert said["base"] != said["voice-1"]
    with pytest.raises(UserError, match="base model itself"):
        asked.drop("base")


def test_what_does_not_fit_is_refused_in_words_and_changes_nothing(runs: dict[str, RunFolder], tmp_path: Path) -> None:
    import torch

    asked = respondent(tuned_of_run(runs["plain"]))
    before = {voice: logits(asked, voice) for voice in ("base", "tuned")}
    other = shutil.copytree(runs["plain"].adapter, tmp_path / "other")
    manifest = json.loads((other / "lowrank.json").read_text("utf-8"))
    (other / "lowrank.json").write_text(json.dumps({**manifest, "base_fingerprint": "another"}))
    foreign = shutil.copytree(runs["plain"].adapter, tmp_path / "foreign")
    (foreign / "lowrank.json").unlink()
    config = json.loads((foreign / "adapter_config.json").read_text("utf-8"))
    (foreign / "adapter_config.json").write_text(json.dumps({**config, "r": 3}))
    torn = shutil.copytree(runs["plain"].adapter, tmp_path / "torn")
    weights = (torn / "adapter_model.safetensors").read_bytes()
    (torn / "adapter_model.safetensors").write_bytes(weights[: len(weights) // 2])
    state = shutil.copytree(list_checkpoints(runs["plain"].checkpoints)[-1], tmp_path / "run/checkpoints/step-00000004")
    for name in ("spec.yaml", "plan.json", "facts.json"):
        shutil.copy(runs["plain"].path / name, tmp_path / "run" / name)
    (state / "masters.safetensors").write_bytes(b"no tensors")
    for place, words in (
        (other, "not the base model that the adapter was trained on"),
        (foreign, "foreign"),
        (torn, "torn"),
        (state, "The checkpoint step-00000004 cannot be used: masters.safetensors has 10 bytes"),
        (tmp_path / "nowhere", "nowhere"),
    ):
        with pytest.raises(UserError) as refused:
            asked.bring(Voice("voice-1", "", str(place)))
        assert words in str(refused.value), place
        assert refused.value.problems[0].advice
        assert set(asked.manners) == {"base", "tuned"}
        for voice, expected in before.items():
            assert torch.equal(logits(asked, voice), expected)


def test_a_saved_state_leaves_no_files_behind(runs: dict[str, RunFolder]) -> None:
    from core.engine.respondent import adapter_folder

    with adapter_folder(list_checkpoints(runs["plain"].checkpoints)[-1]) as folder:
        assert (folder / "adapter_model.safetensors").is_file()
    assert not folder.exists()


def test_a_name_finds_whom_a_person_means(runs: dict[str, RunFolder], short_starter: Path, tmp_path: Path) -> None:
    folder = runs["plain"]
    step = step_of(list_checkpoints(folder.checkpoints)[-1])
    assert find_target(str(folder.path)) == tuned_of_run(folder)
    assert find_target(str(folder.adapter)) == tuned_of_run(folder)
    assert find_target(f"{folder.path}@{step}") == state_of_run(folder, step)
    assert find_target(str(list_checkpoints(folder.checkpoints)[-1])) == state_of_run(folder, step)
    assert find_target(str(short_starter)).variants == ("base",)
    elsewhere = shutil.copytree(folder.adapter, tmp_path / "given" / "adapter")
    given = find_target(str(elsewhere))
    assert (given.title, given.model, given.adapter) == ("given/adapter", short_starter, elsewhere)
    assert given.template == str(elsewhere / "chat_template.jinja")
    with pytest.raises(UserError, match=r"no checkpoint of step 77.*There are those of the steps .*4"):
        find_target(f"{folder.path}@77")
    with pytest.raises(UserError, match="neither a run nor a model called “nobody”"):
        find_target("nobody")


def test_adapters_go_to_the_base_and_to_no_gpu_beside_it(
    runs: dict[str, RunFolder], short_starter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat on the processor is what somebody has while a training fills the GPU."""
    from peft import peft_model

    asked = respondent(find_target(str(short_starter)))
    monkeypatch.setattr(peft_model, "infer_device", lambda: "cuda")  # as wherever there is one
    asked.bring(voice_of(tuned_of_run(runs["plain"]), "voice-1"))
    asked.bring(voice_of(tuned_of_run(runs["pissa"]), "voice-2"))
    assert {parameter.device.type for parameter in asked.model.parameters()} == {"cpu"}
    assert not logits(asked, "voice-1").equal(logits(asked, "voice-2"))
