"""The scoreboard: a results document, or several of the same backends, as one HTML file that needs nothing else.

May import the reports, the specification and, when asked for a page, Jinja2 (extra `page`). The template has the
table, so that it can be read and printed without JavaScript; what a click opens is data in the page.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from convspec.harness.options import no_jinja2
from convspec.harness.report.rows import is_training
from convspec.spec import Clause, clauses

from . import figures, history
from .board import LETTERS, Board
from .details import Details
from .prose import embedded, printable

__all__ = ["page"]

#: Words for what a clause may be, and how the six states are told.
MEANING = {
    "pass": "every case agreed",
    "fail": "a case disagreed",
    "deviation": "disagrees as is declared and known",
    "unsupported": "the backend says that it does not do this",
    "crash": "its process died or hung",
    "not run": "not asked",
}


def page(documents: Sequence[dict[str, Any]], text: Mapping[str, Clause] | None = None, *, book: str = "") -> str:
    """Return the page of the newest of some results documents; the others are its history.

    Parameters
    ----------
    documents
        Of `convspec check --json` or `convspec merge --json`, in any order, at least one.
    text
        The clauses, the specification's own if it is not given.
    book
        Address of the built documents, relative to the page or absolute, with the slash at its end: each clause is
        linked to its place in them. By default there is no such link.

    Raises
    ------
    ValueError
        There is no document, or one is of a training run.
    ImportError
        Jinja2 is not installed; the message says how to get it.

    Examples
    --------
    >>> from convspec.harness.report.results import document
    >>> from convspec.harness.verdict import Cell
    >>> made = document([Cell("groups", "MUST", "float32", "mine").to_dict()], {}, level="quick", seed=0)
    >>> "<h1>" in page([made])
    True
    """
    if fault := no_jinja2():
        raise ImportError(fault)
    if not documents:
        raise ValueError("there is no document to show")
    if any(is_training(document) for document in documents):
        raise ValueError("the page shows results of `convspec check`, not of `convspec mnist`")
    known = clauses() if text is None else text
    boards = [Board(document, known) for document in history.ordered(documents)]
    return _rendered(boards, book)


def _rendered(boards: Sequence[Board], book: str) -> str:
    import jinja2  # noqa: PLC0415 - an extra

    script = _file("page.js")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(_file("page.html.j2"))
    # A browser runs this script and no other, and loads nothing: not even if a text of a backend became markup.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html: str = template.render(
        style=_safe(_file("page.css")),
        script=_safe(script),
        data=_safe(embedded(Details(boards[-1], history.since(boards), book).data())),
        policy=f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        **_content(boards),
    )
    return html


def _content(boards: Sequence[Board]) -> dict[str, Any]:
    """What the template says outside the data."""
    board = boards[-1]
    document = board.document
    heads = [
        {
            "name": printable(name),
            "parts": re.findall(r".+?(?:[@:/_-]+|\.(?!\d)|$)", printable(name)),
            "version": board.version(name),
            "counts": board.counts(name),
        }
        for name in board.backends
    ]
    return {
        "board": board,
        "heads": heads,
        "letters": {str(state): letter for state, letter in LETTERS.items()},
        "meaning": MEANING,
        "about": {key: printable(str(document[key])) for key in ("convspec", "level", "seed")},
        "date": figures.when(document["date"]),
        "machine": figures.machine(document["machine"]),
        "merged": len(document.get("runs", ())),
        "verdict": figures.verdict(board),
        "backends": figures.backends(board),
        "bits": figures.bits(board),
        "speed": figures.speed(board),
        "deviations": figures.deviations(board),
        "disagreements": figures.disagreements(board),
        "timelines": history.timelines(boards) if len(boards) > 1 else [],
        "changes": history.changes(boards),
    }


def _safe(text: str) -> Any:
    """A text that is markup by itself: of this folder, or escaped before."""
    import markupsafe  # noqa: PLC0415 - comes with Jinja2

    return markupsafe.Markup(text)  # noqa: S704


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
