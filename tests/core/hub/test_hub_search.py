import socket

import pytest

from core.hub import web
from core.hub.details import details
from core.hub.names import parse_name
from core.hub.problems import HubError
from core.hub.search import FoundModel, search
from tests.core.hub.conftest import whole_model
from tests.core.hub.hub_server import COMMIT, OUTSIDER, TOKEN, HubServer, Model, running_hub


def trouble(call, *arguments: object) -> HubError:
    with pytest.raises(HubError) as caught:
        call(*arguments)
    assert caught.value.message.endswith((".", "”"))
    assert caught.value.advice
    return caught.value


def test_searching(hub: HubServer) -> None:
    hub.add(whole_model("org/tiny", downloads=5, gated="manual"))
    hub.add(whole_model("org/tiny-large", downloads=50, licence="mit"))
    hub.add(whole_model("org/tiny-bert", tags=("safetensors", "fill-mask")))
    hub.add(whole_model("org/tiny-old", tags=("text-generation",)))
    hub.add(whole_model("org/other"))
    first, second = search(" tiny ")
    assert first == FoundModel(
        "org/tiny-large", 50, 3, "2025-03-01T10:00:00.000Z", "", "mit", 1_000_500, 2_000_000 + 2_000
    )
    assert (second.id, second.gated, second.licence) == ("org/tiny", "manual", "apache-2.0")
    assert [model.id for model in search("", limit=1)] == ["org/tiny-large"]
    assert search("nothing like it") == ()
    assert [model.id for model in search(f"{hub.address}/org/other/tree/main")] == ["org/other"]


def test_nothing_is_sent_but_the_question(hub: HubServer, tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_AGENT", "somebody")
    search("tiny")
    details("org/tiny")
    for asked in hub.asked:
        names = {name.lower() for name in asked.headers}
        assert names == {"host", "user-agent", "accept-encoding", "connection"}
        assert asked.headers["User-Agent"].startswith("lowrank-studio/")
        assert " " not in asked.headers["User-Agent"]
    assert [asked.path for asked in hub.asked] == [
        "/api/models", "/api/models/org/tiny/revision/main", f"/org/tiny/resolve/{COMMIT}/config.json",
    ]  # fmt: skip


def test_details(tiny: Model) -> None:
    found = details("org/tiny")
    assert (found.id, found.revision, found.commit) == ("org/tiny", "main", COMMIT)
    assert [file.name for file in found.wanted] == [
        "LICENSE", "README.md", "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert len(found.files) == len(tiny.files)
    assert found.bytes == sum(len(tiny.files[file.name]) for file in found.wanted)
    assert {file.name: file.digest for file in found.wanted} == {
        file.name: tiny.digest(file.name) for file in found.wanted
    }
    assert (found.family, found.context_length, found.parameters) == ("llama", 2048, 1_000_500)
    assert (found.licence, found.gated, found.barrier, found.why_not) == ("apache-2.0", "", None, "")
    assert found.supported
    assert found.page.endswith("/org/tiny")


def test_shards_come_with_their_index_and_without_copies(sharded: Model) -> None:
    names = [file.name for file in details("org/sharded").wanted]
    assert "model.safetensors.index.json" in names
    assert sum(name.endswith(".safetensors") for name in names) == 2
    assert "consolidated.safetensors" not in names


def test_a_revision(hub: HubServer, tiny: Model) -> None:
    tiny.branches = ("main", "pr/1")
    assert details("org/tiny", "pr/1").revision == "pr/1"
    assert details("org/tiny", COMMIT).commit == COMMIT
    missing = trouble(details, "org/tiny", "v9")
    assert (missing.reason, missing.problems[0].path) == ("missing", "revision")
    assert "v9" in missing.message


def test_a_renamed_model_is_found_under_its_new_name(hub: HubServer, tiny: Model) -> None:
    hub.renamed["old-tiny"] = "org/tiny"
    assert details("old-tiny").id == "org/tiny"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"config.json": b'{"model_type": "bert", "architectures": ["BertModel"]}', "model.safetensors": b""}, "bert"),
        ({"config.json": b"{}", "model.safetensors": b""}, "neither a model_type"),
        ({"config.json": b"[]", "pytorch_model.bin": b""}, "pickle"),
        ({"x.gguf": b""}, "GGUF"),
        ({"adapter_config.json": b"{}", "adapter_model.safetensors": b""}, "LoRA adapter"),
        ({"model.safetensors": b""}, "no config.json"),
        ({"README.md": b""}, "no weights"),
    ],
)
def test_models_that_cannot_be_trained_say_why(hub: HubServer, files: dict[str, bytes], words: str) -> None:
    hub.add(Model("org/odd", files))
    found = details("org/odd")
    assert not found.supported
    assert words in found.why_not


def test_own_code_is_fetched_only_where_the_model_needs_it(hub: HubServer) -> None:
    config = (
        b'{"model_type": "odd", "architectures": ["OddForCausalLM"], "auto_map": {"AutoModel": "modeling_odd.Odd"}}'
    )
    hub.add(Model("org/odd", {"config.json": config, "model.safetensors": b"", "modeling_odd.py": b""}))
    assert "modeling_odd.py" in [file.name for file in details("org/odd").wanted]


def test_gated_models(hub: HubServer) -> None:
    hub.add(whole_model("org/gated", gated="manual"))
    closed = details("org/gated")
    assert closed.gated == "manual"
    assert closed.family == "llama"
    assert closed.barrier is not None
    assert f"{hub.address}/org/gated" in closed.barrier.advice
    assert "no token" in closed.barrier.message
    waiting = details("org/gated", "", OUTSIDER)
    assert waiting.barrier is not None
    assert "account of your token" in waiting.barrier.message
    assert details("org/gated", "", TOKEN).barrier is None


