"""One window for each data folder: a second start hands its paths to the first window, which comes to the front."""

import hashlib
import json
from collections.abc import Sequence
from typing import TextIO

from PySide6.QtCore import QObject, Signal
from PySide6.QtNetwork import QLocalServer, QLocalSocket

from core import paths
from core.runs.file_lock import try_lock

_LOCK = "window.lock"
_ANSWER = b"ok\n"
_SECONDS = 5.0
_LONGEST = 1_000_000


def server_name() -> str:
    """What the local socket of this data folder's window is called; nothing of it can be reached by a network."""
    return "lowrank-studio-" + hashlib.sha256(str(paths.home()).encode()).hexdigest()[:16]


class OnlyWindow(QObject):
    """This process as the only window of its data folder.

    Attributes:
        asked: another start wants the window to come to the front and open these paths.
    """

    asked = Signal(list)

    def __init__(self, lock: TextIO | None) -> None:
        """Holds the lock as long as it lives and listens for others; ``lock`` is None where there are no locks."""
        super().__init__()
        self._lock = lock
        self._server = QLocalServer(self)
        self._server.setSocketOptions(QLocalServer.SocketOption.UserAccessOption)
        self._server.newConnection.connect(self._connected)
        QLocalServer.removeServer(server_name())  # what a window that died has left; nobody else can be listening
        self._server.listen(server_name())

    def close(self) -> None:
        """Lets another start become the window."""
        self._server.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _connected(self) -> None:
        while (socket := self._server.nextPendingConnection()) is not None:
            socket.readyRead.connect(lambda socket=socket: self._read(socket))
            socket.disconnected.connect(socket.deleteLater)

    def _read(self, socket: QLocalSocket) -> None:
        if not socket.canReadLine():
            if socket.bytesAvailable() > _LONGEST:
                socket.abort()
            return
        try:
            names = json.loads(bytes(socket.readLine().data()).decode("utf-8"))
        except ValueError:
            socket.abort()
            return
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            socket.abort()
            return
        socket.write(_ANSWER)
        socket.flush()
        self.asked.emit(names)


def become_only() -> OnlyWindow | None:
    """Makes this process the data folder's window; None where another one is it already.

    Where the data folder cannot be written there is no lock to hold, and every start opens a window, which says so.
    """
    try:
        paths.home().mkdir(parents=True, exist_ok=True)
        lock = (paths.home() / _LOCK).open("a")
    except OSError:
        return OnlyWindow(None)
    if not try_lock(lock.fileno()):
        lock.close()
        return None
    return OnlyWindow(lock)


def hand_over(names: Sequence[str]) -> bool:
    """Asks the window that is open to come to the front and open paths; whether it answered."""
    milliseconds = int(_SECONDS * 1000)
    socket = QLocalSocket()
    socket.connectToServer(server_name())
    if not socket.waitForConnected(milliseconds):
        return False
    socket.write(json.dumps(list(names)).encode("utf-8") + b"\n")
    socket.flush()
    while not socket.canReadLine():
        if not socket.waitForReadyRead(milliseconds):
            return False
    answered = bytes(socket.readLine().data()) == _ANSWER
    socket.disconnectFromServer()
    return answered
