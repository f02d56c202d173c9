"""Predicates over a case: `where = "op == 'max_pool' and not fits"`, read and evaluated without Python's `eval`.

May import `cases` and the reference's geometry. A deviation says with one which calls it covers; the words it may use
are those of `WORDS`, comparisons, `and`, `or`, `not`, `in`, plain arithmetic and min, max, any, all, len.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from convspec.harness.cases.case import Case
from convspec.harness.cases.recipes import given
from convspec.harness.cases.windows import reads

from .kinds import TEXT, Kind, KindError, kind, of_value

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_CALLS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "any": any, "all": all, "len": len}


#: The longest and the deepest expression: what people write has a few hundred letters and five or six levels.
LONGEST, DEEPEST = 4000, 40


class PredicateError(Exception):
    """A predicate that cannot be read; the message says which word of it and what may stand there."""


def _holds(case: Case, test: Callable[[Any], Any]) -> bool:
    return any(bool(np.any(test(array.astype(np.float64)))) for array in given(case).values())


def _extent(case: Case, axis: int) -> int:
    return (case.kernel[axis] - 1) * case.dilations[axis] + 1


def _tapless(case: Case) -> bool:
    """Whether some window holds no pixel of the image."""
    if 0 in case.y:
        return False
    inside = ((at >= 0) & (at < case.x[1 + axis]) for axis in (0, 1) for at in [reads(case, axis)])
    return not all(bool(valid.any(axis=1).all()) for valid in inside)


#: What a predicate may speak of. `pads` are (top, bottom, left, right); `extent` is the effective kernel.
WORDS: dict[str, Callable[[Case], Any]] = {
    "op": lambda c: c.op,
    "dtype": lambda c: c.dtype,
    "batch": lambda c: c.x[0],
    "height": lambda c: c.x[1],
    "width": lambda c: c.x[2],
    "channels": lambda c: c.x[3],
    "filters": lambda c: c.filters,
    "kernel": lambda c: c.kernel,
    "strides": lambda c: c.strides,
    "dilations": lambda c: c.dilations,
    "groups": lambda c: c.groups,
    "bias": lambda c: c.bias,
    "padding": lambda c: c.padding if isinstance(c.padding, str) else "explicit",
    "pads": lambda c: (*c.window.pads[0], *c.window.pads[1]),
    "output": lambda c: tuple(c.window.output),
    "extent": lambda c: (_extent(c, 0), _extent(c, 1)),
    "empty": lambda c: 0 in c.y,
    "tapless": _tapless,
    "gradient": lambda c: c.op.endswith("_vjp"),
    "depthwise": lambda c: c.is_convolution and c.groups == c.x[3] > 1,
    "layout": lambda c: c.layout,
    "nan": lambda c: _holds(c, np.isnan),
    "infinite": lambda c: _holds(c, np.isinf),
    "recipe": lambda c: c.recipe,
}


class Predicate:
    """A condition on a case.

    >>> odd = Predicate("op == 'conv2d' and strides[0] > 1 and padding == 'SAME'")
    >>> odd(Case("conv2d", (1, 5, 6, 1), (3, 3), filters=1, strides=(2, 2), padding="SAME"))
    True
    >>> Predicate("stride > 1")
    Traceback (most recent call last):
    ...
    convspec.harness.deviations.predicate.PredicateError: unknown word 'stride'; did you mean 'strides'?

    `change` is the name of what makes a call invalid, for predicates over calls that have to be refused; it is empty
    for valid ones.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > LONGEST:
            raise PredicateError(f"an expression of {len(text)} letters; up to {LONGEST} are read")
        try:
            self._tree = ast.parse(text.strip() or "True", mode="eval").body
        except SyntaxError as error:
            raise PredicateError(f"{text!r} is no expression: {error.msg}") from None
        except (ValueError, MemoryError, RecursionError) as error:  # Python's own limits
            raise PredicateError(f"no expression that can be read: {error or type(error).__name__}") from None
        _check(self._tree)
        try:
            kind(self._tree, _words(), tuple(_CALLS))
        except KindError as error:
            raise PredicateError(str(error)) from None

    def __call__(self, case: Case, change: str = "") -> bool:
        """Whether the case is one of those that are meant."""
        return bool(_value(self._tree, case, change))


def _check(tree: ast.AST) -> None:
    """Refuse what a predicate may not hold, before any case is there."""
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):  # first, and without recursion: all that follows has some
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    if level:
        raise PredicateError(f"the expression is nested more than {DEEPEST} deep; simplify it")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in WORDS and node.id not in (*_CALLS, "change"):
            raise PredicateError(f"unknown word {node.id!r}; {_close(node.id)}")
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _CALLS):
            raise PredicateError(f"{ast.unparse(node.func)}(...) may not be called; only {', '.join(_CALLS)} may")
        for part in _parts(node):
            if not isinstance(part, _ALLOWED):
                raise PredicateError(f"{ast.unparse(node)!r}: {type(part).__name__} may not stand in a predicate")


@cache
def _words() -> dict[str, Kind]:
    """The kind of each word: that of its value in some case."""
    some = Case("conv2d", (1, 1, 1, 1), (1, 1), filters=1)
    return {name: of_value(value(some)) for name, value in WORDS.items()} | {"change": TEXT}


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """An expression and what it is made of that no `ast.expr` is: operators, and arguments by name."""
    if isinstance(node, ast.expr):
        yield node
        yield from (
            child for child in ast.iter_child_nodes(node) if not isinstance(child, (ast.expr, ast.expr_context))
        )


_ALLOWED = (
    ast.BoolOp, ast.UnaryOp, ast.Compare, ast.BinOp, ast.Name, ast.Constant, ast.Tuple, ast.List, ast.Subscript,
    ast.Call, ast.And, ast.Or, ast.Not, ast.USub, *_BINARY, *_COMPARE,
)  # fmt: skip


def _close(word: str) -> str:
    import difflib  # noqa: PLC0415 - only for a message

    close = difflib.get_close_matches(word, [*WORDS, "change"], 1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join([*WORDS, 'change'])}"


def _value(node: ast.AST, case: Case, change: str) -> Any:  # noqa: PLR0911 - one for each kind of node
    def of(child: ast.AST) -> Any:
        return _value(child, case, change)

    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return change if name == "change" else WORDS[name](case)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(of(item) for item in items)
        case ast.BoolOp(op=ast.And(), values=values):
            return all(of(value) for value in values)
        case ast.BoolOp(values=values):
            return any(of(value) for value in values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not of(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -of(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _BINARY[type(op)](of(left), of(right))
        case ast.Subscript(value=value, slice=index):
            return of(value)[of(index)]
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _CALLS[name](*(of(argument) for argument in arguments))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [of(left), *(of(other) for other in others)]
            return all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, values, values[1:], strict=False))
    raise AssertionError(f"{ast.unparse(node)!r} was let through by `_check`")
