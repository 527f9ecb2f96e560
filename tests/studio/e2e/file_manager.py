"""A window with one file in it that can be dragged out, as from a file manager: `python file_manager.py FILE X Y`."""

import sys

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QLabel


class FileLabel(QLabel):
    """The file; a press begins the drag."""

    def __init__(self, path: str) -> None:
        super().__init__("drag me")
        self._path = path

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802 (Qt's name)
        """Drags."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            data = QMimeData()
            data.setUrls([QUrl.fromLocalFile(self._path)])
            drag = QDrag(self)
            drag.setMimeData(data)
            print("dropped", drag.exec(Qt.DropAction.CopyAction), flush=True)  # noqa: T201 (told to the test)


app = QApplication(sys.argv)
window = FileLabel(sys.argv[1])
window.setWindowTitle("file manager")
window.setGeometry(int(sys.argv[2]), int(sys.argv[3]), 120, 60)
window.setWindowFlags(Qt.WindowType.FramelessWindowHint)
window.show()
sys.exit(app.exec())
