"""Deviations files: TOML, one `[[deviation]]` an entry, read with the line of each fault.

May import the entries, the specification, what the processor can and the registry's list of backends.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from convspec.adapters import registry
from convspec.harness.processor import fits
from convspec.harness.verdict import FINDING_KINDS
from convspec.spec import UnknownClause, clause

from .entry import KINDS, Deviation, covers, within
from .predicate import Predicate, PredicateError
from .witness import WitnessError, witness

REQUIRED = ("id", "backend", "versions", "clause", "where", "shows", "kind", "reason", "witness")
OPTIONAL = ("url", "also", "modes", "devices", "cpu", "flaky")
_HEADER = re.compile(r"^\s*\[\[\s*deviation\s*\]\]")


class DeviationError(Exception):
    """A deviations file, or an entry of it, that is wrong; the message is one line: file, line, what, what to do."""


@dataclass(frozen=True)
class _Entry:
    """One table of a file, and where it stands."""

    file: str
    text: list[str]
    first: int
    last: int
    data: dict[str, Any]

    def wrong(self, message: str, key: str = "") -> DeviationError:
        """The fault, at the line of its key."""
        lines = range(self.first, self.last + 1)
        at = next(
            (n for n in lines if re.match(rf"\s*\[*\s*(deviation\.)?{key}\b", self.text[n - 1]) and key), self.first
        )
        return DeviationError(f"{self.file}:{at}: {message}")


def shipped() -> list[Deviation]:
    """Every deviation that convspec knows of its built-in backends.

    >>> all(entry.reason for entry in shipped())
    True
    """
    folder = files("convspec.adapters") / "deviations"
    return list(_shipped(tuple(sorted(str(file) for file in folder.iterdir() if file.name.endswith(".toml")))))


@cache
def _shipped(paths: tuple[str, ...]) -> tuple[Deviation, ...]:
    return tuple(entry for path in paths for entry in read(path, name=Path(path).name))


def read(path: str | Path, *, name: str | None = None) -> list[Deviation]:
    """The entries of one file; `name` is what errors call it.

    Raises
    ------
    DeviationError
        The file cannot be read, or an entry of it is malformed; file and line are in the message.
    """
    name = name or str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviationError(f"{name}: it cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise DeviationError(f"{name}:{line[1] if line else 1}: not TOML: {error}") from None
    except (RecursionError, ValueError) as error:  # lists in lists in lists; a number of ten thousand digits
        why = "lists or tables are nested too deep" if isinstance(error, RecursionError) else error
        raise DeviationError(f"{name}:1: it cannot be read as TOML: {why}") from None
    tables = data.pop("deviation", [])
    if data or not isinstance(tables, list):
        raise DeviationError(f"{name}:1: unknown table {next(iter(data), 'deviation')!r}; entries are [[deviation]]")
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines, 1) if _HEADER.match(line)]
    if len(starts) != len(tables):
        raise DeviationError(f"{name}:1: write each entry as a table of its own, under [[deviation]]")
    following = [*starts[1:], len(lines) + 1]
    return [
        _entry(_Entry(name, lines, first, following[number] - 1, table))
        for number, (first, table) in enumerate(zip(starts, tables, strict=True))
    ]


def known(paths: Iterable[str | Path] = (), *, ours: bool = True) -> list[Deviation]:
    """The entries that ship (unless not `ours`) and those of further files, checked against each other.

    Raises
    ------
    DeviationError
        As `read` does, or two entries do not go together: `alone`.
    """
    entries = [*(shipped() if ours else ()), *(entry for path in paths for entry in read(path))]
    alone(entries)
    return entries


def alone(entries: Iterable[Deviation]) -> None:
    """Refuse two entries of one name, and two that are about the same call of one clause.

    Raises
    ------
    DeviationError
        Naming both places.
    """
    seen: list[Deviation] = []
    for entry in entries:
        for other in seen:
            same = (entry.backend, entry.clause) == (other.backend, other.clause) and _meet(entry, other)
            both = same and (other.covers(entry.witness) or entry.covers(other.witness))
            if entry.id == other.id or (both and set(entry.shows) & set(other.shows)):
                what = f"has the name of {other.place}" if entry.id == other.id else f"overlaps {other.place}"
                raise DeviationError(
                    f"{entry.place}: deviation {entry.id!r} {what} ({other.id!r}); one call belongs to one of them"
                )
        seen.append(entry)


def _meet(one: Deviation, other: Deviation) -> bool:
    """Whether two entries can both concern one run; ranges of versions are tried at their own ends."""
    modes = bool(set(one.modes) & set(other.modes)) or "*" in (*one.modes, *other.modes)
    devices = bool(set(one.devices) & set(other.devices)) or "*" in (*one.devices, *other.devices)
    sets = (*one.cpu, *other.cpu)
    cpu = fits(sets, frozenset(sets))  # is there a processor for both: one with all that they want?
    ends = [spec.version.removesuffix(".*") for spec in (*one.versions, *other.versions)]
    tried = [end + more for end in ends or ["1"] for more in ("", ".1")]
    both = any(within(version, one.versions) and within(version, other.versions) for version in tried)
    return modes and devices and cpu and both


def _entry(of: _Entry) -> Deviation:
    data = of.data
    for key in REQUIRED:
        if key not in data:
            raise of.wrong(f"deviation {data.get('id', '')!r} has no {key}; needed are {', '.join(REQUIRED)}")
    for key in data:
        if key not in (*REQUIRED, *OPTIONAL):
            raise of.wrong(f"unknown key {key!r}; known are {', '.join((*REQUIRED, *OPTIONAL))}", key)
    _plain(of)
    for key in ("clause", "also"):
        for slug in (name for name in (_names(of, key) if key in data else ()) if name != "*"):
            try:
                clause(slug)
            except UnknownClause as error:
                raise of.wrong(str(error), key) from None
    if data["kind"] not in KINDS:
        raise of.wrong(f"kind is {data['kind']!r}; it must be one of {', '.join(KINDS)}", "kind")
    if not data["reason"].strip():
        raise of.wrong("reason is empty; say why this is as it is", "reason")
    shows = _names(of, "shows")
    if unknown := [kind for kind in shows if kind not in FINDING_KINDS]:
        raise of.wrong(f"shows has {unknown[0]!r}; known are {', '.join(FINDING_KINDS)}", "shows")
    return _built(of, shows)


def _plain(of: _Entry) -> None:
    """Refuse what is not of its type, and a backend's name that none has."""
    data = of.data
    for key in ("id", "backend", "versions", "clause", "where", "kind", "reason", "url"):
        if not isinstance(data.get(key, ""), str):
            raise of.wrong(f"{key} is {data[key]!r}; it must be text", key)
    if not isinstance(data.get("flaky", False), bool):
        raise of.wrong(f"flaky is {data['flaky']!r}; it must be true or false", "flaky")
    if not data["id"].strip():
        raise of.wrong("id is empty; name the entry", "id")
    name = data["backend"]
    if not name.strip() or set(name) & set(":@%"):  # no run would have a backend of that name
        plain = registry.Label.of(name).backend or "torch"
        raise of.wrong(f"backend is {name!r}; it is without device, mode and NAME, as {plain!r}", "backend")


