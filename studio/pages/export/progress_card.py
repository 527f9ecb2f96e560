"""An export on its way: how far, how fast, how long still, and the button that ends it."""

from PySide6.QtWidgets import QProgressBar

from core.units import format_bytes, format_duration
from studio.pages.export.format_cards import title_of
from studio.state.exports import Exports, LiveExport
from studio.widgets.basics import Card, Elided, button, label, row
from studio.words import say, tr

_STEPS = 1000


class ProgressCard(Card):
    """The card that stands in the target's place while an export is made."""

    def __init__(self, exports: Exports) -> None:
        super().__init__()
        self._exports = exports
        self._title = label("", "section", wrap=True)
        self._where = Elided("", "muted")
        self.bar = QProgressBar()
        self.bar.setRange(0, _STEPS)
        self.bar.setAccessibleName(tr("Progress of the export"))
        self.words = label("", "muted", wrap=True)
        self.cancel = button(tr("Cancel"), exports.cancel, name="cancel-export")
        self.add(self._title)
        self.add(self._where)
        self.add(self.bar)
        below = row(self.words, self.cancel)
        below.setStretch(0, 1)
        self.add(below)
        self.refresh()

    def refresh(self) -> None:
        """Shows how far it is now."""
        live = self._exports.live
        if live is None:
            return
        self._title.setText(_title(live))
        self._where.set_text(str(live.plan.target))
        self.bar.setRange(0, _STEPS if live.done else 0)
        if live.done and live.total:
            self.bar.setValue(round(_STEPS * live.done / live.total))
        self.words.setText(_words(live))
        self.cancel.setText(tr("Skip the check") if live.stage == "verify" else tr("Cancel"))
        self.cancel.setEnabled(not live.stopping.is_set())


def _title(live: LiveExport) -> str:
    run = live.run.name
    if live.stopping.is_set():
        return tr("Skipping the check…") if live.stage == "verify" else tr("Cancelling…")
    if live.stage == "verify":
        return tr("Checking the export of “{run}”", run=run)
    if live.stage == "upload":
        return tr("Uploading “{run}” to {repo}", run=run, repo=live.plan.options.repo)
    if not live.plan.is_job:
        return tr("Copying the result of “{run}”", run=run)
    if live.plan.writes == "merged":
        return tr("Merging “{run}”", run=run)
    return tr("Writing “{run}” as {format}", run=run, format=title_of(live.plan.kind))


def _words(live: LiveExport) -> str:
    if live.stopping.is_set():
        return tr("Nothing of it is left behind.") if live.stage == "write" else tr("The export itself stays.")
    if not live.done:
        return say(live.words) if live.words else tr("Starting…")
    done, total = format_bytes(live.done), format_bytes(live.total)
    left = live.seconds_left
    if left is None:
        return tr("{done} of {total}", done=done, total=total)
    speed = format_bytes(live.speed)
    if live.done >= live.total:
        return tr("{done} of {total} · finishing", done=done, total=total)
    return tr(
        "{done} of {total} · {speed}/s · {time} left", done=done, total=total, speed=speed, time=format_duration(left)
    )
