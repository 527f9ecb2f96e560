"""Data sets of the hub as training files: looked up, downloaded by a job, read, pinned, and found again offline."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.data.hub_files import NotHereError, find_hub_data, missing_hub_data, pin_hub_data
from core.data.preview import open_preview
from core.data.reading import Progress, collect_samples
from core.errors import ExitCode, UserError
from core.facts.locate import list_models
from core.hub.datasets import DatasetPart, dataset_details, download_dataset
from core.hub.job import create_dataset_download, download_command
from core.hub.problems import HubError
from core.hub.token import keep_token
from core.hub.transfer import DownloadStoppedError
from core.hub.unfinished import discard, list_unfinished
from core.runs.supervisor import Supervisor
from core.spec.hub_data import HubData
from core.spec.sections import DataSpec
from tests.core.cli.conftest import Said, tiny_model  # noqa: F401 (a fixture)
from tests.core.hub.hub_server import COMMIT, TOKEN, HubServer, Model


def rows(count: int, word: str = "row") -> bytes:
    lines = [
        json.dumps({"prompt": f"{word} {number}?", "completion": f"Yes, {word} {number}."}) for number in range(count)
    ]
    return ("\n".join(lines) + "\n").encode()


CARD: dict[str, Any] = {
    "license": "cc-by-4.0",
    "configs": [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "data/train-*"},
                {"split": "test", "path": "data/test.jsonl"},
            ],
        }
    ],
    "dataset_info": {"splits": [{"name": "train", "num_examples": 600}]},
}


def data_set(name: str = "org/talks", **more: Any) -> Model:
    files = {
        "README.md": b"---\nlicense: cc-by-4.0\n---\nTalks.",
        "LICENSE": b"CC BY",
        ".gitattributes": b"",
        "data/train-00000-of-00002.jsonl": rows(300, "first"),
        "data/train-00001-of-00002.jsonl": rows(300, "second"),
        "data/test.jsonl": rows(20, "held"),
        "talks.py": b"import os; os.abort()",
    }
    return Model(name, files, **{"kind": "dataset", "card": CARD, **more})


@pytest.fixture
def talks(hub: HubServer) -> Model:
    return hub.add(data_set())


class Quiet:
    """A listener that stops after so many bytes; 0 lets everything through."""

    def __init__(self, most: int = 0) -> None:
        self.most, self.done = most, 0

    def progress(self, done: int, total: int) -> None:
        self.done = done

    def stage(self, sentence: str) -> None:
        """Nobody listens."""

    def notice(self, code: str, sentence: str) -> None:
        """Nobody listens."""

    def stopping(self) -> bool:
        return bool(self.most) and self.done >= self.most


def fetch(name: HubData, most: int = 0, token: str = "") -> DatasetPart:
    part = dataset_details(name.id, name.revision, token).part(name)
    download_dataset(part.found, [file.name for file in part.wanted], Quiet(most), token)
    return part


def test_what_there_is_of_a_data_set(talks: Model) -> None:
    found = dataset_details("org/talks")
    assert (found.commit, found.licence, found.why_not, found.barrier) == (COMMIT, "cc-by-4.0", "", None)
    assert found.page.endswith("/datasets/org/talks")
    (config,) = found.configs
    assert [(part.name, part.rows, len(part.files)) for part in config.splits] == [("train", 600, 2), ("test", 0, 1)]
    part = found.part(HubData("org/talks"))
    assert str(part.name) == f"hf:org/talks/default:train@{COMMIT}"
    names = {file.name for file in part.wanted}
    assert names == {"README.md", "LICENSE", *part.split.files}, "nothing else, and no program"
    assert part.bytes == sum(len(talks.files[name]) for name in names)
    assert not part.is_here


def test_the_rows_that_were_downloaded_are_those_of_the_files(talks: Model, hub: HubServer) -> None:
    part = fetch(HubData("org/talks"))
    assert part.is_here
    found = find_hub_data("hf:org/talks")
    assert str(found.name) == f"hf:org/talks/default:train@{COMMIT}"
    assert b"".join(path.read_bytes() for path in found.files) == rows(300, "first") + rows(300, "second")
    hub.asked.clear()
    (samples,), _ = collect_samples(DataSpec(train=(str(found.name),)), Progress(None))
    assert [sample.prompt for sample in samples.samples][299:301] == ["first 299?", "second 0?"]
    assert (samples.facts.path, samples.facts.rows) == (str(found.name), 600)
    preview = open_preview("hf:org/talks", DataSpec(), limit=3)
    assert preview.rows[0].value == {"prompt": "first 0?", "completion": "Yes, first 0."}
    assert hub.asked == [], "reading asks nobody"
    assert list_models() == (), "and it is no model"


def test_only_a_part_is_here(talks: Model) -> None:
    fetch(HubData("org/talks"))
    spec = DataSpec(train=("hf:org/talks",), validation=("hf:org/talks:test", "hf:org/other"))
    assert missing_hub_data(spec) == (HubData("org/talks", split="test"), HubData("org/other"))
    with pytest.raises(NotHereError, match="part “test” of the data set “org/talks” is not wholly on this computer"):
        find_hub_data("hf:org/talks:test")
    with pytest.raises(UserError, match="no part “dev”; it has: train, test"):
        find_hub_data("hf:org/talks:dev")
    fetch(HubData("org/talks", split="test"))
    assert missing_hub_data(DataSpec(train=("hf:org/talks",), validation=("hf:org/talks:test",))) == ()


def test_pinning(talks: Model, hub: HubServer) -> None:
    fetch(HubData("org/talks"))
    spec = DataSpec(
        train=("hf:org/talks", "/rows.jsonl"), weights={"hf:org/talks": 2.0}, validation=("hf:org/nothing",)
    )
    pinned = f"hf:org/talks/default:train@{COMMIT}"
    found = pin_hub_data(spec)
    assert (found.train, found.validation) == ((pinned, "/rows.jsonl"), ("hf:org/nothing",))
    assert found.weights == {pinned: 2.0}
    assert pin_hub_data(found) is found
    newer = "f" * 40
    talks.commit, talks.files["data/train-00000-of-00002.jsonl"] = newer, rows(300, "third")
    fetch(HubData("org/talks"))
    assert pin_hub_data(spec).train[0] == f"hf:org/talks/default:train@{newer}"
    assert find_hub_data(pinned).files[0].read_bytes() == rows(300, "first"), "the old commit stays what it was"
    assert find_hub_data(f"hf:org/talks@{newer[:10]}").name.revision == newer


def test_what_another_program_has_downloaded(hub_home: Path) -> None:
    folder = hub_home / "hub" / "datasets--org--theirs" / "snapshots" / COMMIT
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        (folder / "data" / f"train-0000{number}-of-00003.jsonl").write_bytes(rows(2))
    with pytest.raises(NotHereError, match=r"data/train-00002-of-00003\.jsonl is missing"):
        find_hub_data("hf:org/theirs")
    (folder / "data" / "train-00002-of-00003.jsonl").write_bytes(rows(2))
    assert len(find_hub_data("hf:org/theirs").files) == 3
    (folder / "README.md").write_text("---\nconfigs: [{config_name: x, data_files: data/*00001*}]\n---\n")
    assert str(find_hub_data("hf:org/theirs").name) == f"hf:org/theirs/x:train@{COMMIT}"


def test_a_card_that_only_the_file_has(hub: HubServer) -> None:
    talks = hub.add(data_set(card={}))
    talks.files["README.md"] = b"---\nconfigs:\n- {config_name: one, data_files: data/test.jsonl}\n---\n"
    assert dataset_details("org/talks").configs[0].name == "one"


def test_packed_files(hub: HubServer) -> None:
    hub.add(Model("org/packed", {"train.jsonl.gz": gzip.compress(rows(30))}, kind="dataset"))
    fetch(HubData("org/packed"))
    (samples,), _ = collect_samples(DataSpec(train=("hf:org/packed",)), Progress(None))
    assert samples.facts.rows == 30


def test_a_stopped_download_goes_on_and_shows_nothing_before(hub: HubServer) -> None:
    big = hub.add(Model("org/big", {"train.jsonl": rows(20_000)}, kind="dataset"))
    size = len(big.files["train.jsonl"])
    with pytest.raises(DownloadStoppedError):
        fetch(HubData("org/big"), most=size // 2)
    with pytest.raises(NotHereError):
        find_hub_data("hf:org/big")
    assert list_unfinished() == (), "no model"
    (waiting,) = list_unfinished("dataset")
    assert (waiting.id, waiting.bytes) == ("org/big", size)
    assert size // 2 <= waiting.bytes_here < size
    fetch(HubData("org/big"))
    again = int(hub.contents("train.jsonl")[-1].range.removeprefix("bytes=").rstrip("-"))
    assert again >= size // 2, "what had come is not fetched again"
    assert list_unfinished("dataset") == ()
    hub.add(Model("org/more", {"train.jsonl": rows(20_000, "other")}, kind="dataset"))
    with pytest.raises(DownloadStoppedError):
        fetch(HubData("org/more"), most=1)
    assert discard("org/more", "dataset") > 0


@pytest.mark.parametrize(
    ("files", "message", "advice"),
    [
        ({"squad.py": b"", "README.md": b""}, "program of its authors (squad.py), which is never run", "refs/convert"),
        ({"a/1.tar": b"x", "a/2.tar": b"y"}, "files of other kinds: .tar", "JSONL"),
        ({"README.md": b"x"}, "It holds no data files", "its page"),
    ],
)
def test_what_cannot_be_read(hub: HubServer, files: dict[str, bytes], message: str, advice: str) -> None:
    hub.add(Model("org/odd", files, kind="dataset"))
    with pytest.raises(HubError) as caught:
        dataset_details("org/odd").part(HubData("org/odd"))
    assert message in caught.value.message
    assert advice in caught.value.advice


def test_refusals_speak_of_data_sets(hub: HubServer) -> None:
    hub.add(data_set("org/gated", gated="auto"))
    barrier = dataset_details("org/gated").barrier
    assert barrier is not None
    assert "The data set “org/gated” is given only to people who have accepted its terms" in barrier.message
    assert "/datasets/org/gated" in barrier.advice
    assert dataset_details("org/gated", token=TOKEN).barrier is None
    with pytest.raises(HubError, match="There is no data set “org/none”"):
        dataset_details("org/none")
    with pytest.raises(HubError, match="The data set “org/gated” has no revision “v9”"):
        dataset_details("org/gated", "v9", TOKEN)


@pytest.mark.usefixtures("talks")
def test_the_job() -> None:
    part = dataset_details("org/talks").part(HubData("org/talks"))
    folder = create_dataset_download(part)
    supervisor = Supervisor(folder, download_command(folder))
    supervisor.start()
    outcome = supervisor.wait()
    assert outcome.result["id"] == str(part.name)
    assert part.is_here


# ------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def lowrank(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*words: object) -> Said:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Said(code, captured.out, captured.err)

    return call


def plan_words(model: Path, *more: str) -> tuple[str, ...]:
    return (
        "plan",
        "--set",
        "adapter.rank=8",
        "--set",
        "data.max_length=256",
        "--set",
        f"model.base={model}",
        *(word for item in more for word in ("--set", item)),
    )


@pytest.mark.usefixtures("talks")
def test_planning_downloads_what_is_not_here(
    lowrank: Callable[..., Said],
    tiny_model: Path,  # noqa: F811
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = plan_words(tiny_model, "data.train=hf:org/talks", "data.validation=[hf:org/talks:test]")
    said = lowrank(*words)
    assert said.code == 0, said
    assert f"Downloading “org/talks:train@{COMMIT[:7]}” with 600 rows (licence cc-by-4.0)" in said.out
    asked = len(hub.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = lowrank(*words, "--json").json
    assert len(hub.asked) == asked
    assert again["spec"]["data"]["train"] == [f"hf:org/talks/default:train@{COMMIT}"]
    assert [file["path"] for file in again["facts"]["data"]["files"]] == [
        f"hf:org/talks/default:train@{COMMIT}",
        f"hf:org/talks/default:test@{COMMIT}",
    ]
    assert (again["facts"]["data"]["train"]["rows"], again["facts"]["data"]["validation"]["rows"]) == (600, 20)


@pytest.mark.usefixtures("talks")
def test_looking_through_a_data_set(lowrank: Callable[..., Said], tiny_model: Path) -> None:  # noqa: F811
    said = lowrank("data", "hf:org/talks", "--model", tiny_model, "--set", "data.max_length=256")
    assert said.code == 0, said
    assert f"org/talks:train@{COMMIT[:7]}" in said.out
    again = lowrank("data", "hf:org/talks", "--model", tiny_model, "--json").json
    assert again["report"]["rows"] == 570, "a twentieth is held back"
    assert again["spec"]["train"] == [f"hf:org/talks/default:train@{COMMIT}"]


def test_a_newer_commit_comes_when_it_is_asked_for(
    lowrank: Callable[..., Said],
    tiny_model: Path,  # noqa: F811
    talks: Model,
    hub: HubServer,
) -> None:
    old, newer = f"org/talks/default:train@{COMMIT}", "f" * 40
    words = ("data", "hf:org/talks", "--model", tiny_model)
    assert lowrank(*words).code == 0
    talks.commit, talks.files["data/train-00000-of-00002.jsonl"] = newer, rows(200, "third")
    hub.asked.clear()
    assert lowrank(*words, "--json").json["spec"]["train"] == [f"hf:{old}"]
    assert hub.asked == [], "nobody has asked for a newer one"
    said = lowrank(*words, "--newest")
    assert f"Downloading “org/talks:train@{newer[:7]}”" in said.out
    assert lowrank(*words, "--json").json["spec"]["train"] == [f"hf:org/talks/default:train@{newer}"]
    assert (
        f"“org/talks:train@{newer[:7]}” is the newest, and it is on this computer." in lowrank(*words, "--newest").out
    )
    hub.asked.clear()
    pinned = lowrank("data", f"hf:{old}", "--model", tiny_model, "--newest", "--json").json
    assert pinned["spec"]["train"] == [f"hf:{old}"]
    assert hub.asked == [], "a commit stays what it is"


def test_planning_with_what_cannot_be_had(
    lowrank: Callable[..., Said],
    tiny_model: Path,  # noqa: F811
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add(data_set("org/gated", gated="manual"))
    refused = lowrank(*plan_words(tiny_model, "data.train=hf:org/gated"))
    assert refused.code == ExitCode.FAILED
    assert "accept the terms" in refused.err
    keep_token(TOKEN)
    assert lowrank(*plan_words(tiny_model, "data.train=hf:org/gated")).code == 0
    asked = len(hub.asked)
    assert "is not the name of a data set" in lowrank(*plan_words(tiny_model, "data.train=hf:a/b/c/d")).err
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = lowrank(*plan_words(tiny_model, "data.train=hf:org/talks"))
    assert offline.code != 0
    assert "The hub is not asked, because the variable HF_HUB_OFFLINE forbids it." in offline.err
    assert len(hub.asked) == asked


def test_a_path_that_may_be_meant_for_the_hub(
    lowrank: Callable[..., Said],
    tiny_model: Path,  # noqa: F811
    hub: HubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    said = lowrank(*plan_words(tiny_model, "data.train=org/talks"))
    assert said.code == ExitCode.BAD_SPEC
    assert "hf:org/talks" in said.err
    assert hub.asked == [], "a name of something here is told to nobody"


def test_a_disk_that_is_too_full(
    lowrank: Callable[..., Said],
    tiny_model: Path,  # noqa: F811
    hub: HubServer,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(small_disk))
    hub.add(Model("org/large", {"train.jsonl": b"x" * 30_000_000}, kind="dataset"))
    said = lowrank(*plan_words(tiny_model, "data.train=hf:org/large"))
    assert said.code == ExitCode.DOES_NOT_FIT
    assert "The download takes 28.6 MiB more" in said.err
    assert not hub.contents("train.jsonl")
