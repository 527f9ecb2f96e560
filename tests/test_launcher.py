"""launch.py and its set-up: a real environment is made, cut off, mended and used; what is missing is said in words."""

import ast
import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import launch
from launcher import environment, machine, pip
from launcher.words import SetupError, clock

ROOT = Path(__file__).resolve().parents[1]
POSIX = pytest.mark.skipif(os.name != "posix", reason="speaks of POSIX paths")

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "lowrank-studio"
version = "1"
[project.optional-dependencies]
test = ["probe-tool"]
"""

# The smallest build backend there can be: one line in a .pth file makes the project importable.
BACKEND = """
import zipfile
from pathlib import Path

def wheel(folder):
    info = "lowrank_studio-1.dist-info"
    files = {
        "lowrank_studio.pth": str(Path(__file__).parent) + "\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: lowrank-studio\\nVersion: 1\\n"
        "Provides-Extra: test\\nRequires-Dist: probe-tool; extra == 'test'\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: probe\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
    name = "lowrank_studio-1-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder, name), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return name

def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return wheel(wheel_directory)

build_wheel = build_editable
"""

CORE_MAIN = """
import os, sys
print("core was given", sys.argv[1:], "in", os.getcwd())
sys.exit(7)
"""


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A package with nothing in it, so that pip has something to install without a network."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: probe\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)


class Project:
    """A copy of the launcher with a tiny project behind it, and an index that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / ".venv"
        self.index = folder.parent / "index"  # pip splits a list of folders at spaces
        self.stamp = self.venv / "setup.json"
        self.unfinished = self.venv / "setup.unfinished"
        self.lock = folder / "requirements.lock"
        shutil.copytree(ROOT / "launcher", folder / "launcher", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "launch.py", folder)
        (folder / "pyproject.toml").write_text(PYPROJECT, "utf-8")
        (folder / "backend.py").write_text(BACKEND, "utf-8")
        (folder / "core").mkdir()
        (folder / "core" / "__init__.py").touch()
        (folder / "core" / "__main__.py").write_text(CORE_MAIN, "utf-8")
        write_wheel(self.index, "setuptools", "99")
        write_wheel(self.index, "probe_tool", "2")
        self.lock.write_text("setuptools==99\nprobe-tool==2\n", "utf-8")

    def launch(self, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Runs launch.py with an index that is only the folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        environment = {
            **kept,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.index),
            "PYTHONIOENCODING": "utf-8",
        }
        return subprocess.run(
            [sys.executable, str(self.folder / "launch.py"), *arguments],
            capture_output=True,
            encoding="utf-8",
            env=environment,
            cwd=cwd or self.folder,
        )

    def has(self, package: str) -> bool:
        """Whether the environment holds the package."""
        return any(self.venv.glob(f"[Ll]ib*/**/site-packages/{package}-*.dist-info/INSTALLER"))


@pytest.mark.slow
def test_the_whole_life_of_an_environment(tmp_path: Path) -> None:
    folder = tmp_path / "a project"  # a space in the path is ordinary
    folder.mkdir()
    project = Project(folder)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "core").mkdir(parents=True)
    (elsewhere / "core" / "__main__.py").write_text("raise SystemExit('the wrong core')", "utf-8")

    # first use: set up, then the verb, with its exit status, where the user is
    first = project.launch("plan", "my spec.yaml", "--json", cwd=elsewhere)
    assert first.returncode == 7, first.stderr
    assert first.stdout == f"core was given ['plan', 'my spec.yaml', '--json'] in {elsewhere}\n"
    assert "The set-up is complete" in first.stderr
    assert not project.has("probe_tool"), "the test tools are for “test” alone"
    assert not project.unfinished.exists()

    # from then on it says nothing
    second = project.launch("runs")
    assert (second.returncode, second.stderr) == (7, "")

    # a change of the pins is an update, which keeps what is there; a failed one says why and does no harm
    project.lock.write_text("setuptools==99\nprobe-tool==3\n", "utf-8")
    failed = project.launch("setup", "--test")
    assert failed.returncode == 4
    assert "The package index does not have the versions that requirements.lock names" in failed.stderr
    assert str(project.venv / "setup.log") in failed.stderr
    assert not project.unfinished.exists(), "nothing was installed, so nothing needs to be built anew"
    marker = project.venv / "still the same environment"
    marker.touch()
    write_wheel(project.index, "probe_tool", "3")
    assert project.launch("setup", "--test").returncode == 0
    assert project.has("probe_tool")
    assert marker.exists()
    assert json.loads(project.stamp.read_text("utf-8"))["test"] is True

    # cut off while packages were being installed: whatever is half there is thrown away, and asked for again
    project.stamp.unlink()
    project.unfinished.touch()
    shutil.rmtree(next(project.venv.glob("[Ll]ib*/**/site-packages/pip")))
    mended = project.launch("show")
    assert mended.returncode == 7, mended.stderr
    assert not marker.exists()
    assert not project.unfinished.exists()
    assert project.launch("show").stderr == ""

    # a stamp that is not one only costs a repetition
    project.stamp.write_text("{", "utf-8")
    repeated = project.launch("show")
    assert repeated.returncode == 7
    assert "cannot be read" in repeated.stderr


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The launcher's modules with another folder in place of the project's."""
    venv = tmp_path / ".venv"
    names = {"STAMP": "setup.json", "UNFINISHED": "setup.unfinished", "LOG": "setup.log", "LOCK": "setup.lock"}
    for module in (environment, launch):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "PYTHON", venv / "bin" / "python")
    monkeypatch.setattr(environment, "VENV", venv)
    for name, file in names.items():
        monkeypatch.setattr(environment, name, venv / file)
    (tmp_path / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    (tmp_path / "requirements.lock").write_text("setuptools==99\n", "utf-8")
    return tmp_path


# ------------------------------------------------------------------------------------------------- what is missing


def test_an_old_python_can_read_launch_py() -> None:
    ast.parse((ROOT / "launch.py").read_text("utf-8"), feature_version=(3, 6))


@pytest.mark.parametrize("path", ["", os.environ.get("PATH", "")])
def test_an_old_python_says_that_it_is_too_old(path: str) -> None:
    program = f"""
