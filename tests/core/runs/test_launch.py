"""What an engine process inherits, and what it must not."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.runs.child_env import child_env, restore_library_paths
from core.runs.launch import LaunchCommand, engine_command, exit_status, launch
from core.runs.layout import RunFolder

ROOT = Path(__file__).parents[3]


def test_the_defaults_of_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    env = child_env({"HOME": "/home/me"})
    assert env == {
        "HOME": "/home/me",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "true",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "30000",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "100",
        "LRU_CACHE_CAPACITY": "64",
        "MALLOC_MMAP_THRESHOLD_": "1048576",
        "MALLOC_TRIM_THRESHOLD_": "134217728",
        "PYTHONUTF8": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "PYTHONPATH": str(ROOT),
    }


def test_what_the_user_set_is_kept() -> None:
    chosen = {"HF_HUB_OFFLINE": "0", "TOKENIZERS_PARALLELISM": "false", "PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}
    env = child_env({**chosen, "PYTHONPATH": f"/mine{os.pathsep}{ROOT}"})
    assert {name: env[name] for name in chosen} == chosen
    assert "PYTORCH_CUDA_ALLOC_CONF" not in env
    assert env["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/mine"])


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_the_allocator_setting_is_for_linux(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert "PYTORCH_CUDA_ALLOC_CONF" not in child_env({})


def test_left_overs_of_a_distributed_run_do_not_make_it_wait() -> None:
    left = {"RANK": "1", "WORLD_SIZE": "8", "MASTER_ADDR": "far", "TORCHELASTIC_RUN_ID": "x", "PYTHONINSPECT": "1"}
    assert not set(left) & set(child_env(left))


def test_a_packaged_application_keeps_its_bundle_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    env = child_env(
        {
            "LD_LIBRARY_PATH": "/tmp/_MEI1",
            "LD_LIBRARY_PATH_ORIG": "/usr/lib/cuda",
            "DYLD_LIBRARY_PATH": "/tmp/_MEI1",
            "PYTHONHOME": "/tmp/_MEI1",
            "_PYI_APPLICATION_HOME_DIR": "/tmp/_MEI1",
            "QT_PLUGIN_PATH": "/tmp/_MEI1/qt",
            "PATH": "/bin",
        }
    )
    assert env["LD_LIBRARY_PATH"] == "/usr/lib/cuda"
    assert env["PYINSTALLER_RESET_ENVIRONMENT"] == "1"
    assert env["PATH"] == "/bin"
    assert not any("_MEI1" in value for value in env.values())
    assert "PYTHONPATH" not in env


def test_programs_of_the_system_get_their_own_libraries_however_often_that_is_seen_to() -> None:
    env = {"LD_LIBRARY_PATH": "/opt/app:/usr/lib/cuda", "LD_LIBRARY_PATH_ORIG": "/usr/lib/cuda", "LIBPATH": "/opt/app"}
    for _ in range(2):
        restore_library_paths(env)
        assert env["LD_LIBRARY_PATH"] == "/usr/lib/cuda"
        assert "LIBPATH" not in env


def test_the_command_of_a_source_tree_and_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path)
    assert engine_command(folder).argv == (sys.executable, "-P", "-m", "core.engine", str(tmp_path))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    command = engine_command(folder)
    assert command.argv == (sys.executable, "--engine", str(tmp_path))
    assert command.cwd == tmp_path


def test_an_engine_finds_the_core_from_any_folder_and_nothing_in_its_own(tmp_path: Path) -> None:
    (tmp_path / "core.py").write_text("raise SystemExit('the wrong core')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    command = [sys.executable, "-P", "-c", "import json, core.runs.layout as it; print(it.__file__)"]
    done = subprocess.run(command, cwd=tmp_path, env=child_env(), capture_output=True, text=True)
    assert done.stdout.strip() == str(ROOT / "core" / "runs" / "layout.py"), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="sessions are POSIX")
def test_it_has_its_own_session_no_input_and_appends_its_output(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    folder = RunFolder(tmp_path)
    folder.log.write_text("before\n")
    code = "import os, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read())); sys.stderr.write('said')"
    key = launch(LaunchCommand((sys.executable, "-c", code), child_env(), tmp_path), folder)
    eventually(lambda: exit_status(key) is not None)
    assert exit_status(key) == 0
    assert folder.log.read_text() == "before\nTrue ''\nsaid"
