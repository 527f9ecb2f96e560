import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import UserError
from core.facts.locate import find_model, list_models
from core.facts.model_files import read_model
from core.hub import transfer, unfinished
from core.hub.cache import CachedRepository
from core.hub.details import ModelDetails, details
from core.hub.download import Downloaded, DownloadStoppedError, download, installed
from core.hub.files import HubFile
from core.hub.problems import HubError
from core.hub.unfinished import discard, list_unfinished
from tests.core.hub.conftest import sharded_model, whole_model
from tests.core.hub.hub_server import COMMIT, TOKEN, HubServer, Model

WEIGHTS = "model.safetensors"


@dataclass
class Ear:
    """Listens, and stops the download after so many bytes."""

    stop_after: float = float("inf")
    told: list[tuple[int, int]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    stopped: bool = False

    def progress(self, done: int, total: int) -> None:
        self.told.append((done, total))

    def stage(self, sentence: str) -> None:
        self.stages.append(sentence)

    def notice(self, code: str, sentence: str) -> None:
        assert sentence.endswith(".")
        self.notices.append(code)

    def stopping(self) -> bool:
        return self.stopped or bool(self.told and self.told[-1][0] >= self.stop_after)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "BACKOFF_SECONDS", 0.01)


def fetch(name: str = "org/tiny", ear: Ear | None = None, token: str = "", revision: str = "") -> Downloaded:
    found = details(name, revision, token)
    return download(found, [file.name for file in found.wanted], ear or Ear(), token)


def trouble(call: Callable[..., object], *arguments: object) -> HubError:
    with pytest.raises(HubError) as caught:
        call(*arguments)
    return caught.value


def part_of(model: Model, name: str = WEIGHTS) -> Path:
    return CachedRepository(model.id).part(HubFile(name, 0, model.digest(name)))


