import os

import pytest

from core import paths
from core.errors import UserError
from core.facts.locate import cache_folder, find_model, list_gguf_files, list_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"


def problem(base, revision=""):
    with pytest.raises(UserError) as failure:
        find_model(base, revision)
    return failure.value.problems[0]


@pytest.fixture
def hub(home, build):
    """A cache with the model org/tiny: main at COMMIT, a tag at OTHER."""
    repository = home / "hub" / "models--org--tiny"
    build.model(repository / "snapshots" / COMMIT)
    build.model(repository / "snapshots" / OTHER)
    os.utime(repository / "snapshots" / COMMIT, (1, 1))
    (repository / "refs" / "pr").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    (repository / "refs" / "pr" / "1").write_text(OTHER + "\n")
    return repository / "snapshots"


def test_paths(home, build, monkeypatch):
    folder = build.model(home / "my model")
    assert find_model(str(folder)) == folder
    assert find_model("my model") == folder
    assert find_model("  ./my model ") == folder
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert find_model("~/my model") == folder


def test_imported_models_by_name(home, build):
    folder = build.model(paths.models_dir() / "mine")
    assert find_model("mine") == folder
    starter = build.model(paths.models_dir() / "starter")
    assert find_model("starter") == starter


def test_a_missing_starter_says_how_to_get_it(home):
    assert "lowrank models --fetch starter" in problem("starter").advice
    assert str(paths.models_dir() / "starter") in problem("starter").message


@pytest.mark.parametrize("base", ["", "   ", "a\0b"])
def test_nothing_chosen(home, base):
    assert problem(base).path == "model.base"


def test_paths_that_are_not_there(home, build):
    build.model(home / "model-one")
    assert f"Did you mean {home / 'model-one'}?" in problem(str(home / "model-onne")).advice
    assert str(home / "x") in problem("./x").message
    for base in (
        "../up",
        "/nowhere/at/all",
        "a b c",
        "x" * 5000,
        "~nobody-by-this-name/x",
        "org/na..me",
        "org/a--b",
        "a/b/c",
    ):
        assert problem(base).advice


def test_hub_models_without_network(hub):
    assert find_model("org/tiny") == hub / COMMIT
    assert find_model("org/tiny", "main") == hub / COMMIT
    assert find_model("org/tiny", "pr/1") == hub / OTHER
    assert find_model("org/tiny", OTHER) == hub / OTHER
    assert find_model("org/tiny", OTHER[:8]) == hub / OTHER


def test_without_a_main_branch_the_newest_is_taken(hub):
    (hub.parent / "refs" / "main").unlink()
    assert find_model("org/tiny") == hub / OTHER


@pytest.mark.parametrize("revision", ["v9", OTHER[:5], "../../x", "a b", ""])
def test_revisions_that_are_not_there(hub, revision):
    if not revision:
        for name in (COMMIT, OTHER):
            (hub / name).rename(hub.parent / name)
    text = problem("org/tiny", revision)
    assert "org/tiny" in text.message
    assert str(hub) in text.message


def test_a_hub_model_that_is_not_there(hub, home):
    text = problem("org/tinny")
    assert "org/tiny" in text.advice
    assert str(home / "hub" / "models--org--tinny") in text.message
    assert str(paths.models_dir() / "gpt9") in problem("gpt9").message


def test_listing(hub, home, build):
    assert [model.name for model in list_models()] == ["org/tiny"]
    build.model(paths.models_dir() / "mine")
    build.model(paths.models_dir() / "encoder", {"model_type": "bert", "architectures": ["BertModel"]})
    build.model(paths.models_dir() / ".mine.part")
    (build.model(paths.models_dir() / "pickle") / "model.safetensors").unlink()
    (build.model(paths.models_dir() / "broken") / "config.json").write_text("{")
    (home / "hub" / "models--org--empty").mkdir()
    models = list_models()
    assert [(model.name, model.origin) for model in models] == [("mine", "imported"), ("org/tiny", "hub cache")]
    assert models[1].path == hub / COMMIT
    assert [model.family for model in models] == ["llama", "llama"]
    assert models[0].bytes == (models[0].path / "model.safetensors").stat().st_size
    for model in models:
        assert find_model(model.name) == model.path


def test_nothing_installed(home):
    assert list_models() == ()


def test_gguf_files_that_wait_to_be_imported(home):
    assert list_gguf_files() == ()
    folder = paths.models_dir()
    folder.mkdir(parents=True)
    (folder / "b.Q8_0.GGUF").write_bytes(b"12345")
    (folder / "a.gguf").write_bytes(b"123")
    (folder / ".hidden.gguf").write_bytes(b"")
    (folder / "folder.gguf").mkdir()
    assert [(file.name, file.bytes) for file in list_gguf_files()] == [("a", 3), ("b.Q8_0", 5)]
    assert list_models() == ()


def test_the_cache_obeys_the_variables_of_the_hub(monkeypatch, tmp_path):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "h"))
    assert cache_folder() == tmp_path / "h" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "c"))
    assert cache_folder() == tmp_path / "c"
