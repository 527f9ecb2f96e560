"""Where chat templates run: the dialect that transformers 5 gives them, in a sandbox with a bounded appetite.

Templates come with models from anywhere, so they are treated as foreign code: no attributes beyond plain data, no
writing to what they are given, and limits to their time and to all that they may pile up (`core.data.jinja_limits`).
"""

import functools
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from core.data.jinja_limits import (
    check_call,
    check_operation,
    check_size,
    guarded_filters,
    guarded_format,
    security_error,
    usage,
    weigh,
)
from core.data.turn_watch import Turns, Watch, main_loop

_SHORT = 64
"""Texts up to here are not counted: each is written by a turn of a loop, of which there are only so many."""

_TURN = "turn-of-a-loop"  # said to no reader
"""The filter that counts turns. A template could name it in ``map`` alone, and then it counts all the same."""

_TURNS, _SUM, _JOINED = "turns-of-the-main-loop", "sum-of-texts", "joined-texts"
"""Filters that stand for parts of a template: what its main loop goes through, and chains of ``+`` and of ``~``."""

_TEXT = {str}
_DICT_NAMES = frozenset(dir(dict))
_LOOP_NAMES = frozenset(("depth", "depth0", "first", "index", "index0"))


def render(
    template: Any,
    variables: dict[str, Any],
    *,
    marks: tuple[str, str] = ("", ""),
    now: datetime | None = None,
    watch: Watch | None = None,
) -> str:
    """Renders a compiled template.

    Args:
        template: made by `compile_template`.
        variables: what it may read; plain data only.
        marks: texts to put around what stands between ``{% generation %}`` and ``{% endgeneration %}``.
        now: the time that ``strftime_now`` tells; None for the clock's.
        watch: what is to know how far the template has come; the variable ``messages`` knows it too.

    Raises:
        Exception: whatever the template provokes; `failures` lists what that may be.
    """
    from jinja2.runtime import new_context

    usage.begin(marks, now, watch)
    environment = template.environment
    # What `template.render` does, without copying all names twice: a training set is rendered some million times.
    names = {**environment.globals, **variables}
    context = new_context(environment, template.name, template.blocks, names, shared=True)
    if watch is None:
        return "".join(template.root_render_func(context))
    for piece in template.root_render_func(context):
        watch.pieces.append(piece)
    return "".join(watch.pieces)


@functools.lru_cache(maxsize=32)
def compile_template(source: str) -> Any:
    """A template ready to render, which keeps nothing of what it has rendered.

    The last ones are kept: making one takes as long as writing some hundred rows, and a row that cannot be written has
    the same template tried with tools as text, and “plain” beside it.

    Raises:
        jinja2.TemplateSyntaxError: it is not valid Jinja.
    """
    return _environment().from_string(source)


@functools.cache
def failures() -> tuple[type[Exception], ...]:
    """Everything that rendering a broken template, or a good one with unexpected data, is known to raise."""
    import jinja2

    return (
        jinja2.TemplateError,
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,
        TypeError,
        ValueError,
    )


@functools.cache
def _environment() -> Any:
    import jinja2.ext

    support = _support_type()
    environment = _environment_type(_watch(support.identifier))(
        trim_blocks=True, lstrip_blocks=True, extensions=[support, jinja2.ext.loopcontrols], finalize=_counted
    )
    _furnish(environment)
    return environment


def _environment_type(watch: Any) -> Any:
    from jinja2 import nodes
    from jinja2.runtime import LoopContext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """The sandbox with the watch on."""

        intercepted_binops = frozenset(["*", "**", "%"])  # a “+” never gets there

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            tree: nodes.Template = watch.visit(_with_main_loop(super()._parse(source, name, filename)))
            tree.set_environment(self)
            return tree

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

        def call(__self, __context: Any, __obj: Any, *arguments: Any, **named: Any) -> Any:  # noqa: N805, PYI063 (Jinja)
            check_call(__obj, arguments, named)
            return super().call(__context, __obj, *arguments, **named)

        def getattr(self, obj: Any, attribute: str) -> Any:
            if type(obj) is dict and attribute not in _DICT_NAMES:  # it can only be an entry
                return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
            if type(obj) is LoopContext:
                if attribute in _LOOP_NAMES:
                    return getattr(obj, attribute)
                usage.look_ahead()
            return super().getattr(obj, attribute)

        getitem = _watched_entries(ImmutableSandboxedEnvironment.getitem, LoopContext)

        def wrap_str_format(self, value: Any) -> Any:
            wrapped = super().wrap_str_format(value)
            if wrapped is not None:
                guarded_format(value.__self__)
            return wrapped

    return Environment


def _watched_entries(getitem: Callable[..., Any], loop: type) -> Any:
    """The way in which templates get at what they name in brackets; most of it are entries of dictionaries."""

    def watched(self: Any, obj: Any, argument: Any) -> Any:
        if type(obj) is dict and type(argument) is str and argument in obj:
            return obj[argument]
        if type(obj) is loop:
            usage.look_ahead()
        return getitem(self, obj, argument)

    return watched


def _furnish(environment: Any) -> None:
    """Gives templates the filters and functions that they may use."""
    import jinja2

    environment.filters["tojson"] = _tojson
    environment.filters = guarded_filters(environment.filters)
    environment.filters[_TURN] = jinja2.pass_context(lambda _, characters: usage.turn(max(0, characters)))
    environment.filters |= {_TURNS: _in_main_loop, _SUM: _sum, _JOINED: _joined}
    environment.globals.pop("lipsum")  # filler text of any length
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_Dict(), namespace=_namespace_type()
    )


