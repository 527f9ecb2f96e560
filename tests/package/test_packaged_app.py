"""The package as somebody gets it: built, installed, used without Python and without a network, and taken away.

Takes some minutes and gigabytes, so it runs only when it is asked for: ``python3 launch.py test --package``. A folder
with packages that were built before is used where LOWRANK_PACKAGES names one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.core.disks import mounted
from tests.studio.e2e.person import Screen, missing_programs

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "Define “Optimist” as a devil’s dictionary would."
SPEC = """
version: 1
model: {base: starter, quantization: nf4}
data: {train: [rows.jsonl], max_length: 128}
adapter: {rank: 4, alpha: 8}
training: {max_steps: 2, effective_batch: 2, evaluate_every: 0}
hardware: {device: cpu}
"""
FIRST_WINDOW_SECONDS = 60  # a start takes about half a second of processor time, and tests share the machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        not os.environ.get("LOWRANK_TEST_PACKAGE"),
        reason="building the package takes minutes and 5 GB: “python3 launch.py test --package” does it",
    ),
    pytest.mark.skipif(sys.platform != "linux", reason="the packages that are tested are those for Linux"),
]


@cache
def alone() -> tuple[str, ...]:
    """What a command is put behind to have no network at all; nothing where that is not allowed here."""
    command = ("unshare", "--map-root-user", "--net")
    done = subprocess.run([*command, "true"], capture_output=True, check=False) if shutil.which("unshare") else None
    return command if done is not None and done.returncode == 0 else ()


class Computer:
    """A computer with nothing on it but this package: a clean root, a home, and programs that are watched."""

    def __init__(self, place: Path) -> None:
        self.root, self.home, self.temporary = place / "root", place / "home", place / "tmp"
        for folder in (self.root, self.home, self.temporary):
            folder.mkdir(parents=True)
        self.data = self.home / ".local/share/lowrank-studio"
        self.installed: dict[str, tuple[int, float]] = {}
        self.traces = place / "traces"
        self.traces.mkdir()
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        }

    def command(self, program: Path, *arguments: str) -> list[str]:
        """A program, without network, and with every socket that it opens written down where that can be done."""
        trace = str(self.traces / f"{len(list(self.traces.iterdir()))}.txt")
        watch = ("strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=socket", "-e", "signal=none", "-o", trace)
        return [*alone(), *(watch if shutil.which("strace") else ()), str(program), *arguments]

    def lowrank(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """The command line of the package."""
        command = self.command(self.root / "usr/bin/lowrank", *arguments)
        return subprocess.run(
            command, env=self.env | more, cwd=self.home, capture_output=True, text=True, errors="replace", timeout=1800
        )

    def sockets(self) -> list[str]:
        """Every socket that any program has opened and that is not one between processes of this computer."""
        lines = [line for trace in self.traces.iterdir() for line in trace.read_text("utf-8", "replace").splitlines()]
        local = ("AF_UNIX", "AF_LOCAL", "AF_NETLINK")
        return [line for line in lines if "socket(" in line and not any(f"socket({kind}" in line for kind in local)]


def listing(folder: Path) -> dict[str, tuple[int, float]]:
    """Every file with its size and the time of its last change."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            status = path.stat()
            found[path.relative_to(folder).as_posix()] = (status.st_size, status.st_mtime)
    return found


