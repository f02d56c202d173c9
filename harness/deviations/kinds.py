"""What kind of value each part of a predicate has, told from its text: what could break in a run is refused before.

May import nothing of ours. A word may stand behind an `or` that no witness gets past, so that trying an expression on
one call proves little: every part is looked at here, on its own.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

#: NUMBER is a whole number or a truth value; a tuple of kinds is that of a tuple.
NUMBER, TEXT = "a number", "text"
Kind = str | tuple[Any, ...]
#: Whole numbers from this on are no attribute of any call.
LARGEST = 2**63
#: Words that are never zero in a valid call, so that one may divide by them.
POSITIVE = ("groups", "kernel", "strides", "dilations", "extent")
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


class KindError(Exception):
    """A part of an expression that has no value; the message says which and why."""


def of_value(value: Any) -> Kind:
    """The kind of a value that a word may have.

    >>> of_value((1, 2)), of_value("SAME"), of_value(True)
    (('a number', 'a number'), 'text', 'a number')
    """
    if isinstance(value, tuple):
        return tuple(map(of_value, value))
    return TEXT if isinstance(value, str) else NUMBER


def kind(  # noqa: PLR0911, PLR0912 - a branch for each kind of node
    node: ast.AST, words: Mapping[str, Kind], functions: tuple[str, ...]
) -> Kind:
    """The kind of an expression over `words`, where `functions` may be called.

    >>> kind(ast.parse("max(strides) > 1", mode="eval").body, {"strides": (NUMBER, NUMBER)}, ("max",))
    'a number'

    Raises
    ------
    KindError
        Some part of it has no value, or could have none in some call.
    """

    def of(child: ast.AST) -> Kind:
        return kind(child, words, functions)

    match node:
        case ast.Constant(value=value):
            return _constant(value)
        case ast.Name(id=name) if name in functions:
            raise KindError(f"{name} is a function: call it, as in {name}(strides)")
        case ast.Name(id=name):
            return words[name]
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return tuple(map(of, items))
        case ast.BoolOp(values=values):
            for value in values:
                of(value)
            return NUMBER
        case ast.UnaryOp(op=operation, operand=operand):
            if isinstance(operation, ast.USub) and of(operand) != NUMBER:
                raise KindError(f"{_told(node)}: {_said(operand, of(operand))}; only a number has a negative")
            return of(operand) and NUMBER
        case ast.BinOp(left=left, op=operation, right=right):
            return _arithmetic(node, operation, of(left), of(right), left, right)
        case ast.Subscript(value=value, slice=index):
            return _element(node, of(value), value, index)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _call(node, name, list(map(of, arguments)))
        case ast.Compare(left=left, ops=comparisons, comparators=others):
            sides = [left, *others]
            for comparison, one, other in zip(comparisons, sides, others, strict=False):
                _compared(node, comparison, (one, of(one)), (other, of(other)))
            return NUMBER
    raise KindError(f"{_told(node)} may not stand in a predicate")


def _constant(value: object) -> Kind:
    if not isinstance(value, (int, str)) or (isinstance(value, int) and value >= LARGEST):
        raise KindError(f"{str(value)[:40]} may not stand in a predicate: only text and whole numbers below 2**63")
    return of_value(value)


def _arithmetic(node: ast.AST, operation: ast.operator, one: Kind, other: Kind, left: ast.AST, right: ast.AST) -> Kind:
    if isinstance(operation, ast.Add) and isinstance(one, tuple) and isinstance(other, tuple):
        return one + other
    for side, found in ((left, one), (right, other)):
        if found != NUMBER:
            raise KindError(f"{_told(node)}: {_said(side, found)}; arithmetic is for numbers")
    if isinstance(operation, (ast.FloorDiv, ast.Mod)) and not _never_zero(right):
        raise KindError(f"{_told(node)}: {ast.unparse(right)} may be zero; divide by a number, {', '.join(POSITIVE)}")
    return NUMBER


def _never_zero(node: ast.AST) -> bool:
    """Whether the value is known to be other than zero in every valid call."""
    match node:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Name(id=name):
            return name in POSITIVE
        case ast.UnaryOp(op=ast.USub(), operand=inner) | ast.Subscript(value=inner):
            return _never_zero(inner)
        case ast.Call(func=ast.Name(id="min" | "max"), args=arguments):
            return all(map(_never_zero, arguments))
    return False


def _element(node: ast.AST, whole: Kind, value: ast.AST, index: ast.AST) -> Kind:
    if not isinstance(whole, tuple):
        raise KindError(f"{_told(node)}: {_said(value, whole)}, which has no elements")
    match index:
        case ast.Constant(value=int(at)) | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(at))):
            at = at if isinstance(index, ast.Constant) else -at
            if -len(whole) <= at < len(whole):
                found: Kind = whole[at]
                return found
    raise KindError(f"{_told(node)}: {_said(value, whole)}; write which: 0 to {len(whole) - 1}")


def _call(node: ast.AST, name: str, arguments: list[Kind]) -> Kind:
    one = arguments[0] if len(arguments) == 1 else None
    if name == "len" and one is not None and (one == TEXT or isinstance(one, tuple)):
        return NUMBER
    if name in ("any", "all") and isinstance(one, tuple):
        return NUMBER
    if name in ("min", "max"):
        several = list(one) if isinstance(one, tuple) else arguments if len(arguments) > 1 else []
        if several and set(several) == {NUMBER}:
            return NUMBER
        raise KindError(f"{_told(node)}: {name} takes a pair, as in {name}(strides), or some numbers")
    raise KindError(f"{_told(node)}: {name} takes one tuple, as in {name}(strides)")


def _compared(node: ast.AST, operation: ast.cmpop, left: tuple[ast.AST, Kind], right: tuple[ast.AST, Kind]) -> None:
    (one, this), (other, that) = left, right
    if isinstance(operation, (ast.In, ast.NotIn)):
        if not isinstance(that, tuple) and (this, that) != (TEXT, TEXT):
            raise KindError(f"{_told(node)}: {_said(other, that)}, which nothing is in; name several, as in (1, 2)")
        return
    numbers = [isinstance(side, tuple) and set(side) == {NUMBER} for side in (this, that)]
    alike = all(numbers) if isinstance(operation, ORDER) else isinstance(this, tuple) and isinstance(that, tuple)
    if this == that and not isinstance(this, tuple):
        return
    if not alike:
        wide = one if isinstance(this, tuple) else other
        hint = f"; say which: min({ast.unparse(wide)}), max(...) or one of them" if any(numbers) else ""
        raise KindError(f"{_told(node)}: {_said(one, this)} and {_said(other, that)}{hint}")


def _said(node: ast.AST, found: Kind) -> str:
    what = f"{len(found)} values" if isinstance(found, tuple) else found
    return f"{_told(node)} is {what}"


def _told(node: ast.AST) -> str:
    """An expression in a message: not more of it than a line has room for."""
    text = ast.unparse(node)
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