import sys, runpy
sys.version_info = (3, 9, 18, "final", 0)
runpy.run_path({str(ROOT / "launch.py")!r}, run_name="__main__")
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )
    assert result.returncode == 4
    assert result.stdout == ""
    assert result.stderr.startswith(f"Python 3.11 or newer is needed, this is 3.9.18 ({sys.executable}). ")
    if not path:
        assert "sudo apt install python3.11 python3.11-venv" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_python_without_venv_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ensurepip" else find_spec(name, *rest)
    )
    with pytest.raises(SetupError, match=rf"sudo apt install python3\.{sys.version_info[1]}-venv"):
        machine.check_python()


def test_a_32_bit_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    with pytest.raises(SetupError, match="64-bit Python is needed"):
        machine.check_python()


@pytest.mark.parametrize(
    ("free", "fresh", "index", "refusal"),
    [
        (2.9, True, "https://example.org/whl/cpu", "needs about 3 GB"),
        (3.1, True, "https://example.org/whl/cpu/", ""),
        (7.9, True, "https://example.org/whl/cu130", r"needs about 8 GB .*\(torch with CUDA is large\)"),
        (8.1, True, "https://example.org/whl/cu130", ""),
        (0.9, False, "https://example.org/whl/cu130", "The update needs about 1 GB"),
        (1.1, False, "https://example.org/whl/cu130", ""),
    ],
)
def test_a_full_disk_is_seen_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, fresh: bool, index: str, refusal: str
) -> None:
    usage = SimpleNamespace(free=int(free * 1000**3))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    if not refusal:
        machine.check_space(tmp_path, fresh, index)
        return
    with pytest.raises(SetupError, match=refusal) as caught:
        machine.check_space(tmp_path, fresh, index)
    assert f"only {free:.1f} GB are free" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("cuda", [True, False])
def test_fused_kernels_come_where_pytorch_is_built_for_cuda(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: bool
) -> None:
    installed: list[str] = []
    monkeypatch.setattr(environment, "site_packages", lambda: tmp_path)
    monkeypatch.setattr(environment, "pip_install", lambda _line, words: installed.extend(words))
    if cuda:
        (tmp_path / "triton").mkdir()
    environment.install(SimpleNamespace(), test=False, torch_index="", new_torch=False)
    assert str(ROOT) in installed
    assert ("liger-kernel" in installed) is cuda


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Qt's wheels bring everything")
def test_a_missing_library_is_named_with_its_package() -> None:
    missing = machine.missing_libraries({"libc.so.6": "libc6", "libsurelynot.so.1": "libsurelynot1"})
    assert missing == {"libsurelynot.so.1": "libsurelynot1"}
    assert machine.library_advice(missing).startswith(
        "libsurelynot.so.1. On Debian and Ubuntu: sudo apt install libsurelynot1."
    )


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("OSError: [Errno 28] No space left on device", "The disk became full."),
        ("Failed to establish a new connection: [Errno -3] Temporary failure in name resolution", "not be reached"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate", "a certificate"),
        ("ERROR: No matching distribution found for torch==2.13.0", "requirements.lock names for this system"),
        ("ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: 'x'", "belongs to you"),
        ("HINT: ... does not have Windows Long Path support enabled.", "file names as long as these"),
        ("Segmentation fault", "pip failed to install the packages."),
    ],
)
def test_what_pip_says_becomes_a_sentence(tmp_path: Path, line: str, meaning: str) -> None:
    log = tmp_path / "setup.log"
    log.write_text("Collecting torch\n\n" + line + "\n", "utf-8")
    message = str(pip.explain(log))
    assert meaning in message.splitlines()[0]
    assert message.splitlines()[1:] == [f"The last lines of {log}:", "    Collecting torch", f"    {line}"]


# --------------------------------------------------------------------------------------------------- the environment


def test_a_file_in_the_way_is_named(place: Path) -> None:
    (place / ".venv").write_text("mine", "utf-8")
    with pytest.raises(SetupError, match="is a file, but the set-up needs a folder there"):
        environment.prepare()
    assert (place / ".venv").read_text("utf-8") == "mine"


