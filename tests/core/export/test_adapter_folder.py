"""The adapter folder: PEFT loads it, it says where it came from, and it is whole or absent."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.export.adapter import find_base, read_manifest, write_adapter
from core.export.merge import merge_adapter
from core.export.usage import adapter_usage, model_usage
from core.records import RecordError
from tests.core.export.tiny_models import VOCABULARY, Tuned, answer, load

CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def manifest(base: Path | str, **more: object) -> dict[str, object]:
    return {"base_path": str(base), "base_fingerprint": "", "spec": {"adapter": {"rank": 4}}, **more}


def rewrite(tuned: Tuned, folder: Path, **more: object) -> Path:
    """The same adapter, written by this program."""
    from safetensors.torch import load_file

    config = json.loads((tuned.adapter / "adapter_config.json").read_text())
    tensors = load_file(tuned.adapter / "adapter_model.safetensors")
    write_adapter(folder, tensors=tensors, config=config, card="# Card\n", manifest=manifest(tuned.base, **more))
    return folder


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_plain_peft_loads_what_was_written(llama: Tuned, tmp_path: Path) -> None:
    import torch
    from peft import PeftModel

    folder = rewrite(llama, tmp_path / "adapter", template=CHAT, step=7, extra="kept")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "lowrank.json",
    ]
    model = PeftModel.from_pretrained(load(llama.base), folder)
    torch.testing.assert_close(answer(model), llama.logits)
    found = read_manifest(folder)
    assert found is not None
    assert (found.base_name, found.step, found.template) == ("base", 7, CHAT)
    assert found.spec == {"adapter": {"rank": 4}}
    assert json.loads((folder / "lowrank.json").read_text())["extra"] == "kept"
    assert find_base(folder) == llama.base


@pytest.mark.torch
def test_views_of_one_buffer_are_written_apart(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    buffer = torch.arange(24.0)
    tensors = {"a": buffer[:8].view(2, 4), "b": buffer[8:16].view(4, 2).T, "c": buffer[:8].view(2, 4)}
    write_adapter(tmp_path / "adapter", tensors=tensors, config={}, card="", manifest=manifest("x"))
    found = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.torch
def test_nothing_half_written_stays(llama: Tuned, tmp_path: Path) -> None:
    import torch

    tensors = {"a": torch.zeros(2)}
    with pytest.raises(ValueError, match="without tensors"):
        write_adapter(tmp_path / "one", tensors={}, config={}, card="", manifest=manifest("x"))
    with pytest.raises(RecordError, match="base_fingerprint is missing"):
        write_adapter(tmp_path / "one", tensors=tensors, config={}, card="", manifest={"base_path": "x"})
    with pytest.raises(RecordError, match="no plain form"):
        write_adapter(tmp_path / "one", tensors=tensors, config={"x": object()}, card="", manifest=manifest("x"))
    assert list(tmp_path.iterdir()) == []
    rewrite(llama, tmp_path / "two")
    with pytest.raises(FileExistsError):
        rewrite(llama, tmp_path / "two")


@pytest.mark.torch
def test_a_base_that_moved_is_found_by_name_or_asked_for(
    llama: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWRANK_HOME", str(tmp_path / "home"))
    base = Path(shutil.copytree(llama.base, tmp_path / "here" / "tiny"))
    adapter = rewrite(Tuned(base, llama.adapter, None), tmp_path / "adapter")
    settings = json.loads((adapter / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(base)}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    assert find_base(adapter) == base
    (tmp_path / "home" / "models").mkdir(parents=True)
    base.rename(tmp_path / "home" / "models" / "tiny")
    assert find_base(adapter) == tmp_path / "home" / "models" / "tiny"
    (tmp_path / "home" / "models" / "tiny").rename(tmp_path / "gone")
    with pytest.raises(UserError, match="“tiny” that this adapter was trained on is no longer at") as caught:
        find_base(adapter)
    assert len(caught.value.problems) == 1


def test_an_adapter_that_names_no_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    assert read_manifest(tmp_path) is None
    with pytest.raises(UserError, match="does not say which base model"):
        find_base(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ("[]", "where an object of settings belongs"),
        ('{"base_path": "x"}', "base_fingerprint is missing"),
        ('{"base_path": 3, "base_fingerprint": "x"}', "base_path: expected str"),
        ('{"format": 99}', "saved by a newer version"),
    ],
)
def test_broken_origins_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "lowrank.json").write_text(text)
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path)


def run_snippet(markdown: str, replacements: dict[str, str], capsys: pytest.CaptureFixture[str]) -> str:
    code = markdown.partition("```python\n")[2].partition("```")[0]
    for old, new in replacements.items():
        assert old in code
        code = code.replace(old, new)
    exec(compile(code, "card", "exec"), {})
    return capsys.readouterr().out


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("chat", [True, False])
def test_the_snippets_of_the_cards_run(
    chat: bool, llama: Tuned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = Path(shutil.copytree(llama.base, tmp_path / "base"))
    write_tokenizer(base)
    template: dict[str, Any] = {"template": CHAT} if chat else {}
    adapter = rewrite(Tuned(base, llama.adapter, None), tmp_path / "adapter", **template)
    short = {"max_new_tokens=100": "max_new_tokens=4, do_sample=False"}
    tuned = run_snippet(
        adapter_usage("BASE", chat=chat, own_template=chat),
        {'"BASE"': f"{str(base)!r}", 'adapter = "."': f"adapter = {str(adapter)!r}"} | short,
        capsys,
    )
    merge_adapter(base, adapter, tmp_path / "merged")
    merged = run_snippet(
        model_usage(chat=chat), {'folder = "."': f"folder = {str(tmp_path / 'merged')!r}"} | short, capsys
    )
    assert tuned == merged != "\n"


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = [chr(code) for code in range(97, 123)] + [chr(code) for code in range(65, 91)]
    vocabulary = {word: index for index, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *letters])}
    assert len(vocabulary) <= VOCABULARY
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>")
    fast.save_pretrained(folder)
