"""How much a chat template may use up: turns of loops, time, text and items; and the ways in which it could use more.

Templates come with models from anywhere, and one call of a filter can fill the memory or take an hour. So whatever
makes texts or lists grow is asked for its size before it does its work. Plain data in a template is a tree with shared
parts, which can stand for far more than it takes: it is weighed as what it would be written out.
"""

import functools
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from core.data.turn_watch import Watch

_MOST_TURNS = 1_000_000
_MOST_CHARACTERS = 64 * 1024 * 1024
_MOST_ITEMS = 300_000
_MOST_BITS = 10_000
_MOST_SECONDS = 20.0
_WIDEST = 100_000
_MANY_ITEMS = 1_000
_WIDE_FORMAT = re.compile(r"\d{6}|\*")
_SEQUENCE_FILTERS = frozenset(
    (
        "abs", "attr", "count", "d", "default", "dictsort", "first", "float", "groupby", "int", "items", "last",
        "length", "list", "map", "max", "min", "random", "reject", "rejectattr", "reverse", "round", "select",
        "selectattr", "sort", "tojson", "unique",
    )
)  # fmt: skip
"""The filters that take lists as lists; all others make a text of what they are given."""


class Usage(threading.local):
    """What the rendering at work in this thread has used up, and how it wants generated parts marked."""

    turns = 0
    characters = 0
    ends = 0.0
    latest = float("inf")
    opening = ""
    closing = ""
    now: datetime | None = None
    watch: Watch | None = None

    def begin(self, marks: tuple[str, str], now: datetime | None, watch: Watch | None) -> None:
        """Starts to count anew."""
        self.watch = watch
        self.turns = self.characters = 0
        self.opening, self.closing = marks
        self.now = now
        self.ends = min(time.monotonic() + _MOST_SECONDS, self.latest)
        self.check_clock()

    def look_ahead(self) -> None:
        """The template has asked what comes behind the turn at work."""
        if self.watch is not None:
            self.watch.looked_ahead = True

    def turn(self, characters: int = 0) -> None:
        """One more turn of a loop or call of a macro, which writes so much fixed text."""
        turns = self.turns = self.turns + 1
        if turns > _MOST_TURNS:
            raise template_error(f"the template loops more than {_MOST_TURNS:,} times")
        if characters:
            self.write(characters)
        if time.monotonic() > self.ends:
            self.check_clock()

    def write(self, characters: int) -> None:
        """So much more text is written."""
        written = self.characters = self.characters + characters
        if written > _MOST_CHARACTERS:
            check_size(written)

    def check_clock(self) -> None:
        """Ends a rendering that takes too long."""
        if time.monotonic() > self.ends:
            raise template_error("the template takes too long")


usage = Usage()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Whatever this thread renders inside has so much time, all together."""
    before = usage.latest
    usage.latest = min(before, time.monotonic() + seconds)
    try:
        yield
    finally:
        usage.latest = before


@functools.cache
def exhausted_type() -> type[Exception]:
    """What ends a rendering that takes too long."""
    import jinja2

    class ExhaustedError(jinja2.TemplateError):
        """The template has used up its turns or its time."""

    return ExhaustedError


def template_error(message: str) -> Exception:
    """The same with what was used up."""
    return exhausted_type()(message)


def security_error(message: str) -> Exception:
    """What ends a rendering that tries what it must not."""
    import jinja2.exceptions

    return jinja2.exceptions.SecurityError(message)


def check_size(characters: int) -> None:
    """Refuses texts that would fill the memory."""
    if characters > _MOST_CHARACTERS:
        raise security_error(f"the template makes a text of more than {_MOST_CHARACTERS:,} characters")


def weigh(value: object, times: int = 1) -> Any:
    """The value, if it stands for no more items and characters than a template may make."""
    items = characters = 0
    waiting = [value]
    while waiting:
        item = waiting.pop()
        items += 1
        if isinstance(item, str):
            characters += len(item)
        elif isinstance(item, Mapping):
            waiting += item.values()
        elif isinstance(item, list | tuple):
            waiting += item
        if items * times > _MOST_ITEMS:
            raise security_error(f"the template makes data of more than {_MOST_ITEMS:,} items")
    check_size(characters * times)
    if items > _MANY_ITEMS:
        usage.check_clock()
    return value


def check_operation(operator: str, left: object, right: object) -> None:
    """Refuses sums, products, powers and formats that would fill the memory."""
    if operator == "+":
        if isinstance(left, str):
            if isinstance(right, str):
                check_size(len(left) + len(right))
        elif isinstance(left, list | tuple):
            weigh((left, right))
    elif operator == "%":
        if isinstance(left, str):
            _check_format(left)
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MOST_BITS:
            raise security_error("a power in the template is too large")
    else:
        _check_product(left, right)


def _check_product(left: object, right: object) -> None:
    for many, times in ((left, right), (right, left)):
        if isinstance(times, int) and times > 0:
            if isinstance(many, str):
                check_size(len(many) * times)
            elif isinstance(many, list | tuple):
                weigh(many, times)
            elif isinstance(many, int) and many.bit_length() + times.bit_length() > _MOST_BITS:
                raise security_error("a number in the template is too large")


def _check_format(text: str) -> None:
    if _WIDE_FORMAT.search(text):
        raise security_error("a format in the template makes texts of any width")


def check_call(function: object, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Refuses a method of a text that would fill the memory; everything that is called passes the clock."""
    usage.check_clock()
    text: object = getattr(function, "__self__", None)
    guard = _GUARDS.get(getattr(function, "__name__", ""))
    if isinstance(text, str) and guard is not None:
        guard(text, *arguments, **named)


