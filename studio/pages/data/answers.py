"""The two answers of a preference pair as the Data page names them."""

from studio.words import tr

CHOSEN, REJECTED = "chosen", "rejected"
ANSWER_ICONS = {CHOSEN: ("check", "good"), REJECTED: ("x", "bad")}
"""Icon and colour of each, beside its name and never instead of it."""


def answer_title(answer: str) -> str:
    """An answer's name."""
    return tr("Chosen") if answer == CHOSEN else tr("Rejected")


def answer_aim(answer: str) -> str:
    """What training does with an answer."""
    return tr("trained towards") if answer == CHOSEN else tr("trained away from")
