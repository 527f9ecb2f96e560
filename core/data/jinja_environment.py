"""Where chat templates run: the dialect that transformers 5 gives them, in a sandbox with a bounded appetite.

Templates come with models from anywhere, so they are treated as foreign code: no attributes beyond plain data, no
writing to what they are given, a limit to how often they may loop and how much text they may pile up.
"""

import functools
import json
import threading
from datetime import datetime
from typing import Any

_MOST_TURNS = 1_000_000
_MOST_CHARACTERS = 64 * 1024 * 1024
_MOST_BITS = 10_000


class _Rendering(threading.local):
    """What the rendering at work in this thread has used up, and how it wants generated parts marked."""

    turns = 0
    opening = ""
    closing = ""
    now: datetime | None = None


_rendering = _Rendering()


def render(
    template: Any, variables: dict[str, Any], *, marks: tuple[str, str] = ("", ""), now: datetime | None = None
) -> str:
    """Renders a compiled template.

    Args:
        template: made by `compile_template`.
        variables: what it may read; plain data only.
        marks: texts to put around what stands between ``{% generation %}`` and ``{% endgeneration %}``.
        now: the time that ``strftime_now`` tells; None for the clock's.

    Raises:
        Exception: whatever the template provokes; `failures` lists what that may be.
    """
    _rendering.turns = 0
    _rendering.opening, _rendering.closing = marks
    _rendering.now = now
    text: str = template.render(**variables)
    return text


def compile_template(source: str) -> Any:
    """A template ready to render.

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
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    support = _support_type()
    watch = _watch(support.identifier)

    class Environment(ImmutableSandboxedEnvironment):
        """The sandbox with the watch on."""

        intercepted_binops = frozenset(["+", "*", "**"])

        def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
            tree: nodes.Template = watch.visit(super()._parse(source, name, filename))
            tree.set_environment(self)
            return tree

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            _check_operation(operator, left, right)
            return super().call_binop(context, operator, left, right)

    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=[support, jinja2.ext.loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals.update(
        raise_exception=_raise_exception, strftime_now=_strftime_now, dict=_Dict(), namespace=_namespace_type()
    )
    return environment


def _support_type() -> Any:
    import jinja2
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
            return f"{_rendering.opening}{caller()}{_rendering.closing}"

        def turn(self) -> None:
            _rendering.turns += 1
            if _rendering.turns > _MOST_TURNS:
                raise jinja2.TemplateError(f"the template loops more than {_MOST_TURNS:,} times")

        def join(self, *parts: object) -> str:
            texts = [str(part) for part in parts]
            _check_size(sum(map(len, texts)))
            return "".join(texts)

    return Support


def _watch(support: str) -> Any:
    """Rewrites a parsed template so that loops and macros count their turns and every ``~`` checks its size."""
    from jinja2 import nodes
    from jinja2.visitor import NodeTransformer

    def call(name: str, arguments: list[nodes.Expr], line: int) -> nodes.Call:
        method = nodes.ExtensionAttribute(support, name, lineno=line)
        return nodes.Call(method, arguments, [], None, None, lineno=line)

    class Watch(NodeTransformer):
        def counted(self, node: Any) -> Any:
            self.generic_visit(node)
            node.body.insert(0, nodes.ExprStmt(call("turn", [], node.lineno), lineno=node.lineno))
            return node

        visit_For = visit_Macro = counted  # noqa: N815 (Jinja's names)

        def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 (Jinja's name)
            self.generic_visit(node)
            return call("join", node.nodes, node.lineno)

    return Watch()


def _check_operation(operator: str, left: object, right: object) -> None:
    """Refuses sums, products and powers that would fill the memory."""
    if operator == "+":
        if isinstance(left, str) and isinstance(right, str):
            _check_size(len(left) + len(right))
    elif operator == "**":
        if isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > _MOST_BITS:
            raise _security_error("a power in the template is too large")
    else:
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                _check_size(len(many) * times)


def _check_size(characters: int) -> None:
    if characters > _MOST_CHARACTERS:
        raise _security_error(f"the template makes a text of more than {_MOST_CHARACTERS:,} characters")


def _security_error(message: str) -> Exception:
    import jinja2.exceptions

    return jinja2.exceptions.SecurityError(message)


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
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _strftime_now(format: str) -> str:  # noqa: A002 (templates may pass it by name)
    # The wall clock without a zone, because a template that asks for %Z gets an empty text in transformers.
    return (_rendering.now or datetime.now()).strftime(format)  # noqa: DTZ005


class _Dict:
    """``dict`` for templates: makes dictionaries and has no attributes to climb on."""

    def __call__(self, *arguments: Any, **named: Any) -> dict[Any, Any]:
        return dict(*arguments, **named)

    def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
        return dict.fromkeys(*arguments)


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
        raise _security_error(f"a namespace may not hold “{name}”, a name that begins with an underscore")
