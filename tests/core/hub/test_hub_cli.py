import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core.cli.main import main
from core.facts.locate import find_model
from core.hub.token import keep_token
from core.paths import jobs_dir
from tests.core.hub.conftest import whole_model
from tests.core.hub.hub_server import COMMIT, TOKEN, HubServer, Model


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def lowrank(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line, in this process."""

    def call(*words: str) -> Said:
        code = main(list(words))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Said(code, captured.out, captured.err)

    return call


def test_searching(lowrank: Callable[..., Said], hub: HubServer) -> None:
    hub.add(whole_model("org/tiny", gated="auto"))
    said = lowrank("models", "--search", "tiny")
    assert said.code == 0
    assert "org/tiny" in said.out
    assert "apache-2.0, terms to accept, 10 downloads a month" in said.out
    (model,) = lowrank("models", "--search", "tiny", "--json").json["models"]
    assert (model["id"], model["gated"], model["parameters"]) == ("org/tiny", "auto", 1_000_500)
    assert "has no model for “zebra”" in lowrank("models", "--search", "zebra").out


def test_downloading(lowrank: Callable[..., Said], tiny: Model, hub: HubServer) -> None:
    said = lowrank("models", "--download", "org/tiny")
    assert said.code == 0, said
    assert "--set model.base=org/tiny" in said.out
    assert not any(jobs_dir().iterdir())
    again = lowrank("models", "--download", f"https://huggingface.co/org/tiny/tree/{COMMIT}", "--json")
    assert again.json == {"id": "org/tiny", "path": str(find_model("org/tiny")), "exit_code": 0}
    assert len(hub.contents("model.safetensors")) == 1


def test_downloading_with_the_token_of_the_keyring(lowrank: Callable[..., Said], hub: HubServer) -> None:
    hub.add(whole_model("org/gated", gated="manual"))
    refused = lowrank("models", "--download", "org/gated")
    assert refused.code == 4
    assert "accept the terms" in refused.err
    keep_token(TOKEN)
    assert lowrank("models", "--download", "org/gated").code == 0


def test_what_cannot_be_downloaded(
    lowrank: Callable[..., Said], hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(Model("org/pickle", {"config.json": b"{}", "pytorch_model.bin": b""}))
    assert "pickle" in lowrank("models", "--download", "org/pickle").err
    missing = lowrank("models", "--download", "org/pikle", "--json")
    assert (missing.code, missing.json["exit_code"]) == (2, 2)
    assert lowrank("models", "--download", "a/b/c").code == 2
    assert lowrank("models", "--download", "org/pickle", "--revision", "v9").code == 2
    assert lowrank("models", "--revision", "v9").code == 2
    assert lowrank("models", "--download", "org/pickle", "--search", "x").code == 2
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in lowrank("models", "--search", "x").err
