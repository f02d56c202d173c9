"""How a number is said, in one place for every form of a report.

Imports nothing of convspec.
"""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun.

    Examples
    --------
    >>> counted(1, "cell"), counted(1_200, "cell"), counted(2, "deviation holds", "deviations hold")
    ('1 cell', '1,200 cells', '2 deviations hold')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def broken(clauses: int, cells: int, verb: str = "") -> str:
    """Return the sentence that decides a run: `verb` is what became of the clauses, if they are not just broken.

    Examples
    --------
    >>> broken(1, 4)
    '1 MUST clause is broken, in 4 cells.'
    >>> broken(2, 1, "came to be broken")
    '2 MUST clauses came to be broken, in 1 cell.'
    """
    verb = verb or ("is broken" if clauses == 1 else "are broken")
    return f"{counted(clauses, 'MUST clause')} {verb}, in {counted(cells, 'cell')}."


def unbroken(unasked: Sequence[str] = ()) -> str:
    """Return the sentence that decides a run in which nothing is broken; of what was never asked it says nothing good.

    Examples
    --------
    >>> unbroken()
    'No MUST clause is broken.'
    >>> unbroken(["torch:cuda", "jax:gpu"])
    'No MUST clause is broken, but nothing was asked of torch:cuda and jax:gpu.'
    """
    return "No MUST clause is broken" + (f", but nothing was asked of {' and '.join(unasked)}." if unasked else ".")


def stale(number: int) -> str:
    """Return the sentence about declared deviations that do not show any more, without its stop.

    Examples
    --------
    >>> stale(1)
    '1 known deviation no longer holds'
    """
    return counted(number, "known deviation no longer holds", "known deviations no longer hold")