def test_a_download(tiny: Model, hub: HubServer, hub_home: Path) -> None:
    ear = Ear()
    done = fetch(ear=ear)
    assert done.folder == hub_home / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    assert sorted(path.name for path in done.folder.iterdir()) == [
        "LICENSE", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    for path in done.folder.iterdir():
        assert path.read_bytes() == tiny.files[path.name]
        assert path.is_symlink()
        assert not path.readlink().is_absolute()
    assert (hub_home / "hub" / "models--org--tiny" / "refs" / "main").read_text() == COMMIT
    assert done.bytes == details("org/tiny").bytes
    assert [total for _, total in ear.told] == [done.bytes] * len(ear.told)
    assert ear.told[-1] == (done.bytes, done.bytes)
    assert [count for count, _ in ear.told] == sorted(count for count, _ in ear.told)
    assert len(ear.told) > len(tiny.files[WEIGHTS]) / transfer.CHUNK
    assert ear.notices == []


def test_what_was_downloaded_is_a_model_for_us(tiny: Model) -> None:
    assert list_models() == ()
    folder = fetch().folder
    (model,) = list_models()
    assert (model.name, model.path, model.origin, model.family) == ("org/tiny", folder, "hub cache", "llama")
    assert model.bytes == len(tiny.files[WEIGHTS])
    assert find_model("org/tiny") == folder
    assert read_model(folder).licence == "apache-2.0"


def test_what_was_downloaded_is_a_model_for_the_hubs_own_library(
    tiny: Model, sharded: Model, hub: HubServer, hub_home: Path
) -> None:
    """Another process, because the library reads its settings when it is imported."""
    fetch()
    fetch("org/sharded")
    before = len(hub.contents())
    program = """
import sys
from huggingface_hub import hf_hub_download, scan_cache_dir, snapshot_download
print(hf_hub_download("org/tiny", "config.json"))
print(hf_hub_download("org/tiny", "model.safetensors"))
print(snapshot_download("org/sharded", local_files_only=True))
report = scan_cache_dir()
assert not report.warnings, report.warnings
print(sorted((repo.repo_id, repo.nb_files, sorted(repo.refs)) for repo in report.repos))
"""
    env = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    tiny_folder = hub_home / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    assert lines[0] == str(tiny_folder / "config.json")
    assert lines[1] == str(tiny_folder / WEIGHTS)
    assert lines[2].endswith(f"models--org--sharded/snapshots/{COMMIT}")
    assert lines[3] == "[('org/sharded', 5, ['main']), ('org/tiny', 8, ['main'])]"
    assert len(hub.contents()) == before, "the library fetched something once more"


def test_what_the_library_downloaded_is_not_fetched_again(tiny: Model, hub: HubServer) -> None:
    program = "from huggingface_hub import hf_hub_download as get; get('org/tiny', 'model.safetensors')"
    env = {**os.environ, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
    subprocess.run([sys.executable, "-c", program], check=True, env=env, capture_output=True)
    assert len(hub.contents(WEIGHTS)) == 1
    assert list_models() == (), "weights alone are no model"
    fetch()
    assert len(hub.contents(WEIGHTS)) == 1
    assert [model.name for model in list_models()] == ["org/tiny"]


def test_again_fetches_nothing(tiny: Model, hub: HubServer) -> None:
    assert installed(details("org/tiny")) is None
    fetch()
    assert installed(details("org/tiny")) == find_model("org/tiny")
    before = len(hub.contents())
    ear = Ear()
    fetch(ear=ear)
    assert len(hub.contents()) == before + 1, "only the config that the details show"
    assert ear.told[0][0] == ear.told[0][1]


def test_stopping_keeps_what_came_and_going_on_fetches_the_rest(tiny: Model, hub: HubServer) -> None:
    size = len(tiny.files[WEIGHTS])
    with pytest.raises(DownloadStoppedError):
        fetch(ear=Ear(stop_after=size // 2))
    here = part_of(tiny).stat().st_size
    assert size // 3 < here < size
    assert list_models() == ()
    (waiting,) = list_unfinished()
    assert (waiting.id, waiting.revision, waiting.bytes) == ("org/tiny", "main", details("org/tiny").bytes)
    assert here < waiting.bytes_here < waiting.bytes

    ear = Ear()
    fetch(ear=ear)
    again = hub.contents(WEIGHTS)[-1]
    assert again.range == f"bytes={here}-"
    assert again.sent == size - here, "what was here is not fetched again"
    assert ear.told[0][0] == waiting.bytes_here
    assert (find_model("org/tiny") / WEIGHTS).read_bytes() == tiny.files[WEIGHTS]
    assert list_unfinished() == ()
    assert not part_of(tiny).exists()


def test_a_half_download_is_no_model_and_says_how_to_go_on(tiny: Model) -> None:
    with pytest.raises(DownloadStoppedError):
        fetch(ear=Ear(stop_after=200_000))
    with pytest.raises(UserError, match="has not finished") as caught:
        find_model("org/tiny")
    assert "lowrank models --download org/tiny" in caught.value.problems[0].advice


def test_half_a_download_of_other_tools_is_no_model(sharded: Model, hub_home: Path) -> None:
    """They show each file as soon as it is there."""
    folder = fetch("org/sharded").folder
    assert [model.name for model in list_models()] == ["org/sharded"]
    shard = folder / "model-00002-of-00002.safetensors"
    blob = shard.resolve()
    shard.unlink()
    blob.rename(blob.with_name(f"{blob.name}.1234abcd.incomplete"))
    assert list_models() == ()
    with pytest.raises(UserError, match="has not finished"):
        find_model("org/sharded")
    for part in blob.parent.glob("*.incomplete"):
        part.unlink()
    assert list_models() == ()
    with pytest.raises(UserError, match="missing: model-00002-of-00002"):
        read_model(find_model("org/sharded"))


def test_parts_of_another_revision_do_not_spoil_a_whole_one(tiny: Model) -> None:
    folder = fetch().folder
    (folder.parents[1] / "blobs" / f"{'ab' * 32}.incomplete").write_bytes(b"part")
    assert find_model("org/tiny") == folder
    assert [model.name for model in list_models()] == ["org/tiny"]


def test_giving_up_on_a_download_frees_its_space(tiny: Model) -> None:
    with pytest.raises(DownloadStoppedError):
        fetch(ear=Ear(stop_after=300_000))
    here = part_of(tiny).stat().st_size
    assert discard("org/tiny") == here
    assert not part_of(tiny).exists()
    assert list_unfinished() == ()
    assert discard("org/never") == 0


def test_records_that_are_not_ours_are_left_out(lowrank_home: Path, hub_home: Path) -> None:
    assert list_unfinished() == ()
    folder = lowrank_home / "cache" / "unfinished-downloads"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text(json.dumps({"id": "x", "files": 3}))
    assert list_unfinished() == ()


def test_a_server_that_dies_is_asked_again_for_the_rest(tiny: Model, hub: HubServer) -> None:
    size = len(tiny.files[WEIGHTS])
    hub.faults.cut[WEIGHTS] = [300_000, 300_000]
    ear = Ear()
    fetch(ear=ear)
    requests = hub.contents(WEIGHTS)
    assert [asked.range for asked in requests] == ["", "bytes=300000-", "bytes=600000-"]
    assert sum(asked.sent for asked in requests) == size
    assert ear.notices == ["download_retry"] * 2


def test_a_server_that_stays_dead_ends_the_download_and_keeps_the_part(tiny: Model, hub: HubServer) -> None:
    hub.faults.cut[WEIGHTS] = [300_000, *[0] * 20]
    ear = Ear()
    failure = trouble(fetch, "org/tiny", ear)
    assert failure.reason == "unreachable"
    assert "broke off" in failure.message
    assert "goes on from there" in failure.advice
    assert len(ear.notices) == transfer.TRIES - 1
    assert part_of(tiny).stat().st_size == 300_000
    hub.faults.cut.clear()
    fetch()
    assert hub.contents(WEIGHTS)[-1].range == "bytes=300000-"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_trouble_that_passes(tiny: Model, hub: HubServer, status: int) -> None:
    found = details("org/tiny")
    hub.faults.answer["/org/tiny"] = (2, status, {"Retry-After": "0"})
    ear = Ear()
    download(found, [file.name for file in found.wanted], ear)
    assert ear.notices == ["download_retry"] * 2


def test_a_long_wait_is_left_to_the_user(tiny: Model, hub: HubServer) -> None:
    found = details("org/tiny")
    hub.faults.answer["/org/tiny"] = (2, 429, {"Retry-After": "300"})
    failure = trouble(download, found, [WEIGHTS], Ear())
    assert (failure.reason, failure.retry_after) == ("busy", 300)


def test_a_server_without_ranges_begins_anew(tiny: Model, hub: HubServer) -> None:
    hub.faults.no_ranges = True
    hub.faults.cut[WEIGHTS] = [300_000]
    ear = Ear()
    done = fetch(ear=ear)
    assert (done.folder / WEIGHTS).read_bytes() == tiny.files[WEIGHTS]
    assert ear.told[-1] == (done.bytes, done.bytes)
    assert max(count for count, _ in ear.told) == done.bytes


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_wrong_bytes_are_noticed(tiny: Model, hub: HubServer, name: str) -> None:
    found = details("org/tiny")
    hub.faults.spoil[name] = 5
    failure = trouble(download, found, [file.name for file in found.wanted], Ear())
    assert failure.reason == "damaged"
    assert name in failure.message
    assert not part_of(tiny, name).exists()
    assert list_models() == ()
    hub.faults.spoil.clear()
    assert (fetch().folder / name).read_bytes() == tiny.files[name]


def test_a_damaged_part_is_fetched_anew(tiny: Model, hub: HubServer) -> None:
    with pytest.raises(DownloadStoppedError):
        fetch(ear=Ear(stop_after=500_000))
    part = part_of(tiny)
    part.write_bytes(bytes(part.stat().st_size))
    ear = Ear()
    done = fetch(ear=ear)
    assert ear.notices == ["download_damaged"]
    assert ear.told[-1] == (done.bytes, done.bytes)
    assert (done.folder / WEIGHTS).read_bytes() == tiny.files[WEIGHTS]


def test_a_part_that_is_too_long_is_fetched_anew(tiny: Model, hub: HubServer) -> None:
    part = part_of(tiny)
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(tiny.files[WEIGHTS]) + 1))
    ear = Ear()
    done = fetch(ear=ear)
    assert ear.told[-1] == (done.bytes, done.bytes)
    assert [asked.range for asked in hub.contents(WEIGHTS)] == [""]


def test_a_whole_part_only_has_to_be_checked(tiny: Model, hub: HubServer) -> None:
    part = part_of(tiny)
    part.parent.mkdir(parents=True)
    part.write_bytes(tiny.files[WEIGHTS])
    fetch()
    assert hub.contents(WEIGHTS) == []


def test_the_token_goes_to_the_hub_only(hub: HubServer) -> None:
    hub.add(whole_model("org/gated", gated="auto"))
    failure = trouble(fetch, "org/gated")
    assert failure.reason == "gated"
    assert "accept the terms" in failure.advice
    fetch("org/gated", token=TOKEN)
    assert {asked.token for asked in hub.asked if asked.server == "store"} == {""}
    assert any(asked.token == TOKEN for asked in hub.asked if asked.server == "hub")


def test_access_that_is_lost_on_the_way(tiny: Model, hub: HubServer) -> None:
    found = details("org/tiny")
    tiny.gated = "manual"
    assert trouble(download, found, [WEIGHTS], Ear()).reason == "gated"


def test_shards_with_names_of_their_own_are_found_by_the_index(hub: HubServer) -> None:
    hub.add(sharded_model(names=("first.safetensors", "second.safetensors")))
    found = details("org/sharded")
    names = [file.name for file in found.wanted if file.name != "second.safetensors"]
    ear = Ear()
    done = download(found, names, ear)
    assert (done.folder / "second.safetensors").is_file()
    assert ear.told[-1] == (done.bytes, done.bytes)
    assert read_model(done.folder).num_layers == 2


def test_an_index_that_names_what_is_not_there(hub: HubServer) -> None:
    model = hub.add(sharded_model())
    del model.files["model-00002-of-00002.safetensors"]
    failure = trouble(fetch, "org/sharded")
    assert failure.reason == "missing"
    assert "model-00002-of-00002" in failure.message
    model.files["model.safetensors.index.json"] = b"[]"
    assert trouble(fetch, "org/sharded").reason == "answer"
    assert list_models() == ()


def test_a_hub_that_does_not_list_sizes_is_asked_for_each_file(hub: HubServer) -> None:
    model = hub.add(whole_model(says_sizes=False))
    done = fetch()
    assert (done.folder / WEIGHTS).read_bytes() == model.files[WEIGHTS]
    assert done.bytes == sum(path.stat().st_size for path in done.folder.iterdir())
    assert sum(asked.method == "HEAD" for asked in hub.asked) == 8


def test_a_disk_that_is_too_full(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    failure = trouble(fetch)
    assert (failure.reason, failure.exit_code) == ("disk", 3)
    assert "1,000 B" in failure.message or "1000" in failure.message or "KiB" in failure.message


def test_two_downloads_of_one_model_do_not_mix(tiny: Model) -> None:
    found = details("org/tiny")
    second: list[HubError] = []

    class Meanwhile(Ear):
        def stage(self, sentence: str) -> None:
            if not second:
                second.append(trouble(download, found, [WEIGHTS], Ear()))

    download(found, [WEIGHTS], Meanwhile())
    assert second[0].reason == "locked"


def test_without_links_the_content_itself_lies_in_the_folder(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    tiny.files["special_tokens_map.json"] = tiny.files["generation_config.json"]  # one content, two names
    ear = Ear()
    folder = fetch(ear=ear).folder
    assert ear.told[-1][0] == ear.told[-1][1]
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert (folder / WEIGHTS).read_bytes() == tiny.files[WEIGHTS]
    assert [model.path for model in list_models()] == [folder]
    assert installed(details("org/tiny")) == folder


def test_a_branch_is_remembered_by_its_name(tiny: Model, hub: HubServer, hub_home: Path) -> None:
    tiny.branches = ("main", "pr/1")
    folder = fetch(revision="pr/1").folder
    assert (hub_home / "hub" / "models--org--tiny" / "refs" / "pr" / "1").read_text() == COMMIT
    assert find_model("org/tiny", "pr/1") == folder
    fetch(revision=COMMIT)
    assert not (hub_home / "hub" / "models--org--tiny" / "refs" / COMMIT).exists()


@pytest.mark.parametrize("name", ["../evil.safetensors", "/etc/evil.json", "a\\b.json", "c:evil.json"])
def test_files_that_would_leave_the_folder(tiny: Model, hub: HubServer, name: str, hub_home: Path) -> None:
    tiny.files[name] = b"evil"
    found = details("org/tiny")
    assert trouble(download, found, [name], Ear()).reason == "answer"
    assert not list(hub_home.rglob("*evil*"))
    assert name not in [file.name for file in found.wanted]


def test_files_that_are_not_there(tiny: Model) -> None:
    found = details("org/tiny")
    assert trouble(download, found, ["nothing.json"], Ear()).reason == "missing"
    assert trouble(download, found, [], Ear()).reason == "missing"


def test_offline(tiny: Model, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = details("org/tiny")
    before = len(hub.asked)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert trouble(download, found, [WEIGHTS], Ear()).reason == "offline"
    assert len(hub.asked) == before


def test_a_silent_server_is_left_when_somebody_stops(tiny: Model, hub: HubServer) -> None:
    """The thread that waits for it ends with the connection; nobody has to wait for the thread."""
    hub.faults.silent.add(WEIGHTS)
    ear = Ear()
    ends: list[BaseException] = []

    def work() -> None:
        try:
            fetch(ear=ear)
        except (HubError, DownloadStoppedError) as end:
            ends.append(end)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while not any(asked.path.endswith(WEIGHTS) for asked in hub.asked):
        time.sleep(0.01)
    ear.stopped = True
    hub.over.set()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(ends[0], DownloadStoppedError)


def test_records_name_what_was_asked_for(tiny: Model) -> None:
    found: ModelDetails = details("org/tiny")
    unfinished.remember(found, found.wanted)
    (waiting,) = list_unfinished()
    assert waiting.files == tuple(file.name for file in found.wanted)
    assert waiting.bytes_here == 0
