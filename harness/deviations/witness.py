"""The witness of a deviation: the call that stands in a file, looked at before any run asks it.

May import the cases and the reference's arguments. A case believes what it is told, for it is made by strategies; a
witness is written by people, and one that cannot be asked must not be found out in the middle of a run.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from math import prod
from typing import Any

from convspec.harness.cases.case import BLOCKS, CONVOLUTIONS, POOLS, Case
from convspec.harness.cases.formats import FLOATS, INTEGERS
from convspec.harness.cases.invalid import CHANGES, Invalid
from convspec.harness.cases.recipes import RECIPES, given
from convspec.harness.process.layouts import LAYOUTS
from convspec.reference import arguments

from .entry import asked, case_of

#: Elements that an array of a witness may have: a witness is asked in every run.
MOST = 2**24
#: The largest number in a case: a size, a seed.
LARGEST = 2**63 - 1


class WitnessError(Exception):
    """A witness that is no call; the message says what of it is wrong and what may stand there."""


def witness(data: Any) -> Case | Invalid:
    """The call that a witness in a file stands for.

    >>> witness({"op": "max_pool", "x": [1, 1, 2, 1], "kernel": [1, 2], "recipe": "nan-in-xx"})
    Traceback (most recent call last):
    ...
    convspec.harness.deviations.witness.WitnessError: recipe is 'nan-in-xx'; did you mean 'nan-in-x'?

    Raises
    ------
    WitnessError
        It is no case, or one that no run can ask.
    """
    if not isinstance(data, dict):
        raise WitnessError(f"{str(data)[:60]} is no table such as {{ op = ..., x = [...], kernel = [...] }}")
    if "change" in data and set(data) != {"change", "case"}:
        raise WitnessError("an invalid call is { change = NAME, case = { ... } } and nothing else")
    try:
        made = asked(data)
    except Exception as error:  # whatever is wrong in a way that nobody thought of, it is told in one line
        raise WitnessError(f"it is no case: {type(error).__name__}: {error}") from None
    case = case_of(made)
    _words(case)
    _numbers(case)
    if isinstance(made, Invalid):
        _known("change", made.change, [name for name, change in CHANGES.items() if case.op in change.ops])
    try:
        _drawn(made)
    except WitnessError:
        raise
    except Exception as error:  # as above; a recipe may be for another operation, or for larger images
        raise WitnessError(f"it cannot be asked: {type(error).__name__}: {error}") from None
    return made


def _words(case: Case) -> None:
    _known("op", case.op, (*CONVOLUTIONS, *BLOCKS, *POOLS))
    _known("dtype", case.dtype, (*FLOATS, *INTEGERS))
    _known("recipe", case.recipe, RECIPES)
    _known("layout", case.layout, LAYOUTS)
    if not isinstance(case.bias, bool):
        raise WitnessError(f"bias is {case.bias!r}; it must be true or false")


def _known(name: str, value: object, known: Iterable[str]) -> None:
    names = list(known)
    if not isinstance(value, str) or value not in names:
        close = difflib.get_close_matches(str(value)[:100], names, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(names)}"
        raise WitnessError(f"{name} is {str(value)[:60]!r}; {hint}")


def _numbers(case: Case) -> None:
    for name, value, least in (("filters", case.filters, 0), ("groups", case.groups, 1), ("seed", case.seed, 0)):
        if type(value) is not int or not least <= value <= LARGEST:
            raise WitnessError(f"{name} is {str(value)[:60]!r}; it must be a whole number, {least} or more")
    lists = (
        ("x", case.x, 4, 0), ("kernel", case.kernel, 2, 1), ("strides", case.strides, 2, 1),
        ("dilations", case.dilations, 2, 1),
    )  # fmt: skip
    for name, values, length, least in lists:
        good = isinstance(values, tuple) and len(values) == length
        if not good or not all(type(n) is int and least <= n <= LARGEST for n in values):
            raise WitnessError(f"{name} is {str(values)[:60]}; it must be {length} whole numbers, {least} or more each")


def _drawn(made: Case | Invalid) -> None:
    """Draw its arrays once: they are small, and this is what a run will do."""
    case = case_of(made)
    if arguments.padding(case.padding) != case.padding:
        raise WitnessError(f"padding is {case.padding!r}; it must be {arguments.padding(case.padding)!r}")
    if case.is_convolution:
        arguments.fit(case.x, case.w, case.groups)
    if case.pool is not None and case.op not in BLOCKS:
        raise WitnessError(f"pool is {case.pool!r}; only {' and '.join(BLOCKS)} have one")
    shapes = {"x": case.x, "y": case.y} | ({"w": case.w} if case.is_convolution else {})
    for name, shape in shapes.items():
        if prod(shape) > MOST:
            raise WitnessError(f"{name} has the shape {list(shape)}; a witness has {MOST} elements at most")
    given(case)
    made.describe()
