"""Recognises the core's English sentences and says them in another language, with the values that they hold."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

LONGEST_TEXT = 4000
MOST_SENTENCES = 4
"""How many sentences one entry of a catalogue may span."""

DEEPEST = 6
WEAK_LETTERS = 8
"""Templates with fewer fixed letters than this match only where something of what they hold is known as well."""

FEEBLE_LETTERS = 6
"""Those with fewer than this match only where all is known."""

_HOLE = re.compile(r"\{(\d+)\}")
_LETTER = re.compile(r"[A-Za-z]")
_BOUNDARY = re.compile(r"(?<=[.!?…])\s+(?=[A-Z“\"'(\d])")
_IS_NAME = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?(TiB|GiB|MiB|KiB|B|M|k|T|%|s|min|h|d)\b)*|\S*[/\\_.\d]\S*")
_WIDE = "\u3000-\u303f\u4e00-\u9fff\uff00-\uffef"
_SPACE_BETWEEN_WIDE = re.compile(f"(?<=[{_WIDE}]) (?=[{_WIDE}])")
_IDEOGRAPH_MEETS_LATIN = re.compile("(?<=[\u4e00-\u9fff])(?=[A-Za-z0-9])|(?<=[A-Za-z0-9%])(?=[\u4e00-\u9fff])")
_STOPS = "。，；："


@dataclass(frozen=True, slots=True)
class _Template:
    """A sentence with holes: the fixed pieces around them, and the translation as pieces and numbers of holes."""

    pieces: tuple[str, ...]
    holes: tuple[int, ...]
    target: tuple[str, ...]
    letters: int
    length: int
    longest: str

    @classmethod
    def of(cls, source: str, translated: str) -> "_Template":
        parts = _HOLE.split(source)
        pieces = tuple(parts[::2])
        letters = sum(len(_LETTER.findall(piece)) for piece in pieces)
        holes = tuple(int(number) for number in parts[1::2])
        length = sum(len(piece) for piece in pieces)
        return cls(pieces, holes, tuple(_HOLE.split(translated)), letters, length, max(pieces, key=len))

    def values(self, text: str) -> list[str] | None:
        """What stands in the holes of a text, each value as short as possible; None if it is another sentence."""
        first, *middle, last = self.pieces
        place, end = len(first), len(text) - len(last)
        if end < place or not text.startswith(first) or not text.endswith(last):
            return None
        found = []
        for piece in middle:
            next_place = text.find(piece, place, end)
            if next_place < 0:
                return None
            found.append(text[place:next_place])
            place = next_place + len(piece)
        found.append(text[place:end])
        return found

    def is_quoted(self, number: int) -> bool:
        """Whether the value of a hole stands in quotation marks, as names do."""
        return self.pieces[number].endswith("“") and self.pieces[number + 1].startswith("”")


class Sentences:
    """The sentences of a catalogue.

    A text is looked up as a whole first. Then templates are tried, those with the most fixed letters first, so that a
    general one such as “{0} more” never takes what a special one knows. A text of several sentences is taken apart.
    What no entry knows stays as it is: names, paths, the words of other programs.
    """

    def __init__(self, catalogue: Mapping[str, str]) -> None:
        self._catalogue = catalogue

    def say(self, text: str) -> str:
        """The text in the language of the catalogue, as far as it is known."""
        return self._say(text, 0)

    def _say(self, text: str, depth: int) -> str:
        bare = text.strip()
        known = self._catalogue.get(bare)
        if known is not None or not bare:
            return known or text
        if depth > DEEPEST or len(bare) > LONGEST_TEXT or not _LETTER.search(bare):
            return text
        if "\n" in bare:
            return "\n".join(self._say(line, depth + 1) for line in bare.split("\n"))
        sentences = _BOUNDARY.split(bare)
        whole = self._match(bare, depth, clean=len(sentences) > 1)
        if whole is None and len(sentences) > 1:
            apart = self._apart(sentences, depth)
            whole = apart if apart is not None else self._match(bare, depth, clean=False)
        if whole is None and bare[0].isupper():  # a phrase that begins a sentence here
            phrase = bare[0].lower() + bare[1:]
            whole = self._catalogue.get(phrase) or self._match(phrase, depth, clean=len(sentences) > 1)
        if whole is None and bare.endswith(".") and not bare.endswith(".."):  # a phrase that was made a sentence
            phrase = self._say(bare[:-1], depth + 1)
            whole = f"{phrase}。" if phrase != bare[:-1] else None
        whole = whole or self._listed(bare, depth)
        return text if whole is None else whole

    def _listed(self, text: str, depth: int) -> str | None:
        """A list such as “4-bit weights, rows of 512 tokens”, of which each part is known or a name."""
        parts = text.split(", ")
        said = [self._say(part, depth + 1) for part in parts] if len(parts) > 1 else []
        pairs = list(zip(parts, said, strict=False))
        if any(old != new for old, new in pairs) and all(old != new or _IS_NAME.fullmatch(old) for old, new in pairs):
            return "、".join(said)
        return None

    def _match(self, text: str, depth: int, *, clean: bool) -> str | None:
        """The translation by the best template; ``clean`` forbids values that reach over the end of a sentence.

        The best is the first, unless a later one leaves far fewer Latin letters: then the first one has taken a piece
        of the sentence for a value.
        """
        best, left = None, 0
        for template in self._candidates(text):
            values = template.values(text)
            if values is None or (clean and any(_BOUNDARY.search(value) for value in values)):
                continue
            said = [self._value(template, number, value, depth) for number, value in enumerate(values)]
            if template.letters >= WEAK_LETTERS or _is_likely(template, values, said):
                found = _filled(template.target, dict(zip(template.holes, said, strict=True)))
                latin = len(_LETTER.findall(found))
                if best is None or latin + FEEBLE_LETTERS < left:
                    best, left = found, latin
                if left < FEEBLE_LETTERS:
                    break
        return best

    def _value(self, template: _Template, number: int, value: str, depth: int) -> str:
        if template.is_quoted(number) and not value[:1].isupper():
            return value  # a name: of a column, a module, a file; titles of settings begin with a capital
        return self._say(value, depth + 1)

    def _apart(self, sentences: Sequence[str], depth: int) -> str | None:
        """Each sentence by itself, or as many together as one entry knows; None if none is known."""
        said: list[str] = []
        is_known = False
        place = 0
        while place < len(sentences):
            for end in range(min(len(sentences), place + MOST_SENTENCES), place, -1):
                together = " ".join(sentences[place:end])
                found = self._catalogue.get(together) or self._match(together, depth, clean=True)
                if found is not None:
                    break
            else:
                end, found = place + 1, sentences[place]
            is_known = is_known or found != sentences[place]
            said.append(found)
            place = end
        return _SPACE_BETWEEN_WIDE.sub("", " ".join(said)) if is_known else None

    def _candidates(self, text: str) -> Iterator[_Template]:
        begin, anywhere = self._templates
        near = [template for template in begin.get(text[:3], ()) if template.longest in text]
        near += [template for template in anywhere if template.longest in text]
        near.sort(key=lambda template: (-template.letters, -template.length))
        return iter(near)

    @cached_property
    def _templates(self) -> tuple[Mapping[str, list[_Template]], list[_Template]]:
        """Those that begin with letters, by the first three of them; and those that may begin with anything."""
        begin: dict[str, list[_Template]] = {}
        anywhere: list[_Template] = []
        for source, translated in self._catalogue.items():
            if _HOLE.search(source):
                template = _Template.of(source, translated)
                start = template.pieces[0][:3]
                (begin.setdefault(start, []) if len(start) == 3 else anywhere).append(template)
        return begin, anywhere


def _is_likely(template: _Template, values: Sequence[str], said: Sequence[str]) -> bool:
    """Whether a sentence with few fixed letters is meant: it begins with them, or its values are numbers or known."""
    if len(template.pieces[0]) > 1 and template.pieces[0][0].isalpha():
        return True
    known = [_IS_NAME.fullmatch(value) or value != other for value, other in zip(values, said, strict=True)]
    return all(known) if template.letters < FEEBLE_LETTERS else any(known)


def _filled(target: Sequence[str], values: Mapping[int, str]) -> str:
    """The translation with its values, set as such texts are: no space between wide letters, one beside Latin ones."""
    text = target[0]
    for number, piece in zip(target[1::2], target[2::2], strict=True):
        value = values.get(int(number), "")
        if piece[:1] in tuple(_STOPS):
            value = value.rstrip("。")
        text = _beside(_beside(text, value), piece)
    return text


def _beside(left: str, right: str) -> str:
    if not left or not right:
        return left + right
    edge = left[-2:] + right[:2]
    if _SPACE_BETWEEN_WIDE.search(edge):
        return left.rstrip(" ") + right.lstrip(" ")
    return f"{left} {right}" if _IDEOGRAPH_MEETS_LATIN.search(left[-1] + right[0]) else left + right
