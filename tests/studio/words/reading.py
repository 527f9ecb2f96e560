"""Reads the sentences that a module can show out of its source: every text, with what is put into it as holes.

A function is walked in order, so that a sentence made in steps (``message = "…"``, then ``message += "."``) is known
whole, once for each way that the ``if`` statements can go. What cannot be known (numbers, names) is a hole.
"""

import ast
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

HOLE = "\x00"
MOST_WAYS = 48

_GLUE = re.compile(r"^[\s.,;:)]|\s$")
_IMPOSSIBLE = re.compile(r"  |\(\)|: ?\.$|^\W*$")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+(?=[A-Z“\"'(\x00])")
_LETTER = re.compile(r"[A-Za-z]")
# fmt: off
_SILENT_CALLS = frozenset((
    "compile", "split", "rsplit", "partition", "rpartition", "startswith", "endswith", "removeprefix",
    "removesuffix", "encode", "decode", "getattr", "hasattr", "setattr", "cast", "open", "find", "count",
    "environ", "get_close_matches", "TypeVar", "debug", "tr", "tr_count", "glob", "rglob", "setObjectName",
    "setProperty", "setStyleSheet", "namedtuple", "setting", "Choice", "When", "filterwarnings", "import_module",
))
# fmt: on

Ways = tuple[str, ...]


@dataclass
class _Scope:
    """What the names of a function can stand for."""

    texts: dict[str, Ways] = field(default_factory=dict)

    def copy(self) -> "_Scope":
        return _Scope(dict(self.texts))

    def join(self, *others: "_Scope") -> None:
        """Afterwards every name may stand for what it is in any of ``others``."""
        names = dict.fromkeys(name for other in others for name in other.texts)
        ways = {name: [way for other in others for way in other.texts.get(name, ())] for name in names}
        self.texts = {name: tuple(dict.fromkeys(found))[:MOST_WAYS] for name, found in ways.items()}


@dataclass
class Reader:
    """One module: `found` holds its texts with the line each begins on; `returned` what its functions can return."""

    tree: ast.Module
    found: dict[str, int] = field(default_factory=dict)
    returned: dict[str, Ways] = field(default_factory=dict)
    _constants: _Scope = field(default_factory=_Scope)
    _functions: list[tuple[str, list[Ways | None]]] = field(default_factory=list)

    def read(self) -> Mapping[str, int]:
        """Walks the module twice: the second time it knows what the module's own functions can return."""
        for _ in range(2):
            self.found = {}
            self._constants = _Scope()
            self._block(self.tree.body, self._constants)
        return self.found

    # ------------------------------------------------------------------------------------------------- statements

    def _block(self, body: Iterable[ast.stmt], scope: _Scope) -> None:
        for statement in body:
            self._statement(statement, scope)

    def _statement(self, statement: ast.stmt, scope: _Scope) -> None:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self._function(statement)
            case ast.ClassDef():
                self._block(statement.body, _Scope())
            case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
                pass
            case ast.Assign(targets=[target], value=value):
                self._assign(target, value, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, value, scope)
            case ast.AugAssign(target=ast.Name(id=name), value=value, op=ast.Add()):
                self._inside(value, scope)
                old, new = scope.texts.get(name), self._ways(value, scope)
                if old is not None:
                    scope.texts[name] = _joined([old, new or (HOLE,)])
                elif new:
                    self._emit(new, value)
            case ast.If():
                self._expression(statement.test, scope)
                then, other = scope.copy(), scope.copy()
                self._block(statement.body, then)
                self._block(statement.orelse, other)
                ended = (_ends(statement.body), _ends(statement.orelse))
                going = [way for way, stops in zip((then, other), ended, strict=True) if not stops]
                scope.join(*(going or [then, other]))
            case ast.Return(value=ast.expr() as value):
                ways = self._ways(value, scope)
                name, returns = self._functions[-1]
                returns.append(ways)
                if ways and _is_glue(self.returned.get(name, ())):
                    self._inside(value, scope)
                else:
                    self._expression(value, scope)
            case _:
                self._other(statement, scope)

    def _other(self, statement: ast.stmt, scope: _Scope) -> None:
        for part in ast.iter_child_nodes(statement):
            if isinstance(part, ast.expr):
                self._expression(part, scope)
            elif isinstance(part, ast.withitem):
                self._expression(part.context_expr, scope)
        begin = scope.copy()
        ends = [] if isinstance(statement, ast.With | ast.Match) else [scope.copy()]
        blocks = [statement.body + getattr(statement, "orelse", [])] if hasattr(statement, "body") else []
        blocks += [handler.body for handler in getattr(statement, "handlers", [])]
        blocks += [case.body for case in getattr(statement, "cases", [])]
        for block in blocks:
            inner = begin.copy()
            self._block(block, inner)
            if not _ends(block):
                ends.append(inner)
        scope.join(*(ends or [begin]))
        self._block(getattr(statement, "finalbody", []), scope)

    def _function(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._functions.append((function.name, []))
        self._block(function.body, _Scope())
        _, returns = self._functions.pop()
        known = [ways for ways in returns if ways]
        if known and len(known) == len(returns):
            self.returned[function.name] = tuple(dict.fromkeys(itertools.chain.from_iterable(known)))[:MOST_WAYS]

    def _assign(self, target: ast.expr, value: ast.expr, scope: _Scope) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            for name, part in zip(target.elts, value.elts, strict=True):
                self._assign(name, part, scope)
            return
        ways = self._ways(value, scope) if isinstance(target, ast.Name) else None
        if isinstance(target, ast.Name) and ways:
            self._inside(value, scope)
            scope.texts[target.id] = ways
            if scope is self._constants:  # other modules may use it
                self._emit(ways, value)
            return
        for part_of_target in ast.walk(target):
            if isinstance(part_of_target, ast.Name):
                scope.texts.pop(part_of_target.id, None)
        self._expression(value, scope)

    # ------------------------------------------------------------------------------------------------ expressions

    def _expression(self, expression: ast.expr, scope: _Scope) -> None:
        """Notes every text that is used in an expression."""
        ways = self._ways(expression, scope)
        if ways:
            self._emit(ways, expression)
            self._inside(expression, scope)
            return
        match expression:
            case ast.Compare() | ast.Constant() | ast.Name():
                pass
            case ast.Lambda(body=body):
                self._expression(body, scope)
            case ast.Subscript(value=value):
                self._expression(value, scope)
            case ast.Dict(values=values):
                for value in values:
                    self._expression(value, scope)
            case ast.Call() if _called(expression) in _SILENT_CALLS:
                self._silent(expression, scope)
            case _:
                for part in ast.iter_child_nodes(expression):
                    self._part(part, scope)

    def _part(self, part: ast.AST, scope: _Scope) -> None:
        if isinstance(part, ast.expr):
            self._expression(part, scope)
        elif isinstance(part, ast.keyword):
            self._expression(part.value, scope)
        elif isinstance(part, ast.comprehension):
            self._expression(part.iter, scope)

    def _silent(self, call: ast.Call, scope: _Scope) -> None:
        """A call whose own texts nobody sees; texts of calls inside it may be seen."""
        if isinstance(call.func, ast.Attribute):
            self._expression(call.func.value, scope)
        for part in call.args + [keyword.value for keyword in call.keywords]:
            if not isinstance(part, ast.Constant | ast.JoinedStr | ast.BinOp | ast.IfExp):
                self._expression(part, scope)

    def _inside(self, expression: ast.expr, scope: _Scope) -> None:
        """Notes the texts that fill the holes of a text: “{count}” may itself be “3 rows”."""
        match expression:
            case ast.JoinedStr(values=values):
                bare = not any(isinstance(value, ast.Constant) and _LETTER.search(str(value.value)) for value in values)
                for value in values:
                    if isinstance(value, ast.FormattedValue):
                        ways = self._ways(value.value, scope)
                        if ways is None:
                            self._expression(value.value, scope)
                            continue
                        if self._piece(value, scope, whole=bare) == (HOLE,):
                            self._emit(ways, value)
                        self._inside(value.value, scope)
            case ast.BinOp(left=left, right=right, op=ast.Add()):
                for side in (left, right):
                    if self._ways(side, scope) is None:
                        self._expression(side, scope)
                    else:
                        self._inside(side, scope)
            case ast.IfExp(body=body, orelse=orelse):
                for side in (body, orelse):
                    if self._ways(side, scope) is None:
                        self._expression(side, scope)
                    else:
                        self._inside(side, scope)
            case _:
                pass

    def _ways(self, expression: ast.expr, scope: _Scope) -> Ways | None:
        """The texts that an expression can be; None where nothing of it is known."""
        match expression:
            case ast.Constant(value=str() as text):
                return (text,)
            case ast.JoinedStr(values=values):
                bare = not any(isinstance(value, ast.Constant) and _LETTER.search(str(value.value)) for value in values)
                return _joined([self._piece(value, scope, whole=bare) for value in values])
            case ast.BinOp(left=left, right=right, op=ast.Add()):
                sides = self._ways(left, scope), self._ways(right, scope)
                return _joined([side or (HOLE,) for side in sides]) if any(sides) else None
            case ast.IfExp(body=body, orelse=orelse):
                return self._either(body, orelse, scope)
            case ast.BoolOp(op=ast.Or(), values=[first, last]):
                return self._either(first, last, scope)
            case ast.Name(id=name):
                return scope.texts.get(name) or self._constants.texts.get(name)
            case ast.Call(func=ast.Name(id=name)):
                return self.returned.get(name) if _is_glue(self.returned.get(name, ())) else None
            case ast.Call(func=ast.Attribute(value=value, attr="rstrip" | "lstrip" | "strip")):
                return self._ways(value, scope)
            case _:
                return None

    def _either(self, first: ast.expr, second: ast.expr, scope: _Scope) -> Ways | None:
        sides = self._ways(first, scope), self._ways(second, scope)
        if not any(sides):
            return None
        return tuple(dict.fromkeys(itertools.chain.from_iterable(side or (HOLE,) for side in sides)))

    def _piece(self, value: ast.expr, scope: _Scope, *, whole: bool) -> Ways:
        if not isinstance(value, ast.FormattedValue):
            return self._ways(value, scope) or (HOLE,)
        if value.format_spec is not None or value.conversion != -1:
            return (HOLE,)
        ways = self._ways(value.value, scope)
        if not ways:
            return (HOLE,)
        direct = isinstance(value.value, ast.IfExp | ast.Constant)
        return ways if _is_glue(ways) or direct or whole else (HOLE,)

    def _emit(self, ways: Iterable[str], where: ast.expr) -> None:
        for text in ways:
            self.found.setdefault(text, where.lineno)


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _ends(body: list[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _is_glue(ways: Ways) -> bool:
    """Whether one of the texts is only a part of a sentence's flow, such as an ending or nothing at all."""
    return any(_GLUE.search(text) for text in ways)


def _joined(pieces: list[Ways]) -> Ways:
    ways = itertools.islice(itertools.product(*pieces), MOST_WAYS)
    return tuple(dict.fromkeys("".join(parts) for parts in ways))


def template(text: str) -> str:
    """A text as catalogues hold it: holes numbered, and without sentences that are nothing but a hole."""
    text = re.sub(f"{HOLE}+", HOLE, text).strip()
    sentences = _SENTENCE_END.split(text)
    while len(sentences) > 1 and sentences[0].strip(".") == HOLE:
        del sentences[0]
    if re.match(r"\x00 (“|[A-Z][a-z]* |[A-Z][a-z]+’)", text):
        text = text[2:]
    while text.endswith(" " + HOLE) and text[:-2].endswith((".", "!", "?")):
        text = text[:-2]
    numbers = itertools.count()
    return re.sub(HOLE, lambda _: f"{{{next(numbers)}}}", text)


def templates(source: str) -> Iterator[tuple[str, int]]:
    """The texts of a module's source as `template` makes them, with their lines.

    A way that leaves a gap (two spaces, empty brackets) is one that the program does not go, and is left out.
    """
    for text, line in Reader(ast.parse(source)).read().items():
        found = template(text)
        if not _IMPOSSIBLE.search(found):
            yield found, line
