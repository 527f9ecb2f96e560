"""The user's token for the hub: enter, check, keep in the system's keyring or for this session, forget."""

from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLineEdit, QVBoxLayout

from core.errors import Problem, UserError
from core.hub.token import StoredToken, check_token, forget_token, keep_token, keyring_problem, use_for_session
from studio.look import tokens
from studio.pages.model.halves import clear
from studio.widgets.basics import Card, ProblemNote, button, label, row
from studio.words import say, tr
from studio.workers.task import Report, Task, start_task


@dataclass(frozen=True, slots=True)
class _State:
    """What is known about the token: where it is, and why the keyring cannot be used."""

    stored: StoredToken | None
    keyring: str


class TokenCard(Card):
    """What a token is for, the field, and its buttons.

    Attributes:
        changed: another token (or none) is in use.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__(
            tr("Your Hugging Face token"),
            tr("Some models are given only to people who have accepted their terms; a token says who you are."),
            margin=tokens.SPACE_4,
        )
        self.setObjectName("token-card")
        self._task: Task | None = None
        self._status = label("", "muted", wrap=True)
        self._status.setObjectName("token-status")
        self.field = QLineEdit()
        self.field.setEchoMode(QLineEdit.EchoMode.Password)
        self.field.setPlaceholderText(tr("hf_…"))
        self.field.setAccessibleName(tr("Your Hugging Face token"))
        self.field.setObjectName("token-field")
        self.field.textChanged.connect(self._typed)
        self.field.returnPressed.connect(self._keep_if_possible)
        self.keep = button(
            tr("Save in the system keyring"), lambda: self._take(keep=True), icon_name="key", name="token-keep"
        )
        self.session = button(tr("Only this session"), lambda: self._take(keep=False), name="token-session")
        self.forget = button(tr("Forget the token"), self._forget, role="quiet", name="token-forget")
        self._note = label("", "muted", wrap=True)
        self._problems = QVBoxLayout()
        self.add(self._status)
        self.add(self.field)
        self.add(row(self.keep, self.session, None))
        self.add(self._note)
        self.add(self._problems)
        self.add(row(self.forget, None))
        self._keyring_works = True
        self.forget.hide()
        self.look()
        self._typed()

    def look(self) -> None:
        """Finds out in the background which token is in use."""
        start_task(lambda _report: _state(), on_done=self._show, on_failed=self._failed, parent=self)

    def _show(self, state: _State) -> None:
        words = {
            "session": tr("A token is in use for this session."),
            "keyring": tr("The token of the system keyring is in use."),
            "environment": tr("The token of the variable HF_TOKEN is in use."),
            "file": tr("The token of the Hugging Face tools is in use."),
        }
        self._status.setText(words[state.stored.origin] if state.stored else tr("No token is in use."))
        self._keyring_works = not state.keyring
        self._note.setText(say(state.keyring))
        self._note.setVisible(bool(state.keyring))
        self.forget.setVisible(state.stored is not None and state.stored.origin in ("session", "keyring"))
        self._typed()

    def _typed(self, _text: str = "") -> None:
        ready = bool(self.field.text().strip()) and self._task is None
        self.keep.setEnabled(ready and self._keyring_works)
        self.session.setEnabled(ready)

    def _keep_if_possible(self) -> None:
        if self.field.text().strip():
            self._take(keep=self._keyring_works)

    def _take(self, *, keep: bool) -> None:
        text = self.field.text()
        self._complain(())
        self._status.setText(tr("Asking the hub whose token it is…"))

        def work(_report: Report) -> str:
            account = check_token(text)
            if keep:
                keep_token(text)
            else:
                use_for_session(text)
            return account.name

        self._task = start_task(work, on_done=self._taken, on_failed=self._failed, parent=self)
        self._typed()

    def _taken(self, account: str) -> None:
        self._task = None
        self.field.clear()
        self.look()
        self._note.setVisible(True)
        self._note.setText(tr("The token belongs to {name}.", name=account))
        self.changed.emit()

    def _forget(self) -> None:
        self._complain(())
        start_task(lambda _report: forget_token(), on_done=self._forgotten, on_failed=self._failed, parent=self)

    def _forgotten(self, _left: StoredToken | None) -> None:
        self.look()
        self.changed.emit()

    def _failed(self, failure: Exception) -> None:
        self._task = None
        self.look()
        if not isinstance(failure, UserError):
            raise failure
        self._complain(failure.problems)

    def _complain(self, problems: tuple[Problem, ...]) -> None:
        clear(self._problems)
        for problem in problems:
            note = ProblemNote(problem)
            note.setObjectName("token-problem")
            self._problems.addWidget(note)


def _state() -> _State:
    from core.hub.token import stored_token

    return _State(stored_token(), keyring_problem())
