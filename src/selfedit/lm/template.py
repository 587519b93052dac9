"""Chat templates of models nobody vouches for: rendered as transformers renders them, within
bounds.

A template is a program. Sandboxed as transformers sandboxes it, it can still loop for hours,
recurse, or double a text until the memory is full. Here every turn of a loop and every call is a
step, every letter that is put together or written is counted, and numbers that sizes are made of
are small; a template that goes over a bound is refused.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, ValuesView
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

MAX_TEMPLATE = 2**16
MAX_STEPS = 200_000
MAX_LETTERS = 2**24
MAX_SECONDS = 1.0
"""Of this thread: comparisons and filters of long lists are single steps, and many take hours."""
_MAX_ITEMS = 2**18
"""Of a list with all within it, shared parts as often as they are written."""
_MAX_NUMBER = 100_000
_MAX_PRODUCT = 10**8
_MAX_BITS = 4096

_LEFT_OUT = ("pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr")
"""Filters that no prompt needs; some take time with the square of a text's length."""

TODAY = datetime(2024, 7, 26)
"""The date a template is told: Llama 3's own fallback. A prompt must be the same tomorrow."""


class OverLimit(Exception):
    """A template went over a bound."""


def render(template: str, values: Mapping[str, Any]) -> str:
    """What a chat template makes of these values.

    Raises:
        TemplateError: the template refuses them (`raise_exception`), or is none.
        OverLimit: it went over a bound of this module.
        Exception: whatever else a template's expressions raise.
    """
    if len(template) > MAX_TEMPLATE:
        raise OverLimit(f"it has {len(template):,} letters, more than {MAX_TEMPLATE:,}")
    compiled, environment = _compiled(template)
    environment.begin()
    return "".join(compiled.generate(**values))


