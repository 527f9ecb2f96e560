"""A verdict as a mark and as a word, the same wherever one is shown."""

from studio.words import tr

VERDICT_MARKS = {
    "fits": ("circle-check", "good"),
    "tight": ("triangle-alert", "warn"),
    "does_not_fit": ("octagon-x", "bad"),
    "unknown": ("circle-question-mark", "muted"),
}
"""Verdict -> icon and colour."""


def verdict_word(verdict: str) -> str:
    """A verdict in a word or two."""
    return {
        "fits": tr("Fits"),
        "tight": tr("Tight"),
        "does_not_fit": tr("Does not fit"),
        "unknown": tr("Unknown"),
    }[verdict]