def _guard_width(_text: str, width: object = 8, *_rest: object, **_named: object) -> None:
    if isinstance(width, int) and width > _WIDEST:
        raise security_error(f"the template makes a text wider than {_WIDEST:,} characters")


def _guard_replace(text: str, old: object = "", new: object = "", *_rest: object, **_named: object) -> None:
    if isinstance(old, str) and isinstance(new, str):
        check_size(len(text) + text.count(old) * max(0, len(new) - len(old)))


def _guard_join(text: str, parts: object = (), *_rest: object) -> None:
    if isinstance(parts, list | tuple):
        weigh(parts)
        check_size(len(text) * len(parts))
    elif isinstance(parts, str):
        check_size((len(text) + 1) * len(parts))
    else:
        raise security_error("the template joins what is no list")


def _guard_split(text: str, separator: object = None, *_rest: object, **_named: object) -> None:
    pieces = text.count(separator) if isinstance(separator, str) and separator else len(text) // 2
    if pieces > _MOST_ITEMS:
        raise security_error(f"the template makes data of more than {_MOST_ITEMS:,} items")


def _guard_translate(text: str, table: object = None, *_rest: object) -> None:
    values = table.values() if isinstance(table, Mapping) else ()
    check_size(len(text) * max((len(item) for item in values if isinstance(item, str)), default=1))


_GUARDS: Mapping[str, Callable[..., None]] = {
    "center": _guard_width,
    "ljust": _guard_width,
    "rjust": _guard_width,
    "zfill": _guard_width,
    "expandtabs": _guard_width,
    "replace": _guard_replace,
    "join": _guard_join,
    "split": _guard_split,
    "rsplit": _guard_split,
    "splitlines": lambda text, *_rest, **_named: _guard_split(text, "\n"),
    "translate": _guard_translate,
}


def guarded_format(text: object) -> None:
    """Refuses a text whose ``format`` would fill the memory."""
    if isinstance(text, str) and (_WIDE_FORMAT.search(text) or re.search(r":[^{}]*\{", text)):
        raise security_error("a format in the template makes texts of any width")


def guarded_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja's filters, each of which looks at the size of what it is given first."""
    return {name: _guarded(name, function) for name, function in filters.items()}


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    from jinja2.utils import _PassArg

    skipped = 1 if _PassArg.from_obj(function) is not None else 0

    @functools.wraps(function)  # which keeps the mark of filters that want the environment
    def guarded(*arguments: Any, **named: Any) -> Any:
        usage.check_clock()
        value, *rest = arguments[skipped:]
        for item in (*rest, *named.values()):
            if isinstance(item, int) and item > _WIDEST:
                raise security_error(f"the template makes a text wider than {_WIDEST:,} characters")
        if name not in _SEQUENCE_FILTERS:
            _check_text(name, value, rest, named)
        return function(*arguments, **named)

    return guarded


def _check_text(name: str, value: Any, rest: list[Any], named: Mapping[str, Any]) -> None:
    """For filters that make a text (or a sum, or lists of lists) of what they are given."""
    if isinstance(value, list | tuple | Mapping):
        weigh(value)
    if name == "replace":
        _guard_replace(str(value), *(str(item) for item in (*rest, *named.values())))
    elif name == "join":
        parts = list(value) if isinstance(value, list | tuple | str | Mapping) else None
        separator = next((item for item in (*rest, *named.values()) if isinstance(item, str)), "")
        if parts is not None:
            check_size(len(separator) * len(parts))
    elif name == "format" and isinstance(value, str):
        _check_format(value)
    elif name == "indent" and isinstance(value, str):
        width = next((item for item in (*rest, *named.values()) if isinstance(item, int | str)), 4)
        wide = len(width) if isinstance(width, str) else int(width)
        check_size(len(value) + wide * (value.count("\n") + 1))
    elif name == "sum" and any(isinstance(item, list | tuple | str) for item in (*rest, *named.values())):
        raise security_error("the template adds up what are no numbers")