def test_a_token_that_may_not_read_gated_models(hub: HubServer) -> None:
    hub.add(whole_model("org/gated", gated="auto"))
    said = "Please enable access to public gated repositories in your fine-grained token settings to view this."
    hub.faults.answer["/org/gated/resolve"] = (1, 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": said})
    barrier = details("org/gated", "", TOKEN).barrier
    assert barrier is not None
    assert "may not read what has terms to accept, such as the model “org/gated”" in barrier.message


def test_private_models_and_wrong_tokens(hub: HubServer) -> None:
    hub.add(whole_model("org/secret", private=True))
    assert details("org/secret", "", TOKEN).private
    assert trouble(details, "org/secret").reason == "missing"
    assert "private" in trouble(details, "org/secret").message
    wrong = trouble(details, "org/secret", "", "hf_wrongwrongwrong")
    assert wrong.reason == "token"
    assert wrong.page == f"{hub.address}/settings/tokens"
    assert [model.id for model in search("secret", token=TOKEN)] == ["org/secret"]
    assert search("secret") == ()


def test_a_name_that_does_not_exist_gets_a_suggestion(hub: HubServer) -> None:
    hub.add(whole_model("HuggingFaceTB/SmolLM2-135M-Instruct"))
    for name in ("HuggingFaceTB/SmolLM2-135M-Instrukt", "huggingfacetb/smollm2-135m", "SmolLM2-135M-Instruct"):
        missing = trouble(details, name)
        assert (missing.reason, missing.exit_code) == ("missing", 2)
        assert "Did you mean “HuggingFaceTB/SmolLM2-135M-Instruct”?" in missing.advice, name
    assert "Did you mean" not in trouble(details, "quite/different").advice


@pytest.mark.parametrize(
    "name", ["", " ", "a/b/c", "../up", "a--b/c", "org/na me", "org/", "/org", "x" * 97, "org/x.git", "ä/b", "a\0b"]
)
def test_bad_names(name: str) -> None:
    assert trouble(details, name).reason == "name"


@pytest.mark.parametrize("revision", ["../x", "a b", "main?x", "-\n"])
def test_bad_revisions(revision: str) -> None:
    assert trouble(details, "org/tiny", revision).reason == "name"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("org/tiny", ("org/tiny", "")),
        ("gpt2", ("gpt2", "")),
        ("https://huggingface.co/org/tiny", ("org/tiny", "")),
        ("https://huggingface.co/org/tiny/", ("org/tiny", "")),
        ("huggingface.co/org/tiny/tree/v1.0?x=1#readme", ("org/tiny", "v1.0")),
        (" https://huggingface.co/org/tiny/blob/pr%2F1/config.json ", ("org/tiny", "pr/1")),
    ],
)
def test_names_as_people_paste_them(text: str, expected: tuple[str, str]) -> None:
    assert parse_name(text) == expected


def test_addresses_of_other_sites_are_no_names() -> None:
    assert trouble(parse_name, "https://example.org/org/tiny").reason == "name"


@pytest.mark.parametrize(
    ("status", "headers", "reason", "words"),
    [
        (429, {"Retry-After": "17"}, "busy", "17 seconds"),
        (429, {"RateLimit": '"api";r=0;t=55'}, "busy", "55 seconds"),
        (429, {}, "busy", "few minutes"),
        (500, {}, "server", "HTTP 500"),
        (503, {}, "server", "HTTP 503"),
        (400, {"X-Error-Message": "Bad search"}, "answer", "Bad search"),
        (401, {}, "token", "wants to know who asks"),
        (302, {"Location": "ftp://x/y"}, "answer", "no web address"),
        (302, {"Location": "/api/models"}, "answer", "circles"),
    ],
)
def test_refusals(hub: HubServer, status: int, headers: dict[str, str], reason: str, words: str) -> None:
    hub.faults.answer["/api/models"] = (20, status, headers)
    failure = trouble(search, "x")
    assert failure.reason == reason
    assert words in f"{failure.message} {failure.advice}"


def test_an_answer_that_is_no_json(hub: HubServer) -> None:
    hub.faults.answer["/api/models"] = (1, 200, {})
    assert "not JSON" in trouble(search, "x").message


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_the_users_wish_to_be_offline(hub: HubServer, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    for call, argument in ((search, "tiny"), (details, "org/tiny")):
        failure = trouble(call, argument)
        assert (failure.reason, failure.problems[0].path) == ("offline", name)
    assert hub.asked == []


def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
    failure = trouble(search, "x")
    assert failure.reason == "unreachable"
    assert "refused" in failure.message


def test_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        failure = trouble(search, "x")
    assert failure.reason == "unreachable"
    assert "did not answer within" in failure.message


def test_a_server_without_a_certificate_to_trust(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.address.replace("http:", "https:"))
    assert trouble(search, "x").reason == "unreachable"


@pytest.mark.parametrize("address", ["huggingface.co", "ftp://x", "http://"])
def test_an_endpoint_that_is_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert trouble(search, "x").problems[0].path == "HF_ENDPOINT"


def test_the_proxy_of_the_environment_is_used(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", hub.address)
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")
    hub.faults.answer["http://hub.example/api/models"] = (1, 503, {})
    hub.faults.answer["/api/models"] = (1, 503, {})
    assert trouble(search, "x").reason == "server"
    assert hub.asked[0].headers["Host"] == "hub.example"
