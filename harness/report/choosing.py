"""A part of a document: some backends, some clauses, some states. For `convspec show`.

May import the rows and the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import results
from .rows import backends, is_training


class NothingChosen(ValueError):  # noqa: N818 - what it is, in the words of the message
    """No verdict is left; the message says what the document has."""


def only(
    document: dict[str, Any], who: Sequence[str] = (), slugs: Sequence[str] = (), states: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the document with the chosen backends, clauses and states alone; each left empty chooses all.

    Raises
    ------
    NothingChosen
        The document has no such backend, or no verdict is left.
    """
    have = backends(document)
    for name in who:
        if name not in have:
            raise NothingChosen(f"it has no backend {name!r}; it has {', '.join(have) or 'none'}")
    if not (who or slugs or states):
        return document
    kept = _of_training if is_training(document) else _of_results
    return kept(document, [name for name in have if not who or name in who], slugs, states)


def _chosen(
    found: list[dict[str, Any]], who: Sequence[str], slugs: Sequence[str], states: Sequence[str]
) -> list[dict[str, Any]]:
    left = [
        one
        for one in found
        if one["backend"] in who and (not slugs or one["clause"] in slugs) and (not states or one["state"] in states)
    ]
    if not left:
        asked = f" of {', '.join(slugs)}" if slugs else ""
        asked += f" in the state {' or '.join(states)}" if states else ""
        raise NothingChosen(f"no verdict{asked} on {', '.join(who)}")
    return left


def _of_results(
    document: dict[str, Any], who: Sequence[str], slugs: Sequence[str], states: Sequence[str]
) -> dict[str, Any]:
    """Counts are made anew; what is said of a backend as a whole is kept where all of it is shown."""
    cells = _chosen(document["cells"], who, slugs, states)
    names = [name for name in who if any(cell["backend"] == name for cell in cells)]
    whole = not (slugs or states)
    places = {(cell["backend"], cell["clause"]) for cell in cells}
    out = document | {
        "cells": cells,
        "summary": {name: results.counts(cells, name) for name in names},
        "backends": {name: document["backends"][name] for name in names if name in document["backends"]},
        "power": {name: document["power"][name] for name in names if whole and name in document["power"]},
        "deviations": {
            name: {key: entry for key, entry in entries.items() if whole or (name, entry["clause"]) in places}
            for name, entries in document["deviations"].items()
            if name in names
        },
    }
    if "agreement" in out:
        pairs = out["agreement"] if whole else []
        out["agreement"] = [one for one in pairs if one["one"] in names and one["other"] in names]
    return out


def _of_training(
    document: dict[str, Any], who: Sequence[str], slugs: Sequence[str], states: Sequence[str]
) -> dict[str, Any]:
    """Keep the clauses, nets and backends of which any verdict is chosen, whole: the table may have no gaps."""
    chosen = _chosen(document["verdicts"], who, slugs, states)
    kept = {key: {verdict[key] for verdict in chosen} for key in ("backend", "clause", "net")}
    return document | {
        "nets": [net for net in document["nets"] if net in kept["net"]],
        "backends": {name: said for name, said in document["backends"].items() if name in kept["backend"]},
        "verdicts": [v for v in document["verdicts"] if all(v[key] in kept[key] for key in kept)],
        "runs": [run for run in document["runs"] if not run["backend"] or run["who"] in kept["backend"]],
    }
