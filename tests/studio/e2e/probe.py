"""The window as a program of its own, and eyes for a test outside of it: where things are and what they say.

Run as a program, this file is `python -m studio` with one more thing: it answers questions on its standard input, one
JSON object a line. It only looks; every click and key comes from outside, through the X server.
"""

import json
import sys
import threading
from typing import Any


def serve(studio: Any) -> Any:
    """Answers questions about the studio's window until the input ends."""
    from PySide6.QtCore import QObject, Qt, Signal

    class Eyes(QObject):
        asked = Signal(str)

        def __init__(self) -> None:
            super().__init__()
            self.asked.connect(self.answer, Qt.ConnectionType.QueuedConnection)
            threading.Thread(target=self.listen, daemon=True).start()

        def listen(self) -> None:
            for line in sys.stdin:
                self.asked.emit(line)

        def answer(self, line: str) -> None:
            question = json.loads(line)
            try:
                reply = look(studio, question)
            except Exception as failure:  # noqa: BLE001 (told to the test, which fails with it)
                reply = {"error": repr(failure)}
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()

    return Eyes()


def look(studio: Any, question: dict[str, Any]) -> dict[str, Any]:
    """What is asked: a widget by its object name, an item of a view by its text, or the state of the session."""
    if "find" in question:
        return {"found": [described(widget) for widget in widgets(question["find"])]}
    if "item" in question:
        return {"found": item(question["view"], question["item"])}
    if "reply" in question:
        return {"text": "".join(reply.text.toPlainText() for reply in widgets(question["reply"]))}
    if "focus" in question:
        from PySide6.QtWidgets import QApplication

        widget = QApplication.focusWidget()
        return {"focus": described(widget) if widget is not None else None}
    return summary(studio)


def widgets(name: str) -> list[Any]:
    """The visible widgets with an object name."""
    from PySide6.QtWidgets import QApplication

    return [widget for widget in QApplication.allWidgets() if widget.objectName() == name and widget.isVisible()]


def described(widget: Any) -> dict[str, Any]:
    """Where a widget is on the screen, and what it shows."""
    from PySide6.QtCore import QPoint

    middle = widget.mapToGlobal(QPoint(widget.width() // 2, widget.height() // 2))
    corner = widget.mapToGlobal(QPoint(0, 0))
    told = {"name": widget.objectName(), "class": type(widget).__name__, "enabled": widget.isEnabled()}
    told |= {"x": middle.x(), "y": middle.y(), "left": corner.x(), "top": corner.y()}
    told |= {"width": widget.width(), "height": widget.height(), "accessible": widget.accessibleName()}
    visible = widget.visibleRegion().boundingRect()
    told["seen"] = visible.contains(QPoint(widget.width() // 2, widget.height() // 2))
    for name in ("text", "toPlainText", "value", "isChecked", "currentText"):
        reader = getattr(widget, name, None)
        if callable(reader):
            told[name] = reader()
    return told


def item(view_name: str, text: str) -> dict[str, Any] | None:
    """Where the first item of a view that holds a text is."""
    from PySide6.QtCore import Qt

    for view in widgets(view_name):
        model = view.model()
        for number in range(model.rowCount()):
            index = model.index(number, 0)
            words = [
                str(index.data(role) or "")
                for role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole)
            ]
            if any(text in word for word in words):
                view.scrollTo(index)
                point = view.viewport().mapToGlobal(view.visualRect(index).center())
                return {"x": point.x(), "y": point.y()}
    return None


def summary(studio: Any) -> dict[str, Any]:
    """The session and the run that is shown, in numbers."""
    session, run = studio.desk.session, studio.desk.runs.current
    told: dict[str, Any] = {
        "page": studio.window.page,
        "reading": session.is_reading,
        "rank": session.spec.adapter.rank,
    }
    told |= {"base": session.spec.model.base, "train": list(session.spec.data.train)}
    told["quantization"] = session.spec.model.quantization
    if session.plan is not None and session.plan.memory is not None and session.plan.parameters is not None:
        told |= {"peak": session.plan.memory.peak_bytes, "trainable": session.plan.parameters.trainable}
    if run is not None:
        told |= {"run": str(run.folder.path), "life": run.life.value, "step": run.state.step, "steps": run.state.steps}
        told |= {"points": len(run.state.history), "attempt": run.state.attempt}
        told["outcome"] = run.outcome.kind if run.outcome is not None else ""
        told["problems"] = [str(problem) for problem in run.problems]
        told["hello"] = run.state.hello.pid if run.state.hello is not None else 0
    return told


def main() -> int:
    """The studio, watched."""
    from studio import app

    eyes = []

    class Watched(app.Studio):
        def show(self) -> None:
            super().show()
            eyes.append(serve(self))

    app.Studio = Watched  # type: ignore[misc]
    return app.run(sys.argv)


if __name__ == "__main__":
    sys.exit(main())
