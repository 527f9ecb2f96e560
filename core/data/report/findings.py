"""What the report says about each thing that it finds: the sentences, why it matters, and what mends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from core.data.report.types import Finding, Lengths, RowPlace
from core.errors import Edit, Fix, Severity
from core.spec.repairs import REPAIRS, with_repairs
from core.spec.sections import DataSpec
from core.units import format_share

_LENGTH_STEP, _LONGEST = 128, 1_048_576
"""The step and the highest value of the setting data.max_length."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was counted, for the sentences.

    Attributes:
        count: rows that a finding is about.
        places: the first of them.
        rows: all training rows, for shares.
        lengths: of the training rows.
        spec: the section ``data`` of the spec.
        advised: what would make the template write rows that it refuses.
        splittable: how many of the long rows can be split.
        hidden: tokens of the longest row whose answer lies behind the limit.
    """

    count: int
    places: Sequence[RowPlace]
    rows: int
    lengths: Lengths
    spec: DataSpec
    advised: tuple[Fix, ...] = ()
    splittable: int = 0
    hidden: int = 0


def finding_of(name: str, found: Found) -> Finding:
    """The finding called ``name``, in words."""
    kind = _KINDS[name]
    return Finding(
        name=name,
        title=kind.title,
        count=found.count,
        message=kind.message(found),
        advice=kind.advice,
        rows=tuple(found.places),
        fixes=tuple(kind.fixes(found)),
        severity=kind.severity,
    )


def _repair(name: str) -> Callable[[Found], list[Fix]]:
    return lambda found: [repair_fix(found.spec, name)]


def repair_fix(spec: DataSpec, name: str) -> Fix:
    """The change that adds a repair to those that the spec asks for."""
    return Fix(REPAIRS[name].title, (Edit("data.repairs", with_repairs(spec.repairs, name)),))


def _no_fix(_found: Found) -> list[Fix]:
    return []


def _skip(found: Found) -> list[Fix]:
    return [Fix("Train without them", (Edit("data.bad_rows", "skip"),))] if found.spec.bad_rows == "stop" else []


def _write_or_skip(found: Found) -> list[Fix]:
    return [*found.advised, *_skip(found)]


def _longer(found: Found) -> list[Fix]:
    """Raises the limit to the longest row, and to what leaves one row in a hundred cut where that is much less."""
    limits = {_rounded(found.lengths.percentile(99)), _rounded(found.lengths.longest)}
    raised = [
        Fix(f"Allow {limit} tokens", (Edit("data.max_length", limit),))
        for limit in sorted(limits)
        if limit > found.spec.max_length
    ]
    return [*raised, repair_fix(found.spec, "split_long")] if found.splittable else raised


def _rounded(tokens: int) -> int:
    return min(_LONGEST, -(-tokens // _LENGTH_STEP) * _LENGTH_STEP)


def _learn_all(found: Found) -> list[Fix]:
    if found.spec.train_on in ("all", "preferences"):
        return []
    return [Fix("Train on everything", (Edit("data.train_on", "all"),))]


def _longer_for_masked(found: Found) -> list[Fix]:
    limit = _rounded(found.hidden)
    return [Fix(f"Allow {limit} tokens", (Edit("data.max_length", limit),)), *_learn_all(found)]


def _keep_apart(_found: Found) -> list[Fix]:
    return [Fix("Keep rows that are alike on one side", (Edit("data.validation_groups", "near"),))]


def _words(one: str, many: str) -> Callable[[Found], str]:
    """A sentence for one row, and one for several with their number in place of ``{0}``."""
    return lambda found: one if found.count == 1 else many.replace("{0}", str(found.count))


def _cut_words(found: Found) -> str:
    cut = found.lengths.cut(found.spec.max_length)
    lost = format_share(cut.tokens / max(1, found.lengths.total_tokens))
    if found.spec.train_on == "preferences":
        return _cut_pairs_words(found, cut.tokens, lost)
    if found.count == 1:
        return f"1 row is longer than {found.spec.max_length} tokens; {cut.tokens} tokens ({lost}) are lost."
    share = format_share(found.count / max(1, found.rows))
    return (
        f"{found.count} rows ({share}) are longer than {found.spec.max_length} tokens; {cut.tokens} tokens ({lost}) "
        "are lost."
    )


def _cut_pairs_words(found: Found, tokens: int, lost: str) -> str:
    limit = found.spec.max_length
    if found.count == 1:
        return f"An answer of 1 pair is longer than {limit} tokens with its prompt; {tokens} tokens ({lost}) are lost."
    share = format_share(found.count / max(1, found.rows))
    return (
        f"An answer of {found.count} pairs ({share}) is longer than {limit} tokens with its prompt; {tokens} tokens "
        f"({lost}) are lost."
    )


def _share_words(one: str, many: str) -> Callable[[Found], str]:
    """The same with the share of all training rows in place of ``{1}``."""

    def words(found: Found) -> str:
        share = format_share(found.count / max(1, found.rows))
        return _words(one, many)(found).replace("{1}", share)

    return words


@dataclass(frozen=True, slots=True)
class _Kind:
    title: str
    message: Callable[[Found], str]
    advice: str
    fixes: Callable[[Found], list[Fix]] = _no_fix
    severity: Severity = Severity.WARNING


_KINDS: Mapping[str, _Kind] = {
    "unusable": _Kind(
        "Rows that cannot be used",
        _words("1 row is broken or does not fit the format.", "{0} rows are broken or do not fit the format."),
        "A run would not start with them. Mend them in the file, or train without them.",
        _skip,
    ),
    "unwritable": _Kind(
        "Rows that the template refuses",
        _words("The chat template cannot write 1 row.", "The chat template cannot write {0} rows."),
        "A run would not start with them. Choose another template, mend the order of turns, or train without them.",
        _write_or_skip,
    ),
    "masked": _Kind(
        "Nothing to learn",
        _words("1 row has no token that carries loss.", "{0} rows have no token that carries loss."),
        "They are left out. Add an answer to them, or train on everything.",
        _learn_all,
    ),
    "masked_by_cut": _Kind(
        "Answers behind the limit",
        _words(
            "The answer of 1 row begins after the length limit, so the row is left out.",
            "The answers of {0} rows begin after the length limit, so these rows are left out.",
        ),
        "Nothing of them is learned. Allow longer rows, or shorten what is asked.",
        _longer_for_masked,
    ),
    "cut": _Kind(
        "Long rows",
        _cut_words,
        "The end of an answer is lost, and with it the sign that it ends.",
        _longer,
    ),
    "duplicates": _Kind(
        "Duplicates",
        _share_words(
            "1 row says what a row before it says.", "{0} rows ({1}) say what a row before them says, word for word."
        ),
        "What is there twice is learned twice, and sooner by heart. Keep one of them unless you mean the weight.",
        _repair("drop_duplicates"),
    ),
    "near_duplicates": _Kind(
        "Near-duplicates",
        _share_words(
            "1 row says almost what a row before it says.", "{0} rows ({1}) say almost what a row before them says."
        ),
        "They share at least four fifths of their groups of three words, so they teach the same again.",
        _repair("drop_near_duplicates"),
    ),
    "leaked": _Kind(
        "Validation rows that are trained",
        _words(
            "1 validation row says almost what a trained row says.",
            "{0} validation rows say almost what a trained row says.",
        ),
        "The validation loss then measures memory, not understanding.",
        _keep_apart,
    ),
    "unmeasured": _Kind(
        "Validation rows that are trained too",
        _words(
            "1 validation row is a training row as well, and is not measured.",
            "{0} validation rows are training rows as well, and are not measured.",
        ),
        "Nothing has to be done, as long as enough rows are left to measure.",
        severity=Severity.INFO,
    ),
    "repeated_speaker": _Kind(
        "The same speaker twice",
        _words(
            "In 1 row somebody speaks twice in a row.",
            "In {0} rows somebody speaks twice in a row.",
        ),
        "Many chat templates refuse that, and the model never sees it in use. Merge these turns.",
        _repair("merge_turns"),
    ),
    "begins_with_answer": _Kind(
        "Answers to nothing",
        _words("1 chat begins with an answer.", "{0} chats begin with an answer."),
        "The model learns to speak unasked, and some templates refuse it.",
        _repair("drop_wrong_order"),
    ),
    "open_end": _Kind(
        "Questions without an answer",
        _words("1 chat goes on behind its last answer.", "{0} chats go on behind their last answer."),
        "What stands there is computed and never learned.",
        _repair("trim_turns"),
    ),
    "disorder": _Kind(
        "Turns out of order",
        _words(
            "1 chat has a system text or a tool’s result or call where none belongs.",
            "{0} chats have a system text or a tool’s result or call where none belongs.",
        ),
        "Nothing like that happens when the model is used.",
        _repair("drop_wrong_order"),
    ),
    "mistaken_encoding": _Kind(
        "Letters of another encoding",
        _words(
            "1 row holds UTF-8 that was read as Windows-1252, such as “Ã©” for “é”.",
            "{0} rows hold UTF-8 that was read as Windows-1252, such as “Ã©” for “é”.",
        ),
        "The model would learn to write like that. It can be undone without loss.",
        _repair("fix_encoding"),
    ),
    "lost_letters": _Kind(
        "Lost letters",
        _words(
            "1 row holds marks of letters that were lost (U+FFFD), NUL or control characters.",
            "{0} rows hold marks of letters that were lost (U+FFFD), NUL or control characters.",
        ),
        "The letters cannot be recovered here. Read the source again in its own encoding, or leave these rows out.",
        _repair("drop_damaged"),
    ),
    "placeholders": _Kind(
        "Places to fill in",
        _words("1 row holds a placeholder that nobody filled in.", "{0} rows hold placeholders that nobody filled in."),
        "The model would write them too. Fill them in, or leave these rows out.",
        _repair("drop_placeholders"),
    ),
    "loops": _Kind(
        "Endless repetition",
        _words(
            "1 answer repeats the same words again and again.", "{0} answers repeat the same words again and again."
        ),
        "A model that has learned to repeat does not stop. Leave these rows out.",
        _repair("drop_loops"),
    ),
    "refusals": _Kind(
        "Refusals",
        _share_words(
            "1 answer refuses, or says that it is a language model.",
            "{0} answers ({1}) refuse, or say that they are a language model.",
        ),
        "They come from another assistant, and the model learns to refuse the same way.",
        _repair("drop_refusals"),
        Severity.INFO,
    ),
    "short_answers": _Kind(
        "Very short answers",
        _words("1 answer is far shorter than all others.", "{0} answers are far shorter than all others."),
        "They may be cut off or empty words. Have a look at them.",
        severity=Severity.INFO,
    ),
    "long_answers": _Kind(
        "Very long answers",
        _words("1 answer is far longer than all others.", "{0} answers are far longer than all others."),
        "They take much of the memory and of what is learned. Have a look at them.",
        severity=Severity.INFO,
    ),
}

ORDER = tuple(_KINDS)
"""The names of all findings, in the order in which a report has them among those of the same severity."""
