"""Every data file of a real trainer's source package: recognised without help, read to the end, and written out."""

from collections.abc import Callable
from pathlib import Path

import pytest

from core.data.labels import encode_samples, write_sample
from core.data.preview import open_preview
from core.data.reading import Progress, collect_samples
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded, Message
from core.errors import Problem, Severity
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from tests.core.data.real_like_templates import THINKING

FILES = {
    "alpaca_en_demo.json": ("json", "alpaca", 999),
    "alpaca_zh_demo.json": ("json", "alpaca", 1000),
    "identity.json": ("json", "alpaca", 91),
    "v1_sft_demo.jsonl": ("jsonl", "messages", 500),
    "reason_tool_use_demo_50.jsonl": ("jsonl", "messages", 50),
    "glaive_toolcall_en_demo.json": ("json", "sharegpt", 300),
    "glaive_toolcall_zh_demo.json": ("json", "sharegpt", 300),
    "dpo_en_demo.json": ("json", "preference", 300),
    "dpo_zh_demo.json": ("json", "preference", 300),
    "v1_dpo_demo.jsonl": ("jsonl", "preference", 10),
    "kto_en_demo.json": ("json", "feedback", 300),
    "mllm_demo.json": ("json", "messages", 6),
    "mllm_audio_demo.json": ("json", "messages", 3),
    "mllm_video_demo.json": ("json", "messages", 3),
    "mllm_video_audio_demo.json": ("json", "messages", 3),
    "c4_demo.jsonl": ("jsonl", "text", 300),
    "wiki_demo.txt": ("text", "text", 30),
}
NO_DATA = {"dataset_info.json", "README.md", "README_zh.md", "v1_sft_demo.yaml", "v1_dpo_demo.yaml"}


def test_no_file_of_the_package_is_forgotten(files: Path) -> None:
    assert {path.name for path in files.iterdir() if path.is_file()} == {*FILES, *NO_DATA}


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_is_recognised_read_and_written(
    files: Path, name: str, tokenizer: Tokenizer, model_with: Callable[[str], ModelFacts]
) -> None:
    kind, shape, count = FILES[name]
    path = files / name
    found = open_preview(path, DataSpec())
    assert found.shape is not None
    assert (found.file.format, found.shape.name, found.shape.confidence) == (kind, shape, 1)
    (read,), _ = collect_samples(DataSpec(train=(str(path),)), Progress(None))
    assert (len(read.samples), read.skipped, read.shape) == (count, 0, found.shape)
    assert not any(problem.severity is Severity.ERROR for problem in (*found.problems, *read.problems))
    answers = [turn for sample in read.samples for turn in sample.messages if turn.role == "assistant"]
    if shape == "feedback":
        assert len([turn for turn in answers if turn.extra.get("weight", 1)]) == 150
    if name.startswith(("glaive", "reason")):
        assert any("tool_calls" in turn.extra for turn in answers)
    template = choose_template("auto", model_with(THINKING), tokenizer)
    encoded = encode_samples(read.samples, tokenizer, template, "completions", 10**6)
    assert [row for row in encoded if isinstance(row, Problem)] == []
    trained = sum(1 for row in encoded if isinstance(row, Encoded) and row.supervised)
    assert trained == (150 if shape == "feedback" else count)
    for sample in read.samples[:30]:
        written = write_sample(sample, tokenizer, template, "completions", 10**6)
        last = sample.messages[-1] if sample.messages else Message("assistant", sample.prompt + sample.completion)
        assert last.content.strip() in written.text
        assert all(tool["function"]["name"] in written.text for tool in sample.tools)


def test_the_whole_folder_is_read_as_its_largest_kind(files: Path) -> None:
    found = open_preview(files, DataSpec(bad_rows="skip"))
    assert found.file.format == "json"
    assert any("files of other kinds" in problem.message for problem in found.problems)
