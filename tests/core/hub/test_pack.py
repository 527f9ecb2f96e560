"""Offline packs: made, copied, taken in on another computer; stopped, damaged, forged, and too large for the disk."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.data.hub_files import find_hub_data
from core.errors import ExitCode, UserError
from core.facts.locate import find_model, list_models
from core.facts.model_files import read_model
from core.hub.cache import CachedRepository
from core.hub.datasets import dataset_details, download_dataset
from core.hub.download import download
from core.hub.pack import making as making_module
from core.hub.pack.making import make_pack, plan_making
from core.hub.pack.manifest import MANIFEST, Pack, read_pack
from core.hub.pack.taking import Taken, check_pack, plan_taking, take_pack
from core.paths import models_dir
from core.spec.hub_data import HubData
from tests.core import disks
from tests.core.cli.conftest import Said
from tests.core.hub.conftest import whole_model
from tests.core.hub.hub_server import COMMIT, HubServer
from tests.core.hub.test_hub_datasets import Quiet, data_set

OWN = {name: content for name, content in whole_model().files.items() if "/" not in name}
WEIGHTS = "model.safetensors"


class StoppedError(Exception):
    pass


def nobody(_done: int, _total: int, _words: str) -> None:
    pass


def stop_in(file: str) -> Callable[[int, int, str], None]:
    """Ends the work while it copies a file."""

    def report(_done: int, _total: int, words: str) -> None:
        if words.endswith(f": {file}"):
            raise StoppedError

    return report


@pytest.fixture
def own(lowrank_home: Path) -> Path:
    """A model of the application's own, with a licence and much beside it that nobody needs."""
    folder = models_dir() / "mine"
    folder.mkdir(parents=True)
    for name, content in OWN.items():
        (folder / name).write_bytes(content)
    (folder / "lowrank-model.json").write_text('{"name": "mine"}')
    return folder


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on this is another computer, with empty folders and no network."""

    def go() -> None:
        monkeypatch.setenv("LOWRANK_HOME", str(tmp_path / "other" / "home"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "other" / "hf"))
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    return go


def make(folder: Path, *names: str, report: Callable[[int, int, str], None] = nobody) -> Pack:
    return make_pack(plan_making(folder, names), report)


def take(folder: Path, *names: str, report: Callable[[int, int, str], None] = nobody) -> tuple[Taken, ...]:
    return take_pack(plan_taking(read_pack(folder), names), report)


def refusal(work: Callable[[], object]) -> UserError:
    with pytest.raises(UserError) as caught:
        work()
    for problem in caught.value.problems:
        assert problem.message.endswith("."), problem
        assert problem.advice, problem
    return caught.value


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_a_model_goes_to_another_computer(own: Path, other: Callable[[], None], tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", "mine")
    assert [item.name for item in pack.items] == ["mine"]
    assert pack.items[0].licence == "apache-2.0"
    packed = files_of(pack.folder / "models" / "mine")
    unwanted = ("pytorch_model.bin", "tiny.Q4_K_M.gguf", ".gitattributes")
    assert set(packed) == (set(OWN) | {"lowrank-model.json"}) - set(unwanted)
    assert "lowrank unpack" in (pack.folder / "README.txt").read_text("utf-8")
    copy = shutil.copytree(pack.folder, tmp_path / "stick" / "copied")
    shutil.rmtree(pack.folder)
    other()
    assert read_model(copy / "models" / "mine").parameters, "it can be used where it lies"
    assert take(copy) == (Taken("mine", models_dir() / "mine", was_here=False),)
    assert files_of(models_dir() / "mine") == packed
    assert [model.name for model in list_models()] == ["mine"]
    assert take(copy)[0].was_here


def test_a_model_and_data_of_the_hub_come_into_the_cache_as_they_were(
    hub: HubServer, hub_home: Path, other: Callable[[], None], tmp_path: Path
) -> None:
    from core.hub.details import details

    hub.add(whole_model())
    hub.add(data_set())
    found = details("org/tiny")
    download(found, [file.name for file in found.wanted], Quiet())
    data = dataset_details("org/talks")
    part = data.part(HubData("org/talks", split="train"))
    download_dataset(data, [file.name for file in part.wanted], Quiet())
    before = files_of(hub_home / "hub")
    rows = [path.read_bytes() for path in find_hub_data("hf:org/talks:train").files]
    pack = make(tmp_path / "pack", "org/tiny", "hf:org/talks:train")
    assert [item.name for item in pack.items] == ["org/tiny", f"hf:org/talks/default:train@{COMMIT}"]
    other()
    assert {entry.name: entry.is_newest for entry in take(pack.folder)} == dict.fromkeys(
        (item.name for item in pack.items), True
    )
    assert {name: content for name, content in files_of(tmp_path / "other/hf/hub").items() if ".locks" not in name} == {
        name: content for name, content in before.items() if ".locks" not in name
    }
    weights = find_model("org/tiny") / WEIGHTS
    assert weights.is_symlink()
    assert weights.resolve().parent.name == "blobs"
    assert [path.read_bytes() for path in find_hub_data("hf:org/talks:train").files] == rows
    refusal(lambda: find_hub_data("hf:org/talks:test"))
    assert all(entry.was_here for entry in take(pack.folder))


def test_only_what_is_wanted(own: Path, other: Callable[[], None], tmp_path: Path) -> None:
    shutil.copytree(own, models_dir() / "second")
    make(tmp_path / "pack", "mine", "second")
    other()
    assert [entry.name for entry in take(tmp_path / "pack", "second")] == ["second"]
    assert [model.name for model in list_models()] == ["second"]
    lost = refusal(lambda: take(tmp_path / "pack", "third", "fourth"))
    assert [problem.path for problem in lost.problems] == ["third", "fourth"]
    assert "It has: mine, second." in lost.problems[0].advice


def test_a_pack_grows_and_nothing_in_it_changes(own: Path, tmp_path: Path) -> None:
    make(tmp_path / "pack", "mine")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pack").rglob("*.safetensors")}
    elsewhere = shutil.copytree(own, tmp_path / "elsewhere" / "tuned")
    pack = make(tmp_path / "pack", str(elsewhere), "mine")
    assert [item.name for item in pack.items] == ["mine", "tuned"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (own / "config.json").write_text((own / "config.json").read_text() + " ")
    another = refusal(lambda: plan_making(tmp_path / "pack", ["mine"]))
    assert "another state" in another.problems[0].message


def test_a_stopped_making_goes_on(own: Path, other: Callable[[], None], tmp_path: Path) -> None:
    size = (own / WEIGHTS).stat().st_size
    with pytest.raises(StoppedError):
        make(tmp_path / "pack", "mine", report=stop_in("tokenizer.json"))
    assert read_pack(tmp_path / "pack").items == ()
    empty = refusal(lambda: plan_taking(read_pack(tmp_path / "pack")))
    assert "stopped before its first model was whole" in empty.problems[0].message
    again = plan_making(tmp_path / "pack", ["mine"])
    assert 0 < again.room.needed < size, "the weights are there already"
    staged = next((tmp_path / "pack").rglob(WEIGHTS)).stat().st_mtime_ns
    pack = make_pack(again, nobody)
    assert (tmp_path / "pack" / "models" / "mine" / WEIGHTS).stat().st_mtime_ns == staged
    assert not check_pack(pack, (), nobody)
    assert sorted(path.name for path in pack.folder.iterdir()) == ["README.txt", MANIFEST, "models"]
    assert [path.name for path in (pack.folder / "models").iterdir()] == ["mine"]
    assert "lowrank-copied.json" not in files_of(pack.folder / "models" / "mine")


def test_what_has_changed_meanwhile_is_copied_anew(own: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        make(tmp_path / "pack", "mine", report=stop_in("tokenizer.json"))
    content = bytearray((own / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (own / WEIGHTS).write_bytes(content)
    os.utime(own / WEIGHTS, ns=(1, 1))
    make(tmp_path / "pack", "mine")
    assert (tmp_path / "pack" / "models" / "mine" / WEIGHTS).read_bytes() == content


def test_a_power_cut_before_the_manifest_loses_nothing(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = making_module.write_pack, []

    def cut(pack: Pack) -> None:
        calls.append(pack)
        if len(calls) == 2:
            raise StoppedError
        write(pack)

    monkeypatch.setattr(making_module, "write_pack", cut)
    with pytest.raises(StoppedError):
        make(tmp_path / "pack", "mine")
    assert (tmp_path / "pack" / "models" / "mine").is_dir()
    again = plan_making(tmp_path / "pack", ["mine"])
    assert again.room.needed == 0
    assert not check_pack(make_pack(again, nobody), (), nobody)


def test_a_stopped_taking_goes_on(own: Path, other: Callable[[], None], tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", "mine")
    other()
    size = (own / WEIGHTS).stat().st_size
    with pytest.raises(StoppedError):
        take(pack.folder, report=stop_in("tokenizer.json"))
    assert list_models() == ()
    refusal(lambda: find_model("mine"))
    again = plan_taking(pack)
    assert 0 < again.bytes < size
    staged = models_dir() / ".mine.pack" / WEIGHTS
    with staged.open("r+b") as file:  # a disk that has lost what it said was written
        file.write(b"\0\0\0")
    take_pack(again, nobody)
    assert files_of(models_dir() / "mine") == files_of(pack.folder / "models" / "mine")
    assert [path.name for path in models_dir().iterdir()] == ["mine"]


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip, "does not hold what was packed"),
        (lambda path: path.write_bytes(path.read_bytes()[:-7]), "bytes instead of"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_damaged_pack_is_named_and_brings_nothing(
    own: Path, other: Callable[[], None], tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    pack = make(tmp_path / "pack", "mine")
    harmed = pack.folder / "models" / "mine" / WEIGHTS
    harm(harmed)
    (problem,) = check_pack(pack, (), nobody)
    assert problem.path == str(harmed)
    assert words in problem.message
    other()
    refused = refusal(lambda: take(pack.folder))
    assert refused.exit_code is ExitCode.FAILED
    assert refused.problems[0].path == str(harmed)
    assert words in refused.problems[0].message
    assert list_models() == ()
    assert not (models_dir() / ".mine.pack" / WEIGHTS).exists()


def item(**changes: Any) -> dict[str, Any]:
    file = {"name": "config.json", "bytes": 2, "sha256": "0" * 64, "digest": "0" * 64}
    return {"kind": "model", "name": "x", "folder": "models/x", "files": [file], **changes}


def file_item(**changes: Any) -> dict[str, Any]:
    plain = item()
    plain["files"][0] |= changes
    return plain


HUB = {"kind": "hub model", "name": "a/b", "id": "a/b", "commit": COMMIT, "folder": "models/a--b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[]",
        "[" * 100_000,
        '{"format": 1}',
        '{"format": 1, "items": 3}',
        *(
            json.dumps({"format": 1, "items": items})
            for items in (
                [item(folder="../x")],
                [item(folder="/etc")],
                [item(folder="models\\x")],
                [item(folder="")],
                [item(), item()],
                [item(), item(name="y")],
                [item(name="../x")],
                [item(name=".x")],
                [item(kind="program")],
                [item(files=[])],
                [file_item(name="../../config.json")],
                [file_item(name="C:config.json")],
                [file_item(bytes=-1)],
                [file_item(bytes="2")],
                [file_item(sha256="0")],
                [file_item(digest="../../../etc/passwd")],
                [file_item(digest="1" * 64)],
                [item(**HUB, revision="../main")],
                [item(**HUB | {"id": "../b", "name": "../b"})],
                [item(**HUB | {"commit": ".."})],
                [item(**HUB | {"name": "c/d"})],
            )
        ),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    refused = refusal(lambda: read_pack(tmp_path))
    assert refused.problems[0].path == str(tmp_path / MANIFEST)
    assert "is damaged" in refused.problems[0].message


def test_what_is_no_pack(tmp_path: Path) -> None:
    assert "is not an offline pack" in refusal(lambda: read_pack(tmp_path)).problems[0].message
    (tmp_path / "file").write_text("x")
    assert "is not an offline pack" in refusal(lambda: read_pack(tmp_path / "file")).problems[0].message
    (tmp_path / MANIFEST).write_text('{"format": 2, "items": {}}')
    assert "newer version" in refusal(lambda: read_pack(tmp_path)).problems[0].message


def test_a_forged_name_does_not_get_into_the_cache(hub: HubServer, other: Callable[[], None], tmp_path: Path) -> None:
    """The cache believes the name of a content, so a pack may not give a content another one's."""
    from core.hub.details import details

    hub.add(whole_model())
    found = details("org/tiny")
    download(found, [file.name for file in found.wanted], Quiet())
    pack = make(tmp_path / "pack", "org/tiny")
    manifest = json.loads((pack.folder / MANIFEST).read_text("utf-8"))
    config = next(file for file in manifest["items"][0]["files"] if file["name"] == "config.json")
    assert len(config["digest"]) == 40
    config["digest"] = "f" * 40
    (pack.folder / MANIFEST).write_text(json.dumps(manifest))
    other()
    refused = refusal(lambda: take(pack.folder))
    assert "config.json does not hold what was packed" in refused.problems[0].message
    assert not CachedRepository("org/tiny").snapshot(COMMIT).exists()