# Compiling takes longer than rendering, and one model's template renders thousands of prompts.
@lru_cache(maxsize=16)
def _compiled(template: str) -> tuple[Any, _Bounded]:
    environment = _Bounded(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    return environment.from_string(_Counting().visit(environment.parse(template))), environment


class _GenerationBlock(Extension):
    """``{% generation %}``, which marks what an assistant says, writes what stands in it."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's own nodes."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Bounded(ImmutableSandboxedEnvironment):
    """transformers' environment with a budget, which begins anew with each rendering and is each
    thread's own.
    """

    # The sandbox calls call_binop for these only; all others run at full speed.
    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Compiled environments are shared by threads, and each renders its own text.
        self._budget = threading.local()
        # Filters bypass `call`, so each is wrapped by itself.
        self.filters = {name: self._checked(each) for name, each in self.filters.items()}
        for name in _LEFT_OUT:
            del self.filters[name]
        self.tests = {name: self._checked(each) for name, each in self.tests.items()}
        self.filters |= {"tojson": self._checked(_to_json), "join": self._join}
        # A global that makes as much text as one asks for.
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": _refuse_messages, "strftime_now": TODAY.strftime}

    def begin(self) -> None:
        """A new rendering."""
        self._budget.steps, self._budget.letters = 0, 0
        self._budget.start = time.thread_time()

    def step(self) -> str:
        """One turn of a loop, one call; writes nothing."""
        self._budget.steps += 1
        if self._budget.steps > MAX_STEPS:
            raise OverLimit(f"it takes more than {MAX_STEPS:,} steps")
        if not self._budget.steps % 32:
            self._check_time()
        return ""

    def bounded(self, items: Iterable[Any]) -> Iterator[Any]:
        """What a loop goes through, counted."""
        for item in items:
            self.step()
            yield item

    def weighed(self, value: Any) -> Any:
        """A value that was put together or is written, counted."""
        self._check_time()
        self._charge(sum(_text_sizes(value)))
        return value

    def joined(self, *values: Any) -> str:
        """``a ~ b``."""
        return "".join([str(self.weighed(value)) for value in values])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """``+ * ** %`` of values that stay small."""
        self.step()
        # At most 10**5 to the power of 64: some 320 digits.
        if operator == "**" and (not _is_small(right, 64) or not _is_small(left, _MAX_NUMBER)):
            raise OverLimit("it takes a high power")
        if operator == "*":
            self._check_product(left, right)
        if operator == "%" and isinstance(left, str):
            _check_format(left)
            self.weighed(right)
        return self.weighed(super().call_binop(context, operator, left, right))

    def call(self, context: Any, function: Any, /, *values: Any, **named: Any) -> Any:
        """Every call a template makes of its own."""
        self.step()
        subject = getattr(function, "__self__", None)
        if isinstance(subject, str):
            # str.join would go over its items uncounted.
            if len(values) == 1 and getattr(function, "__name__", "") == "join":
                return self._join(values[0], subject)
            tables = [value for value in values if isinstance(value, dict)]  # of str.translate
            parts = [part for table in tables for part in table.values()]
            _check_arguments((subject, *values, *named.values(), *parts))
        call = super().call
        value = call(context, function, *values, **named)  # pyright: ignore[reportCallIssue]
        return self.weighed(value)

    def wrap_str_format(self, value: Any) -> Any:
        """``str.format`` as the sandbox has it."""
        wrapped = super().wrap_str_format(value)
        if wrapped is not None:
            _check_format(value.__self__)
        return wrapped

    def _checked(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)  # keeps jinja2's mark of what is passed in front
        def checked(*values: Any, **named: Any) -> Any:
            self.step()
            for value in values:
                self.weighed(value)
            _check_arguments((*values, *named.values()))
            return self.weighed(function(*values, **named))

        return checked

    def _join(self, items: Iterable[Any], between: str = "", attribute: Any = None) -> str:
        parts: list[str] = []
        for item in self.bounded(items):
            value = item if attribute is None else self.getitem(item, attribute)
            parts += [between, str(value)] if parts else [str(value)]
            self._charge(len(between) + len(parts[-1]))
        return "".join(parts)

    def _check_product(self, left: Any, right: Any) -> None:
        sizes = [
            len(value) if isinstance(value, str | list | tuple) else None for value in (left, right)
        ]
        if sizes == [None, None]:
            if (
                all(isinstance(v, int) for v in (left, right))
                # Bits of a product are at most the sum of the factors' bits.
                and left.bit_length() + right.bit_length() > _MAX_BITS
            ):
                raise OverLimit("it makes a number of thousands of digits")
            return
        # Either side of * may be the text: 'a' * 3 and 3 * 'a'.
        times = right if sizes[0] is not None else left
        self._charge((sizes[0] or sizes[1] or 0) * (abs(times) if isinstance(times, int) else 0))

    def _check_time(self) -> None:
        if time.thread_time() - self._budget.start > MAX_SECONDS:
            raise OverLimit(f"it takes more than {MAX_SECONDS:.0f} second")

    def _charge(self, letters: int) -> None:
        self._budget.letters += letters
        if self._budget.letters > MAX_LETTERS:
            raise OverLimit(f"it writes more than {MAX_LETTERS:,} letters")


class _Counting(NodeTransformer):
    """Puts the budget's calls where the environment has no hook: loops, macros, what is written,
    ``a ~ b``.
    """

    def visit_For(self, node: nodes.For) -> nodes.For:
        """A loop: over counted items, and counted again within, for a recursive one."""
        self.generic_visit(node)
        # Turns of the loop, and its body again: a recursive loop calls itself without a new `for`.
        node.iter = _call("bounded", [node.iter])
        node.body.insert(0, nodes.Output([_call("step", [])]))
        return node

    def visit_Macro(self, node: nodes.Macro) -> nodes.Macro:
        """A macro may call itself."""
        self.generic_visit(node)
        node.body.insert(0, nodes.Output([_call("step", [])]))
        return node

    def visit_Output(self, node: nodes.Output) -> nodes.Output:
        """What is written, in the open or into a variable."""
        self.generic_visit(node)
        node.nodes = [
            # Constant text is the template's own, and its length is bounded already.
            each if isinstance(each, nodes.TemplateData) else _call("weighed", [each])
            for each in node.nodes
        ]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        """``a in b``, ``a == b``: as long as what is compared."""
        self.generic_visit(node)
        node.expr = _call("weighed", [node.expr])
        for operand in node.ops:
            operand.expr = _call("weighed", [operand.expr])
        return node

    def visit_List(self, node: nodes.List) -> nodes.Call:
        """``[a, a]``: doubled again and again it is a text that no memory holds."""
        self.generic_visit(node)
        return _call("weighed", [node])

    def visit_Dict(self, node: nodes.Dict) -> nodes.Call:
        """``{"a": a}``."""
        self.generic_visit(node)
        return _call("weighed", [node])

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Call | nodes.Tuple:
        """``(a, a)``, not the names that a loop or ``set`` gives values to."""
        self.generic_visit(node)
        return _call("weighed", [node]) if node.ctx == "load" else node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Call:
        """``a ~ b``."""
        self.generic_visit(node)
        return _call("joined", node.nodes)


def _call(name: str, values: list[Any]) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), values, [], None, None)


def _text_sizes(value: Any) -> list[int]:
    """The length of every text within a value, 1 for what is none.

    Raises:
        OverLimit: it has too many parts.
    """
    if isinstance(value, str):
        return [len(value)]
    sizes: list[int] = []
    waiting = [value]
    while waiting:
        item = waiting.pop()
        parts = item._Namespace__attrs if isinstance(item, Namespace) else item
        if isinstance(parts, Mapping):
            waiting += [*parts.keys(), *parts.values()]
        elif isinstance(parts, list | tuple | set | frozenset | ValuesView):
            waiting += parts
        sizes.append(len(item) if isinstance(item, str) else 1)
        if len(waiting) + len(sizes) > _MAX_ITEMS:
            raise OverLimit(f"it makes a list of more than {_MAX_ITEMS:,} parts")
    return sizes


def _check_arguments(values: Iterable[Any]) -> None:
    """Refuse texts and numbers that together make a huge text: ``center``, ``indent``,
    ``replace``, ``translate``.
    """
    values = list(values)
    texts = sorted((len(value) for value in values if isinstance(value, str)), reverse=True)
    # `indent` puts so many blanks before every line, `expandtabs` for every tab.
    lines = max((max(map(v.count, "\n\t")) + 1 for v in values if isinstance(v, str)), default=1)
    for number in values:
        if isinstance(number, int) and (
            abs(number) > _MAX_NUMBER or abs(number) * lines > _MAX_PRODUCT
        ):
            raise OverLimit("it asks for a text of a huge width")
    # replace(): every letter of a long text could become another long one.
    if len(texts) > 1 and texts[0] * texts[1] > _MAX_PRODUCT:
        raise OverLimit("it puts a long text into another")


def _check_format(text: str) -> None:
    # Widths of five digits and more, also as `*`, which takes them from an argument.
    if re.search(r"\d{5}|%[^a-zA-Z%]*\*", text):
        raise OverLimit("it formats with a huge width")


def _is_small(value: Any, most: int) -> bool:
    return isinstance(value, int | float) and abs(value) <= most


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse_messages(message: str) -> None:
    raise TemplateError(message)