def _support_type() -> Any:
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Support(Extension):
        """The ``generation`` tag, and the calls that a watched template makes."""

        tags = {"generation"}  # noqa: RUF012 (the name and kind that Jinja asks for)

        def parse(self, parser: Any) -> nodes.Node:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.CallBlock(self.call_method("mark"), [], [], body).set_lineno(line)

        def mark(self, caller: Any) -> str:
            return f"{usage.opening}{caller()}{usage.closing}"

        def weigh(self, value: object) -> Any:
            return weigh(value)

    return Support


def _watch(support: str) -> Any:
    """Rewrites a parsed template so that loops and macros count their turns, and sums and lists check their size."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
        method = nodes.ExtensionAttribute(support, name, lineno=line)
        return nodes.Call(method, arguments, [], None, None, lineno=line)

    def applied(name: str, parts: list[nodes.Expr], line: int) -> nodes.Filter:
        return nodes.Filter(parts[0], name, parts[1:], [], None, None, lineno=line)

    class Watcher(NodeTransformer):
        def counted(self, node: Any) -> Any:
            self.generic_visit(node)
            size = nodes.Const(_fixed_text(node.body), lineno=node.lineno)
            # A filter, which is called at once, where the sandbox looks at every other call.
            turn = nodes.Filter(size, _TURN, [], [], None, None, lineno=node.lineno)
            node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
            return node

        visit_For = visit_Macro = counted  # noqa: N815 (Jinja's names)

        def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (Jinja's name)
            self.generic_visit(node)
            return applied(_JOINED, node.nodes, node.lineno)

        def visit_Add(self, node: nodes.Add) -> nodes.Node:  # noqa: N802 (Jinja's name)
            parts: list[nodes.Expr] = []
            left: nodes.Expr = node
            while isinstance(left, nodes.Add):
                parts.append(self.visit(left.right))
                left = left.left
            return applied(_SUM, [self.visit(left), *reversed(parts)], node.lineno)

        def weighed(self, node: Any) -> Any:
            self.generic_visit(node)
            return call("weigh", [node], node.lineno) if getattr(node, "ctx", "load") == "load" else node

        visit_List = visit_Dict = visit_Tuple = weighed  # noqa: N815 (Jinja's names)

    return Watcher()


def _fixed_text(body: list[Any]) -> int:
    """How much text a turn of a loop may write at most beside what it says in braces; inner loops count their own."""
    from jinja2 import nodes

    size, waiting = 0, list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, nodes.TemplateData):
            size += len(node.data)
        elif not isinstance(node, nodes.For | nodes.Macro):
            waiting += node.iter_child_nodes()
    return size


def _with_main_loop(tree: Any) -> Any:
    """A parsed template whose main loop says so when it begins."""
    from jinja2 import nodes

    loop = main_loop(tree.body)
    if loop is not None:
        loop.iter = nodes.Filter(loop.iter, _TURNS, [], [], None, None, lineno=loop.lineno)
    return tree


def _in_main_loop(value: Any) -> Any:
    """What the main loop is about to go through."""
    if type(value) is Turns:
        value.is_in_main_loop = True
    return value


def _sum(first: Any, *others: Any) -> Any:
    """What a chain of ``+`` gives: nearly always a text."""
    if type(first) is str and {*map(type, others)} == _TEXT:
        check_size(len(first) + sum(map(len, others)))
        return first + "".join(others)
    for part in others:
        check_operation("+", first, part)
        first = first + part
    return first


def _joined(*parts: object) -> str:
    """What a chain of ``~`` gives."""
    texts = [part if isinstance(part, str) else str(weigh(part)) for part in parts]
    check_size(sum(map(len, texts)))
    return "".join(texts)


def _counted(value: object) -> object:
    """What a template writes, on its way into the text."""
    text = value if type(value) is str else str(weigh(value))
    if len(text) > _SHORT:
        usage.write(len(text))
    return text


def _raise_exception(message: object) -> None:
    """The function by which a template refuses its input."""
    import jinja2

    raise jinja2.TemplateError(str(message))


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON without the HTML escapes of Jinja's own filter."""
    weigh(value)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _strftime_now(format: str) -> str:  # noqa: A002 (templates may pass it by name)
    # The wall clock without a zone, because a template that asks for %Z gets an empty text in transformers.
    return (usage.now or datetime.now()).strftime(format)  # noqa: DTZ005


class _Dict:
    """``dict`` for templates: makes dictionaries and has no attributes to climb on."""

    def __call__(self, *arguments: Any, **named: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = weigh(dict(*arguments, **named))
        return made

    def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
        made: dict[Any, Any] = weigh(dict.fromkeys(*arguments))
        return made


def _namespace_type() -> type:
    from jinja2.utils import Namespace

    class TemplateNamespace(Namespace):
        """Jinja's namespace without names that begin with an underscore."""

        def __init__(*arguments: Any, **named: Any) -> None:
            self, *rest = arguments
            values = dict(*rest, **named)
            for name in values:
                _check_name(name)
            Namespace.__init__(self, values)

        def __setitem__(self, name: str, value: Any) -> None:
            _check_name(name)
            super().__setitem__(name, value)

    return TemplateNamespace


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise security_error(f"a namespace may not hold “{name}”, a name that begins with an underscore")
