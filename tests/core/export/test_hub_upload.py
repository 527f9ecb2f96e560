"""Uploads: private unless wanted otherwise, gone on with where they broke off, and nothing overwritten or told."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.export.hub_upload import upload_folder
from core.export.merge import MergeCancelledError
from core.hub.problems import HubError
from tests.core.export.upload_hub import UploadHub
from tests.core.hub.hub_server import OUTSIDER, TOKEN, Model

# The hub's own library uploads in a way that its HTTP library is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
BIG = 3_000_000


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[UploadHub]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    server = UploadHub()
    server.start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    yield server
    server.close()


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """An adapter with two large files, made on a computer whose paths are nobody's business."""
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Mine\n")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "/home/me/models/b"}')
    spec = {"model": {"base": "/home/me/models/b"}, "data": {"train": ["/home/me/secret/rows.jsonl"]}}
    manifest = {"base_path": "/c/models--org--b/snapshots/0a", "base_fingerprint": "f", "spec": spec}
    (folder / "lowrank.json").write_text(json.dumps(manifest))
    (folder / "adapter_model.safetensors").write_bytes(os.urandom(BIG))
    (folder / "more.safetensors").write_bytes(os.urandom(BIG + 1))
    return folder


def test_everything_arrives_in_a_private_repository(hub: UploadHub, export: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = upload_folder(export, "me/mine", token=TOKEN, on_progress=lambda done, total: seen.append((done, total)))
    model = hub.models["me/mine"]
    assert model.private
    assert report.private
    assert report.url == f"{hub.address}/me/mine"
    assert set(model.files) == {path.name for path in export.iterdir()} | {".gitattributes"}
    assert model.files["more.safetensors"] == (export / "more.safetensors").read_bytes()
    assert model.files["README.md"].startswith(b"---\nlicense: mit")
    assert report.bytes == seen[-1][1] == seen[-1][0]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 20
    assert report.sent_bytes == 2 * BIG + 1


def test_no_path_of_this_computer_is_told_and_the_folder_stays_as_it_is(hub: UploadHub, export: Path) -> None:
    before = {path.name: path.read_bytes() for path in export.iterdir()}
    upload_folder(export, "me/mine", token=TOKEN)
    files = hub.models["me/mine"].files
    assert not [name for name, content in files.items() if b"/home/me" in content or b"snapshots" in content]
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "b"
    said = json.loads(files["lowrank.json"])
    assert said["base_path"] == "org/b"
    assert said["spec"]["data"]["train"] == ["rows.jsonl"]
    assert {path.name: path.read_bytes() for path in export.iterdir()} == before


def test_a_second_try_sends_only_what_is_missing(hub: UploadHub, export: Path) -> None:
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += bool(hub.puts)
        return asked > 5

    with pytest.raises(MergeCancelledError):
        upload_folder(export, "me/mine", token=TOKEN, cancelled=cancelled)
    assert len(hub.puts) == 1
    assert set(hub.models["me/mine"].files) == {".gitattributes"}, "half a model can be seen"
    report = upload_folder(export, "me/mine", token=TOKEN)
    assert len(hub.puts) == 2
    assert report.sent_bytes == BIG + 1
    assert report.bytes > 2 * BIG
    assert upload_folder(export, "me/mine", token=TOKEN).sent_bytes == 0, "what is there already is sent again"


def test_a_broken_connection_is_a_sentence_and_the_next_try_goes_on(hub: UploadHub, export: Path) -> None:
    hub.cut_after = 100_000
    with pytest.raises(HubError) as caught:
        upload_folder(export, "me/mine", token=TOKEN)
    assert caught.value.advice.endswith(".")
    upload_folder(export, "me/mine", token=TOKEN)
    assert len(hub.puts) == 2


def test_what_stands_against_an_upload_is_told_before_anything_is_sent(
    hub: UploadHub, export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(Model("me/public", {".gitattributes": b""}))
    hub.add(Model("me/other", {"model.safetensors": b"precious"}, private=True))
    (tmp_path / "empty").mkdir()
    for folder, repo, token, words in (
        (export, "me/public", TOKEN, "everybody can see it"),
        (export, "me/other", TOKEN, "holds something else already (model.safetensors); nothing is ever overwritten"),
        (export, "mine", TOKEN, "does not say whose repository it is"),
        (export, "me/a b", TOKEN, "cannot be the name"),
        (export, "me/mine", "", "needs a token, and there is none"),
        (export, "me/mine", "hf_wrongwrongwrong", "does not accept the token"),
        (tmp_path / "empty", "me/mine", TOKEN, "nothing to upload"),
    ):
        with pytest.raises(UserError) as caught:
            upload_folder(folder, repo, token=token)
        assert words in str(caught.value), str(caught.value)
        assert token not in str(caught.value) or not token
    assert hub.puts == []
    assert hub.models["me/other"].files == {"model.safetensors": b"precious"}
    hub.read_only = True
    with pytest.raises(HubError, match="may not write to “me/mine”"):
        upload_folder(export, "me/mine", token=TOKEN)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="HF_HUB_OFFLINE forbids"):
        upload_folder(export, "me/mine", token=TOKEN)


def test_a_public_repository_is_made_only_when_it_is_wanted(hub: UploadHub, export: Path) -> None:
    assert not upload_folder(export, "me/mine", token=TOKEN, private=False).private
    assert not hub.models["me/mine"].private
    with pytest.raises(HubError):
        upload_folder(export, "me/again", token=OUTSIDER)
