"""Real sets that nobody made for training: chats between people, mailboxes in any encoding, a chat bot's YAML."""

import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from core.data.labels import encode_samples
from core.data.preview import open_preview
from core.data.reading import FileSamples, Progress, collect_samples
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.data.types import Encoded
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec
from tests.core.data.real_packages import CHATTERBOT, CHITCHAT, MAILS, fetched

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[3] / "docs" / "data-files.md"
NOT_UTF8 = {"easy-ham-1": 142, "easy-ham-2": 120, "hard-ham-1": 33, "spam-1": 84, "spam-2": 121}
MAILS_IN = {"easy-ham-1": 2500, "easy-ham-2": 1400, "hard-ham-1": 250, "spam-1": 500, "spam-2": 1396}


def read(path: Path, **settings: object) -> FileSamples:
    spec = DataSpec(train=(str(path),), bad_rows="skip", **settings)  # type: ignore[arg-type]
    (found,), _ = collect_samples(spec, Progress(None))
    return found


def test_seven_thousand_chats_between_people(tmp_path: Path, model: ModelFacts, tokenizer: Tokenizer) -> None:
    with zipfile.ZipFile(fetched(CHITCHAT)) as packed:
        path = Path(packed.extract("chitchat_dataset/dataset.json", tmp_path))
    seen = open_preview(path, DataSpec())
    assert seen.shape is not None
    assert (seen.file.format, seen.shape.name, len(seen.rows)) == ("json", "messages", 500)
    found = read(path)
    assert len(found.samples) + found.skipped == 7168
    assert found.skipped <= 12, "only the chats with a blank turn are refused"
    assert any("speaks first is taken for the user" in problem.message for problem in found.problems)
    turns = Counter(len(sample.messages) for sample in found.samples)
    assert (turns[1], max(turns)) == (3150, 564)
    assert {turn.role for sample in found.samples for turn in sample.messages} == {"user", "assistant"}
    first = found.samples[0].messages
    assert first[0].content == "Hello\nHow are you doing today?"
    assert first[1].content == "whats up MD\nim doing good\nhow are you doing?"
    template = choose_template("auto", model, tokenizer)
    encoded = encode_samples(found.samples[:300], tokenizer, template, "completions", 4096)
    answered = sum(1 for sample in found.samples[:300] if any(turn.role == "assistant" for turn in sample.messages))
    assert sum(1 for row in encoded if isinstance(row, Encoded) and row.supervised) == answered


@pytest.mark.parametrize("name", sorted(MAILS_IN))
def test_folders_of_mails_in_any_encoding(tmp_path: Path, name: str) -> None:
    with tarfile.open(fetched(MAILS)) as packed:
        wanted = [item for item in packed if item.name.startswith(f"package/data/{name}/") and item.name[-4:] == ".txt"]
        packed.extractall(tmp_path, wanted, filter="data")
    folder = tmp_path / "package" / "data" / name
    blobs = {path.name: path.read_bytes() for path in folder.iterdir()}
    broken = {mail for mail, blob in blobs.items() if not _is_utf8(blob)}
    assert (len(blobs), len(broken)) == (MAILS_IN[name], NOT_UTF8[name])
    seen = open_preview(folder, DataSpec())
    assert seen.shape is not None
    assert (seen.file.format, seen.shape.name) == ("text", "text")
    found = read(folder)
    rows = {Path(sample.place.rpartition(":")[0]).name: sample.completion for sample in found.samples}
    assert rows.keys() >= blobs.keys() - broken
    for mail in sorted(blobs.keys() - broken)[:200]:
        assert rows[mail].split() == blobs[mail].decode("utf-8").split()
    named = " ".join(problem.path for problem in found.problems)
    assert found.skipped == 0 or any(mail in named for mail in broken)
    # Most of what is no UTF-8 is Western and read as such; what is not is named, with an encoding to set.
    stated = read(folder, encoding="windows_1252")
    assert stated.skipped == 0
    assert len(stated.samples) == len(blobs)


def _is_utf8(blob: bytes) -> bool:
    try:
        blob.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def test_a_chat_bots_yaml_by_the_script_in_the_documentation(tmp_path: Path) -> None:
    with zipfile.ZipFile(fetched(CHATTERBOT)) as packed:
        packed.extractall(tmp_path, [name for name in packed.namelist() if name.endswith(".yml")])
    (script,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    target = tmp_path / "chats.jsonl"
    source = tmp_path / "chatterbot_corpus" / "data"
    ran = subprocess.run([sys.executable, "-c", script, source, target], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found = read(target)
    assert found.shape.name == "messages"
    assert found.shape.confidence == 1
    assert (len(found.samples), found.skipped) == (7636, 8)
    assert all("is an empty answer" in problem.message for problem in found.problems)
