"""Every keyboard shortcut of the window, in one table: the window obeys it and Settings shows it."""

from typing import NamedTuple


class Shortcut(NamedTuple):
    """What is pressed, what it does (a name that the window knows), and what Settings says about it."""

    keys: str
    action: str
    title: str


PAGES = ("model", "data", "adapter", "training", "try", "export", "runs", "settings", "fit", "queue")

SHORTCUTS = (
    Shortcut("Ctrl+1", "page-model", "Go to Model"),
    Shortcut("Ctrl+2", "page-data", "Go to Data"),
    Shortcut("Ctrl+3", "page-adapter", "Go to Adapter"),
    Shortcut("Ctrl+4", "page-training", "Go to Training"),
    Shortcut("Ctrl+5", "page-try", "Go to Try"),
    Shortcut("Ctrl+6", "page-export", "Go to Export"),
    Shortcut("Ctrl+7", "page-runs", "Go to Runs"),
    Shortcut("Ctrl+8", "page-fit", "Go to What fits"),
    Shortcut("Ctrl+9", "page-queue", "Go to Queue"),
    Shortcut("Ctrl+,", "page-settings", "Go to Settings"),
    Shortcut("Ctrl+Return", "start", "Start the training"),
    Shortcut("Ctrl+Shift+Return", "add-to-queue", "Add the spec to the queue"),
    Shortcut("Ctrl+N", "new", "New spec"),
    Shortcut("Ctrl+O", "open", "Open a spec file"),
    Shortcut("Ctrl+S", "save", "Save the spec"),
    Shortcut("Ctrl+Shift+S", "save-as", "Save the spec as another file"),
    Shortcut("Ctrl+Z", "undo", "Undo the last change of the spec"),
    Shortcut("Ctrl+Shift+Z", "redo", "Redo it"),
    Shortcut("F6", "next-part", "Move to the next part of the window"),
    Shortcut("Ctrl+Q", "quit", "Close the window; a run goes on"),
)
