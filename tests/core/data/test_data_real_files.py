"""Every data file of a real trainer's source package: recognised without help, read to the end, and written out.

The package is fetched once with pip, by its hash, into a cache outside the tree; it keeps its sources' licences and is
never committed. Without a network these tests are skipped, and say so one by one.
"""

import hashlib
import os
import subprocess
import sys
import tarfile
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

PACKAGE, VERSION = "llamafactory", "0.9.5"
ARCHIVE = f"{PACKAGE}-{VERSION}.tar.gz"
SHA256 = "1702c0bfb864e80577a59521d2edcacd2aab05ec6aee06188fcba335a589681f"

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


@pytest.fixture(scope="session")
def files() -> Path:
    """The folder with the package's data files."""
    cache = Path(os.environ.get("LOWRANK_TEST_CACHE") or Path.home() / ".cache" / "lowrank-tests")
    folder = cache / f"{PACKAGE}-{SHA256[:12]}"
    archive = folder / ARCHIVE
    if not archive.is_file():
        _download(folder)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != SHA256:
        pytest.fail(f"{archive} is not the file that these tests were written for")
    data = folder / "data"
    if not data.is_dir():
        staged = folder / f"part-{os.getpid()}"
        with tarfile.open(archive) as packed:
            packed.extractall(staged, [item for item in packed if "/data/" in item.name], filter="data")
        os.replace(staged / f"{PACKAGE}-{VERSION}" / "data", data)
    return data


def _download(folder: Path) -> None:
    """Fetches the source package alone; pip checks the hash before anything in the archive is run."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n", encoding="ascii")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE, "-d", folder]
    asked = subprocess.run([*command, "--require-hashes", "-r", wanted], capture_output=True, text=True, timeout=300)
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["pip says nothing"])[-1]
        pytest.skip(f"{len(FILES)} real data files are not looked at: {ARCHIVE} could not be fetched: {reason}")


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
