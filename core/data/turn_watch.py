"""How far a template has come when it takes the next turn, so that the beginnings of a conversation need no rendering.

The answers of a conversation are found by what a template writes up to them. For most templates that is what it has
written when its loop takes the answer, and what stands behind the loop; then one rendering tells it for all answers. It
is so where nothing that the template does before depends on the turns behind. Whether that holds is not guessed: the
list of turns watches what the template looks at while it is rendered, and one look ahead, such as at the length of the
list or at ``loop.last``, means that nothing is said. What stands behind the loop must be the same for all
conversations, which the shape of the template shows.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

GENERATION = "add_generation_prompt"
_GIVEN = frozenset(("messages", "tools", "documents"))
"""Variables that differ between rows."""


@dataclass(slots=True)
class Watch:
    """What is known of one rendering.

    Attributes:
        pieces: what has been written.
        looked_ahead: the template has looked at something that a shorter conversation would not show it.
        reached: the number of the turn that the loop has taken last.
        least: of conversations of no more turns nothing is said: the template has asked for what stands behind them.
        places: for each turn how many pieces there were when the loop took it; for the number of all turns, when it
            found no more.
    """

    pieces: list[str] = field(default_factory=list)
    looked_ahead: bool = False
    reached: int = 0
    least: int = 0
    places: dict[int, int] = field(default_factory=dict)

    def lengths(self) -> Mapping[int, int]:
        """How many characters were written up to each turn; empty where that says nothing."""
        if self.looked_ahead:
            return {}
        sizes = [0, *itertools.accumulate(map(len, self.pieces))]
        return {turn: sizes[place] for turn, place in self.places.items() if turn > self.least}


class Turns(list[Any]):
    """The turns of a conversation as a template sees them; the same as a list, and it notices a look ahead.

    A slice that leaves out nothing but the first turns is watched like the whole.
    """

    def __init__(self, turns: Sequence[Any], watch: Watch, first: int = 0) -> None:
        super().__init__(turns)
        self.watch, self._first = watch, first
        self.is_in_main_loop = False

    def __iter__(self) -> Iterator[Any]:
        if not self.is_in_main_loop:
            self.watch.looked_ahead = True
            return super().__iter__()
        self.is_in_main_loop = False
        if self.watch.places:  # a second time
            self.watch.looked_ahead = True
        return self._one_by_one()

    def _one_by_one(self) -> Iterator[Any]:
        watch = self.watch
        number = self._first
        for turn in super().__iter__():
            watch.reached = number
            watch.places[number] = len(watch.pieces)
            yield turn
            number += 1
        watch.places[number] = len(watch.pieces)

    def __getitem__(self, place: Any) -> Any:
        if type(place) is int and 0 <= place <= self.watch.reached - self._first:
            return super().__getitem__(place)
        if type(place) is slice and _leaves_out_the_first(place):
            self.watch.least = max(self.watch.least, self._first + place.start)
            return Turns(super().__getitem__(place), self.watch, self._first + place.start)
        self.watch.looked_ahead = True
        return super().__getitem__(place)

    def __bool__(self) -> bool:
        return super().__len__() > 0


def _leaves_out_the_first(place: slice) -> bool:
    return place.stop is None and place.step is None and type(place.start) is int and place.start >= 0


def _noticed(name: str) -> Callable[..., Any]:
    plain = getattr(list, name)

    def method(self: Turns, *arguments: Any, **named: Any) -> Any:
        self.watch.looked_ahead = True
        return plain(self, *arguments, **named)

    return method


for _name in (
    "__len__", "__contains__", "__reversed__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__add__",
    "__mul__", "__rmul__", "__repr__", "__str__", "__format__", "__reduce_ex__", "copy", "index", "count",
):  # fmt: skip
    setattr(Turns, _name, _noticed(_name))


def main_loop(body: Sequence[Any]) -> Any | None:
    """The loop of a parsed template that writes the turns, if what stands behind it is the same for all conversations.

    That is the last thing in the template with a loop in it, provided that it is a loop itself, that whether an answer
    is asked for does not matter before its end, and that nothing behind it depends on rows or on what came before.

    Args:
        body: the nodes of the template's outermost level.
    """
    from jinja2 import nodes

    loops = [place for place, node in enumerate(body) if isinstance(node, nodes.For) or any(node.find_all(nodes.For))]
    loop = body[loops[-1]] if loops else None
    if not isinstance(loop, nodes.For) or loop.test or loop.recursive:
        return None
    before, behind = body[: loops[-1] + 1], body[loops[-1] + 1 :]
    written = {name.name for node in body for name in _names(node) if name.ctx != "load"}
    if any(name.name == GENERATION for node in before for name in _names(node)):
        return None
    if any(name.name in _GIVEN or name.name in written for node in behind for name in _names(node)):
        return None
    simple = (
        nodes.Output, nodes.TemplateData, nodes.If, nodes.CondExpr, nodes.Const, nodes.Name, nodes.Compare,
        nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Test, nodes.Add, nodes.Concat,
    )  # fmt: skip
    return loop if all(_is_made_of(node, simple) for node in behind) else None


def _names(node: Any) -> Iterator[Any]:
    from jinja2 import nodes

    if isinstance(node, nodes.Name):
        yield node
    yield from node.find_all(nodes.Name)


def _is_made_of(node: Any, kinds: tuple[type, ...]) -> bool:
    return type(node) in kinds and all(_is_made_of(child, kinds) for child in node.iter_child_nodes())
