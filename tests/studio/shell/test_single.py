"""One window for each data folder: the second start hands over, and a window that is gone is no obstacle."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from studio.shell.single import become_only, hand_over

ROOT = Path(__file__).parents[3]
HAND_OVER = "import sys; from studio.shell.single import hand_over; sys.exit(0 if hand_over(sys.argv[1:]) else 3)"


def start(*arguments: str, program: tuple[str, ...] = ("-c", HAND_OVER)) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.Popen([sys.executable, "-P", *program, *arguments], cwd=ROOT, env=environment)


def test_a_second_start_hands_its_paths_over(qtbot: Any, lowrank_home: Path) -> None:
    only = become_only()
    assert only is not None
    heard: list[list[str]] = []
    only.asked.connect(heard.append)
    try:
        second = start("/a/spec.yaml", "/a/rows “ü”.jsonl")
        qtbot.waitUntil(lambda: second.poll() is not None, timeout=30_000)
        assert second.returncode == 0
        assert heard == [["/a/spec.yaml", "/a/rows “ü”.jsonl"]]
        assert become_only() is None
    finally:
        only.close()
    again = become_only()
    assert again is not None
    again.close()


def test_with_nobody_there_nothing_is_handed_over(qtbot: Any, lowrank_home: Path) -> None:
    assert not hand_over(["/a"])


def test_nonsense_is_not_answered(qtbot: Any, lowrank_home: Path) -> None:
    from PySide6.QtNetwork import QLocalSocket

    from studio.shell.single import server_name

    only = become_only()
    assert only is not None
    heard: list[list[str]] = []
    only.asked.connect(heard.append)
    try:
        for line in (b"not JSON\n", b'{"open": 1}\n', b"[1, 2]\n"):
            socket = QLocalSocket()
            socket.connectToServer(server_name())
            assert socket.waitForConnected(5000)
            socket.write(line)
            socket.flush()
            qtbot.waitUntil(
                lambda socket=socket: socket.state() == QLocalSocket.LocalSocketState.UnconnectedState, timeout=5000
            )
        assert heard == []
    finally:
        only.close()


def test_where_nothing_can_be_written_a_window_opens_all_the_same(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LOWRANK_HOME", str(tmp_path / "file" / "home"))
    only = become_only()
    assert only is not None
    only.close()


@pytest.mark.skipif(os.name != "posix", reason="a window is ended by a POSIX signal")
def test_the_program_itself_opens_one_window(lowrank_home: Path) -> None:
    program = ("-m", "studio")
    first = start(program=program)
    try:
        deadline = time.monotonic() + 60
        while not hand_over([]):
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = start(program=program)
        assert second.wait(60) == 0
        assert first.poll() is None
    finally:
        first.terminate()
        status = first.wait(60)
    assert status == 0
    assert not list((lowrank_home / "crashes").glob("*")), "it ended well"
