"""Pages by name; each is imported and made when it is first shown, so that the window is up before they are."""

import importlib

from studio.pages.page import Page
from studio.state.desk import Desk

_WHERE = {
    "model": "studio.pages.model.page:ModelPage",
    "data": "studio.pages.data.page:DataPage",
    "adapter": "studio.pages.adapter.page:AdapterPage",
    "training": "studio.pages.training.page:TrainingPage",
    "try": "studio.pages.try_.page:TryPage",
    "export": "studio.pages.export.page:ExportPage",
    "runs": "studio.pages.runs.page:RunsPage",
    "queue": "studio.pages.queue.page:QueuePage",
    "settings": "studio.pages.settings.page:SettingsPage",
    "fit": "studio.pages.fit.page:FitPage",
}
WITH_PLAN = frozenset(("model", "data", "adapter", "training", "fit"))
"""Pages beside which the plan panel stands."""


def make_page(name: str, desk: Desk) -> Page:
    """The page called ``name``."""
    module, _, cls = _WHERE[name].partition(":")
    page: Page = getattr(importlib.import_module(module), cls)(desk)
    return page
