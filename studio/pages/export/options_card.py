"""What there is to choose besides the format: the precision of a GGUF file, or the repository on the hub."""

from typing import TYPE_CHECKING, Literal, cast

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QLineEdit, QWidget

from core.units import format_bytes
from studio.look import tokens
from studio.state.desk import Desk
from studio.state.export_facts import PrecisionChoice
from studio.state.exports import Exports
from studio.widgets.basics import Card, IconLabel, LinkLabel, column, label, row
from studio.widgets.controls import CalmList, Segments, Switch
from studio.words import say, tr

if TYPE_CHECKING:
    from collections.abc import Sequence


class OptionsCard(Card):
    """The options of the chosen kind; hidden for kinds that have none."""

    def __init__(self, exports: Exports, desk: Desk) -> None:
        super().__init__()
        self._precision = _PrecisionRow(exports)
        self._hub = _HubRows(exports, desk)
        self._exports = exports
        self.add(self._precision)
        self.add(self._hub)

    def refresh(self) -> None:
        """Shows what the exports say now; returns nothing to show for kinds without options."""
        outlook = self._exports.outlook
        choices = outlook.precisions if outlook is not None else ()
        is_hub = self._exports.kind == "hub"
        self._precision.setVisible(bool(choices))
        self._hub.setVisible(is_hub)
        self.setVisible((bool(choices) or is_hub) and self._exports.live is None)
        if choices and outlook is not None and outlook.plan is not None:
            self._precision.show_choices(choices, outlook.plan.precision)
        if is_hub:
            self._hub.refresh()


class _PrecisionRow(QWidget):
    """A list of precisions with their sizes, what the chosen one is good for, and why some cannot be had."""

    def __init__(self, exports: Exports) -> None:
        super().__init__()
        self._exports = exports
        self._shown: Sequence[PrecisionChoice] = ()
        self._list = CalmList()
        self._list.setObjectName("precision")
        self._list.setAccessibleName(tr("Precision"))
        self._list.activated.connect(self._chosen)
        self._words = label("", "muted", wrap=True)
        self._missing = label("", "muted", wrap=True)
        caption = label(tr("Precision"), "strong")
        caption.setBuddy(self._list)
        top = row(caption, self._list, self._words, spacing=tokens.SPACE_3)
        top.setStretch(2, 1)
        self.setLayout(column(top, self._missing))

    def show_choices(self, choices: "Sequence[PrecisionChoice]", chosen: str) -> None:
        """Shows the list, and which of it is chosen."""
        if choices != self._shown:
            self._fill(choices)
        place = self._list.findData(chosen)
        self._list.setCurrentIndex(place)
        self._words.setText(say(next((item.words for item in choices if item.name == chosen), "")))

    def _fill(self, choices: "Sequence[PrecisionChoice]") -> None:
        self._shown = choices
        self._list.clear()
        model = cast("QStandardItemModel", self._list.model())
        for item in choices:
            size = format_bytes(item.bytes) if item.bytes else ""
            self._list.addItem(f"{item.title} · {size}" if size else item.title, item.name)
            place = self._list.count() - 1
            self._list.setItemData(place, say(item.reason or item.words), Qt.ItemDataRole.ToolTipRole)
            model.item(place).setEnabled(not item.reason)
        missing = [item for item in choices if item.reason]
        self._missing.setVisible(bool(missing))
        if missing:
            names, reason = ", ".join(item.title for item in missing), say(missing[0].reason)
            self._missing.setText(tr("Not on this computer: {names}. {reason}", names=names, reason=reason))

    def _chosen(self, _index: int) -> None:
        self._exports.choose_precision(str(self._list.currentData()))


class _HubRows(QWidget):
    """The repository, what goes into it, who may see it, and whether there is a token."""

    def __init__(self, exports: Exports, desk: Desk) -> None:
        super().__init__()
        self._exports = exports
        self.repo = QLineEdit()
        self.repo.setObjectName("repo")
        self.repo.setAccessibleName(tr("Repository"))
        self.repo.setPlaceholderText(tr("your-name/model-name"))
        self.repo.textEdited.connect(exports.choose_repo)
        self._content = Segments((("adapter", tr("Adapter")), ("merged", tr("Merged model"))), name="hub-content")
        self._content.chosen.connect(lambda _value: self._choose())
        self.private = Switch(tr("Private"))
        self.private.setObjectName("hub-private")
        self.private.toggled.connect(lambda _on: self._choose())
        caption = label(tr("Repository"), "strong")
        caption.setBuddy(self.repo)
        top = row(caption, self.repo, spacing=tokens.SPACE_3)
        top.setStretch(1, 1)
        self._icon = IconLabel("key", "muted")
        self._token = label("", "muted", wrap=True)
        self._settings = LinkLabel(tr("Open the settings"), lambda: desk.go("settings"))
        state = row(self._icon, self._token, self._settings)
        state.setStretch(1, 1)
        self.setLayout(column(top, row(self._content, None, self.private), state, spacing=tokens.SPACE_3))

    def refresh(self) -> None:
        """Shows what the exports say now."""
        exports = self._exports
        if self.repo.text() != exports.repo and not self.repo.hasFocus():
            self.repo.setText(exports.repo)
        plan = exports.outlook.plan if exports.outlook is not None else None
        self._content.choose(plan.options.content if plan is not None else exports.content)
        self.private.blockSignals(True)  # noqa: FBT003 (Qt's name for it)
        self.private.setChecked(exports.is_private)
        self.private.blockSignals(False)  # noqa: FBT003
        has_token = exports.outlook is not None and exports.outlook.has_token
        self._icon.set_icon("circle-check" if has_token else "key", "good" if has_token else "warn")
        words = tr("A token for the hub is there.") if has_token else tr("There is no token for the hub yet.")
        self._token.setText(words)
        self._settings.setVisible(not has_token)

    def _choose(self) -> None:
        content = cast('Literal["adapter", "merged"]', self._content.value() or "adapter")
        self._exports.choose_upload(content=content, is_private=self.private.isChecked())