def test_a_folder_that_is_no_environment_is_left_alone(place: Path) -> None:
    (place / ".venv").mkdir()
    (place / ".venv" / "notes.txt").write_text("mine", "utf-8")
    with pytest.raises(SetupError, match="is not a Python environment, but holds files"):
        environment.prepare()
    assert (place / ".venv" / "notes.txt").read_text("utf-8") == "mine"
    assert not environment.STAMP.exists()


def test_an_environment_does_not_tear_down_itself(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / ".venv").mkdir()
    (place / ".venv" / "pyvenv.cfg").touch()
    monkeypatch.setattr(sys, "prefix", str(place / ".venv"))
    with pytest.raises(SetupError, match="cannot do that to itself"):
        environment.clear_environment()
    assert (place / ".venv" / "pyvenv.cfg").exists()


@POSIX
def test_only_what_matters_makes_a_set_up_stale(place: Path) -> None:
    environment.PYTHON.parent.mkdir(parents=True)
    environment.PYTHON.symlink_to(sys.executable)
    stamp = {"fingerprint": environment.fingerprint(), "test": False, "torch_index": ""}
    environment.STAMP.write_text(json.dumps(stamp), "utf-8")
    assert environment.is_ready(test=False)
    assert not environment.is_ready(test=True)

    project = place / "pyproject.toml"
    project.write_text(PYPROJECT + "[tool.ruff]\nline-length = 99\n", "utf-8")
    assert environment.is_ready(test=False)
    project.write_text(PYPROJECT.replace("probe-tool", "other-tool"), "utf-8")
    assert not environment.is_ready(test=False)
    project.write_text(PYPROJECT, "utf-8")
    (place / "requirements.lock").write_text("setuptools==98\n", "utf-8")
    assert not environment.is_ready(test=False)
    (place / "requirements.lock").write_text("setuptools==99\n", "utf-8")
    environment.PYTHON.unlink()
    environment.PYTHON.symlink_to(place / "a Python that was uninstalled")
    assert not environment.is_ready(test=False)


def test_two_set_ups_do_not_meet(place: Path) -> None:
    environment.VENV.mkdir()
    with environment.only_one(), environment.LOCK.open("a+b") as other:
        assert not environment.try_lock(other.fileno())
    with environment.LOCK.open("a+b") as other:
        assert environment.try_lock(other.fileno())


def test_pip_is_followed_from_its_log(tmp_path: Path) -> None:
    log, site = tmp_path / "setup.log", tmp_path / "site-packages"
    log.write_text("Collecting ignored\n", "utf-8")
    watch = pip.PipWatch(log, site)

    def after(text: str) -> tuple[str, str]:
        with log.open("a", encoding="utf-8") as file:
            file.write(text)
        watch.read()
        return watch.stage, watch.detail

    assert after("Collecting torch==2.13.0 (from -c x)\n") == ("fetching packages", "1: torch==2.13.0")
    assert after("  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (19")[1] == "1: torch==2.13.0"
    assert after("0.5 MB)\n") == ("fetching packages", "1: torch-2.13.0 (190.5 MB)")
    assert after("Processing ./wheels/numpy-2.4.6-cp311.whl (from torch)\n")[1] == "1: numpy-2.4.6"
    assert after("  Using cached peft-0.21.2-py3-none-any.whl (1 MB)\n")[1] == "1: peft-0.21.2 (1 MB)"
    assert after("Installing collected packages: a, b, c\n") == ("installing packages", "0 of 3")
    (site / "a-1.dist-info").mkdir(parents=True)
    (site / "a-1.dist-info" / "INSTALLER").touch()
    assert after("") == ("installing packages", "1 of 3")


def test_a_command_that_is_interrupted_does_not_live_on(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    program = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(60)"

    def look() -> None:
        if log.read_text("utf-8").strip():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pip.run_logged([sys.executable, "-c", program], log, look)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text("utf-8")), 0)


# ------------------------------------------------------------------------------------------------------- the verbs


@pytest.mark.parametrize("word", ["help", "-h", "--help"])
def test_help_needs_no_set_up(place: Path, capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert launch.main([word]) == 0
    assert "python3 launch.py demo" in capsys.readouterr().out
    assert not (place / ".venv").exists()


def test_a_wrong_option_of_setup_is_refused_before_anything_happens(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        launch.main(["setup", "--gpu"])
    assert caught.value.code == 2
    assert "--gpu" in capsys.readouterr().err
    assert not (place / ".venv").exists()


def test_a_set_up_that_fails_is_one_message(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / ".venv").write_text("", "utf-8")
    assert launch.main(["demo"]) == 4
    shown = capsys.readouterr()
    assert shown.err.startswith("launch.py: ")
    assert "Traceback" not in shown.err


def test_ctrl_c_during_set_up_is_no_traceback(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "prepare", interrupted)
    assert launch.main(["demo"]) == 130
    assert "The next start goes on from here" in capsys.readouterr().err


def test_durations_are_short() -> None:
    assert [clock(seconds) for seconds in (0, 59.9, 75, 3600)] == ["0:00", "0:59", "1:15", "60:00"]