def test_another_model_of_the_same_name_stays(own: Path, other: Callable[[], None], tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", "mine")
    other()
    shutil.copytree(own, models_dir() / "mine")
    flip(models_dir() / "mine" / WEIGHTS)
    before = files_of(models_dir())
    refused = refusal(lambda: take(pack.folder))
    assert "another model called “mine”" in refused.problems[0].message
    assert files_of(models_dir()) == before


def test_another_state_of_a_hub_model_stays_the_one_that_its_name_means(
    hub: HubServer, other: Callable[[], None], tmp_path: Path
) -> None:
    from core.hub.details import details

    hub.add(whole_model())
    found = details("org/tiny")
    download(found, [file.name for file in found.wanted], Quiet())
    pack = make(tmp_path / "pack", "org/tiny")
    other()
    newer = "1" * 40
    repository = CachedRepository("org/tiny")
    repository.snapshot(newer).mkdir(parents=True)
    repository.name_revision("main", newer)
    (entry,) = take(pack.folder)
    assert not entry.is_newest
    assert find_model("org/tiny") == repository.snapshot(newer)
    assert find_model("org/tiny", COMMIT[:12]) == entry.path
    assert read_model(entry.path).parameters


def test_all_that_cannot_go_into_a_pack_is_said_at_once(own: Path, tmp_path: Path) -> None:
    (models_dir() / "small.gguf").write_bytes(b"GGUF")
    broken = shutil.copytree(own, models_dir() / "broken")
    (broken / WEIGHTS).write_bytes((broken / WEIGHTS).read_bytes()[:-4])
    odd = shutil.copytree(own, tmp_path / "my model")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("dear")
    wanted = ["mine", "small.gguf", "broken", str(odd), "nobody/nothing", "hf:org/none"]
    refused = refusal(lambda: plan_making(tmp_path / "full", wanted))
    words = "\n".join(problem.message for problem in refused.problems)
    for part in (
        "holds other files",
        "is a GGUF file",
        "is cut off",
        "cannot be a model's",
        "nobody/nothing",
        "org/none",
    ):
        assert part in words, words
    assert [problem.path for problem in refused.problems[1:]] == [
        "small.gguf", str(broken / WEIGHTS), str(odd), "nobody/nothing", "hf:org/none",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["letter"]


def test_too_little_room_is_said_before_anything_is_copied(
    own: Path, other: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        disks.tell(full, 1000)
        refused = refusal(lambda: plan_making(tmp_path / "pack", ["mine"]))
    assert refused.exit_code is ExitCode.DOES_NOT_FIT
    assert not (tmp_path / "pack").exists()
    pack = make(tmp_path / "pack", "mine")
    other()
    disks.tell(monkeypatch, 1000)
    refused = refusal(lambda: take(pack.folder))
    assert refused.exit_code is ExitCode.DOES_NOT_FIT
    assert "1000 B are free" in refused.problems[0].message
    assert "LOWRANK_HOME" in refused.problems[0].advice
    assert not models_dir().exists()


def test_a_disk_that_fills_up_is_said_and_the_rest_follows(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disks.mounted(tmp_path / "stick", 1) as stick:
        disks.tell(monkeypatch, 10**9)
        refused = refusal(lambda: make(stick / "pack", "mine"))
        assert "No space left on device" in refused.problems[0].message
        assert "only the rest is copied" in refused.problems[0].advice
        assert read_pack(stick / "pack").items == ()
        assert not list((stick / "pack").rglob("*.part/*.part"))


# --- the command line


@pytest.fixture
def lowrank(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    from core.cli.main import main

    def call(*words: object) -> Said:
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Said(code, captured.out, captured.err)

    return call


def test_the_commands(own: Path, other: Callable[[], None], tmp_path: Path, lowrank: Callable[..., Said]) -> None:
    said = lowrank("pack", "mine", "--to", tmp_path / "pack")
    assert said.code == 0, said
    assert "The pack is whole: 1.2 MiB" in said.out
    assert "lowrank unpack FOLDER" in said.out
    assert "was there" in lowrank("pack", "mine", "--to", tmp_path / "pack").out
    other()
    assert lowrank("unpack", tmp_path / "pack", "--list").out.startswith("mine  1.2 MiB")
    assert "is what was packed" in lowrank("unpack", tmp_path / "pack", "--check").out
    said = lowrank("unpack", tmp_path / "pack")
    assert f"“mine” is here now, in {models_dir() / 'mine'}; use it with “--set model.base=mine”." in said.out
    assert "is here" in lowrank("unpack", tmp_path / "pack", "--list").out
    again = lowrank("unpack", tmp_path / "pack", "mine", "--json").json
    assert again["items"][0]["was_here"] is True
    flip(tmp_path / "pack" / "models" / "mine" / WEIGHTS)
    damaged = lowrank("unpack", tmp_path / "pack", "--check")
    assert damaged.code == 4
    assert "does not hold what was packed" in damaged.err
    for words in (("pack", "mine"), ("pack", "--to", "x"), ("unpack",), ("unpack", "x", "--list", "--check")):
        assert lowrank(*words).code == 2
    assert lowrank("unpack", tmp_path / "nowhere").code == 2


def test_ctrl_c_keeps_what_is_whole(
    own: Path, tmp_path: Path, lowrank: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.cli.console import Console

    def press(_console: Console, _text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Console, "progress", press)
    said = lowrank("pack", "mine", "--to", tmp_path / "pack")
    assert said.code == 5
    assert "goes on from there" in said.out
    assert read_pack(tmp_path / "pack").items == ()
