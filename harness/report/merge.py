"""Several results files as one: a matrix of backends, versions, devices and modes, each judged where it was at hand.

May import the results' reader and the adapters' names. What a run said stays as it was said; a backend that two files
hold gets its version, and where that is no help the file's name, into its label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convspec.adapters.registry import Label

from .results import FORMAT, VERSION, read

PARTS = ("backends", "summary", "power", "deviations")


class MergeError(ValueError):
    """Files that cannot be joined; the message says which and why."""


def merge(paths: Iterable[str | Path]) -> dict[str, Any]:
    """One document of several; backends in the order of the files.

    Raises
    ------
    MergeError
        The files are of different versions of convspec: their clauses may differ, and with them the denominator.
    ValueError
        One of them is no results file.
    """
    named = [(Path(path), read(path)) for path in paths]
    documents = [document for _, document in named]
    versions = dict.fromkeys(d["convspec"] for d in documents)
    if len(versions) > 1:
        raise MergeError(f"results of convspec {' and '.join(versions)}: one table needs one version")
    out: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "convspec": documents[0]["convspec"],
        "date": max(d["date"] for d in documents),
        "machine": documents[0]["machine"],
        "level": _common(d["level"] for d in documents),
        "seed": _common(d["seed"] for d in documents),
        "runs": [_run(path, d) for path, d in named],
        **{part: {} for part in PARTS},
        "cells": [],
    }
    labels = _labels(named)
    for number, document in enumerate(documents):
        for name in document["summary"]:
            label = labels[number, name]
            for part in PARTS:
                if name in document[part]:
                    out[part][label] = document[part][name]
            if label != name and name in document["backends"]:
                # What can be given to a command again: a label with a version is no name of a backend.
                out["backends"][label] = {"text": name} | document["backends"][name]
        out["cells"] += [cell | {"backend": labels[number, cell["backend"]]} for cell in document["cells"]]
    return out


def _common(values: Iterable[Any]) -> Any:
    """The value that all have, or all of them in words."""
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else ", ".join(map(str, found))


def _run(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Where and when a part of a merged document was made."""
    kept = ("date", "machine", "level", "seed")
    return {"file": path.name, "backends": list(document["summary"])} | {key: document[key] for key in kept}


def _labels(named: list[tuple[Path, dict[str, Any]]]) -> dict[tuple[int, str], str]:
    """What each backend of each file is called in the table."""
    keys = [(number, name) for number, (_, d) in enumerate(named) for name in d["summary"]]
    labels = {key: key[1] for key in keys}
    for more in (_version, lambda path, _, __: path.stem, lambda *_: "again"):
        often = Counter(labels.values())
        for key in keys:
            if often[labels[key]] > 1:
                path, document = named[key[0]]
                labels[key] = f"{labels[key]} {more(path, document, key[1])}".strip()
    for label, count in Counter(labels.values()).items():
        if count > 1:
            raise MergeError(f"{label} is in {count} files of one name; name each file once")
    return labels


def _version(_: Path, document: dict[str, Any], name: str) -> str:
    framework = Label.of(name).backend
    return str(document["backends"].get(name, {}).get("versions", {}).get(framework, ""))