def dpkg(root: Path, *arguments: str) -> None:
    """Debian's own installer on a root that has nothing else; without root's rights, as if with them."""
    state = root / "var/lib/dpkg"
    for name in ("info", "updates", "triggers"):
        (state / name).mkdir(parents=True, exist_ok=True)
    for name in ("status", "available"):
        (state / name).touch()
    pretend = ["fakeroot"] if os.getuid() else []
    options = [f"--root={root}", "--force-depends", "--force-not-root", "--force-bad-path", "--log=/dev/null"]
    done = subprocess.run([*pretend, "dpkg", *options, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the packages, fresh from the present source unless one was named."""
    named = os.environ.get("LOWRANK_PACKAGES")
    if named:
        yield Path(named)
        return
    folder = tmp_path_factory.mktemp("packages")
    env = {name: value for name, value in os.environ.items() if name != "LOWRANK_HOME"}
    built = subprocess.run(
        [sys.executable, "-m", "launcher.package", "--to", str(folder)],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    assert re.search(r"MiB  PyTorch\n", built.stderr), "the table of sizes"
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def computer(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Computer]:
    """One with the Debian package installed and the starter model fetched from it."""
    if shutil.which("dpkg") is None or (os.getuid() and shutil.which("fakeroot") is None):
        pytest.skip("dpkg, or fakeroot for somebody who is not root, is not installed")
    made = Computer(tmp_path_factory.mktemp("computer"))
    dpkg(made.root, "--install", str(next(packages.glob("*.deb"))))
    made.installed = listing(made.root / "usr")
    fetched = made.lowrank("models", "--fetch", "starter")
    assert fetched.returncode == 0, fetched.stdout + fetched.stderr
    yield made
    shutil.rmtree(made.root, ignore_errors=True)


def write_run(computer: Computer, **training: object) -> Path:
    rows = [{"messages": [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "A proponent."}]}] * 8
    (computer.home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = computer.home / "spec.yaml"
    text = SPEC
    for name, value in training.items():
        text = re.sub(rf"{name}: [^,}}]+", f"{name}: {value}", text)
    spec.write_text(text)
    return spec


def test_the_command_line_is_the_package_s_own(computer: Computer) -> None:
    from core import __version__

    assert computer.lowrank("--version").stdout == f"lowrank {__version__}\n"
    assert "lowrank VERB" in computer.lowrank("--help").stdout
    refused = computer.lowrank("pln")
    assert refused.returncode == 2
    assert "plan" in refused.stderr


def test_nothing_that_an_engine_may_need_was_left_out(computer: Computer) -> None:
    # one of the hub's libraries writes a log into the hub's own cache as soon as it is imported
    done = computer.lowrank("-m", "core.engine.import_check", HF_HOME=str(computer.traces.parent / "hub"))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 300


def test_train_in_4_bits_and_export_without_a_network(computer: Computer) -> None:
    trained = computer.lowrank("run", str(write_run(computer)))
    assert trained.returncode == 0, trained.stdout + trained.stderr
    run = next((computer.data / "runs").iterdir())
    assert json.loads((run / "outcome.json").read_text("utf-8"))["kind"] == "completed"
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert "nf4" in (run / "spec.yaml").read_text("utf-8")
    merged, gguf = computer.home / "merged", computer.home / "model.gguf"
    done = computer.lowrank("export", "last", "--kind", "merged", "--to", str(merged))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((merged / "config.json").read_text("utf-8"))["model_type"] == "llama"
    assert list(merged.glob("*.safetensors"))
    # the merged model was compared with what was trained; another comparison would show nothing more of the package
    done = computer.lowrank("export", "last", "--kind", "gguf", "--precision", "q8_0", "--no-verify", "--to", str(gguf))
    assert done.returncode == 0, done.stdout + done.stderr
    with gguf.open("rb") as file:
        assert file.read(4) == b"GGUF"
    shutil.rmtree(merged)
    for made in computer.home.glob("m*verification.json"):
        made.unlink()
    gguf.unlink()


def test_the_window_opens_once_and_closes(computer: Computer) -> None:
    missing = missing_programs()
    if missing:
        pytest.skip(missing)
    screen = Screen()
    try:
        env = computer.env | {"DISPLAY": screen.display, "QT_QPA_PLATFORM": "xcb", "NO_AT_BRIDGE": "1"}
        program = computer.root / "usr/bin/lowrank-studio"
        log = computer.traces.parent / "window.log"
        with log.open("w") as file:
            window = subprocess.Popen(
                computer.command(program), env=env, cwd=computer.home, stdout=file, stderr=file, text=True
            )
        try:
            find = ["xdotool", "search", "--onlyvisible", "--name", "^Lowrank Studio$"]
            ends = time.monotonic() + FIRST_WINDOW_SECONDS
            while subprocess.run(find, env=env, capture_output=True).returncode:
                assert window.poll() is None, log.read_text()
                assert time.monotonic() < ends, "no window came"
                time.sleep(0.05)
            again = subprocess.run(computer.command(program), env=env, cwd=computer.home, timeout=60)
            assert again.returncode == 0, "a second start raises the first window"
            assert window.poll() is None
            subprocess.run([*find, "windowfocus", "--sync"], env=env, check=True, capture_output=True, timeout=30)
            subprocess.run(["xdotool", "key", "ctrl+q"], env=env, check=True, timeout=30)
            assert window.wait(60) == 0, log.read_text()
        finally:
            window.kill()
            window.wait()
        assert log.read_text() == ""
    finally:
        screen.close()


def test_a_killed_engine_is_told(computer: Computer) -> None:
    # not watched: strace would wait for the engine, which is to outlive the command
    command = [str(computer.root / "usr/bin/lowrank"), "run", str(write_run(computer, max_steps=400)), "--detach"]
    begun = subprocess.run(command, env=computer.env, cwd=computer.home, capture_output=True, text=True, timeout=300)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    run = max((computer.data / "runs").iterdir(), key=lambda folder: folder.stat().st_mtime)
    ends = time.monotonic() + 300
    while '"type":"step"' not in (run / "events.jsonl").read_text("utf-8"):
        assert time.monotonic() < ends, (run / "engine.log").read_text("utf-8")
        time.sleep(0.2)
    program = str((computer.root / "usr/lib/lowrank-studio/lowrank-studio").resolve())
    engines = [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and str(run).encode() in _command_line(process) and _program(process) == program
    ]
    assert engines, "the engine is a child of the same program"
    for engine in engines:
        os.kill(engine, signal.SIGKILL)
    time.sleep(1)
    told = computer.lowrank("show", str(run), "--json")
    assert '"lost"' in told.stdout, told.stdout + told.stderr  # as from source, where nobody watched the engine end


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def _program(process: Path) -> str:
    try:
        return str((process / "exe").readlink())
    except OSError:
        return ""


def test_a_data_folder_that_cannot_be_written_is_said_as_from_source(computer: Computer) -> None:
    _same_refusal(computer, Path("/proc/lowrank-studio"))


def test_a_full_disk_is_said_as_from_source(computer: Computer, tmp_path: Path) -> None:
    with mounted(tmp_path / "small", 8) as disk:
        _same_refusal(computer, disk)


def _same_refusal(computer: Computer, home: Path) -> None:
    """The package and the source say the same in the same place, and leave nothing there."""
    words = ("models", "--fetch", "starter")
    packaged = computer.lowrank(*words, LOWRANK_HOME=str(home))
    env = {**os.environ, "LOWRANK_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-P", "-m", "core", *words]
    source = subprocess.run(command, capture_output=True, text=True, env=env, cwd=ROOT)
    assert (packaged.returncode, source.returncode) == (4, 4), packaged.stderr + source.stderr
    assert "Error" in packaged.stderr
    assert packaged.stderr == source.stderr
    assert not (home / "models").exists() or not any((home / "models").iterdir())


def test_no_socket_was_ever_opened(computer: Computer) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace, which sees every socket, is not installed")
    assert len(list(computer.traces.iterdir())) > 5, "this test comes after those that use the program"
    assert computer.sockets() == []


def test_the_watch_sees_a_socket(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    watched = Computer(tmp_path)
    program = "import socket; socket.socket().close()"
    subprocess.run(watched.command(Path(sys.executable), "-c", program), env=watched.env, check=True)
    assert len(watched.sockets()) == 1


def test_uninstalled_it_leaves_only_the_data(computer: Computer) -> None:
    assert listing(computer.root / "usr") == computer.installed, "something was written beside the program"
    dpkg(computer.root, "--purge", "lowrank-studio")
    left = [path for path in computer.root.rglob("*") if path.is_file() or path.is_symlink()]
    assert [path for path in left if not path.is_relative_to(computer.root / "var/lib/dpkg")] == []
    assert sorted(path.name for path in computer.home.iterdir()) == [".local", "rows.jsonl", "spec.yaml"]
    assert [path.name for path in (computer.home / ".local/share").iterdir()] == ["lowrank-studio"]
    assert list(computer.temporary.iterdir()) == []


def test_the_archive_installs_for_one_user_and_goes_with_its_data(packages: Path, tmp_path: Path) -> None:
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (Debian: apt install zstd)")
    someone = Computer(tmp_path)
    archive = next(packages.glob("*.tar.zst"))
    subprocess.run(["tar", "--zstd", "-xf", str(archive), "-C", str(someone.root)], check=True)
    unpacked = next(someone.root.iterdir())
    chosen = tmp_path / "another disk" / "studio"
    installed = subprocess.run(
        [str(unpacked / "install.sh"), "--to", str(chosen)], env=someone.env, capture_output=True, text=True
    )
    assert installed.returncode == 0, installed.stderr
    shutil.rmtree(unpacked)
    for arguments in (("--version",), ("presets",)):
        command = someone.command(someone.home / ".local/bin/lowrank", *arguments)
        subprocess.run(command, env=someone.env, check=True, capture_output=True, cwd=someone.home)
    someone.data.mkdir(parents=True, exist_ok=True)
    (someone.data / "draft.yaml").write_text("version: 1\n")
    done = subprocess.run([str(chosen / "uninstall.sh"), "--data"], env=someone.env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not chosen.exists()
    assert list(someone.home.iterdir()) == []
    assert someone.sockets() == []