def _built(of: _Entry, shows: tuple[str, ...]) -> Deviation:
    data = of.data
    try:
        versions = SpecifierSet(data["versions"])
    except InvalidSpecifier as error:
        raise of.wrong(f"versions is no specifier such as '>=2.16,<2.22': {error}", "versions") from None
    try:
        where = Predicate(data["where"])
    except PredicateError as error:
        raise of.wrong(f"where: {error}", "where") from None
    try:
        made = witness(data["witness"])
    except WitnessError as error:
        raise of.wrong(f"the witness: {error}", "witness") from None
    try:
        covered = covers(where, made)
    except Exception as error:  # a word that looks at the data of a witness that has none
        raise of.wrong(f"where: it breaks on the witness: {type(error).__name__}: {error}", "where") from None
    if not covered:
        raise of.wrong(f"the witness is not one of the calls where {data['where']!r}", "witness")
    optional = {key: _names(of, key) for key in ("also", "modes", "devices", "cpu") if key in data}
    return Deviation(
        data["id"],
        data["backend"],
        versions,
        data["clause"],
        where,
        shows,
        data["kind"],
        " ".join(data["reason"].split()),
        made,
        url=data.get("url", ""),
        flaky=data.get("flaky", False),
        place=f"{of.file}:{of.first}",
        lines=(of.first, of.last),
        **optional,
    )


def _names(of: _Entry, key: str) -> tuple[str, ...]:
    value = of.data[key]
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise of.wrong(f"{key} is {value!r}; it must be a name or a list of names", key)
    return tuple(names)
