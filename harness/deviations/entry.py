"""A known deviation of one backend from one clause, and those of them that concern a run.

May import the cases, the adapters' names, the verdicts and what the processor can. A deviation covers the findings of
its clause and kinds on the calls of its predicate, and nothing else. It is strict: its witness is asked in every run,
and one that passes is *stale*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from convspec.adapters import registry
from convspec.adapters.backend import BackendError
from convspec.harness.cases.case import Case
from convspec.harness.cases.invalid import Invalid
from convspec.harness.processor import fits, usable
from convspec.harness.verdict import LOSSES, Finding

from .predicate import Predicate

KINDS = ("bug", "unspecified", "by design", "unsupported")
#: In `also`: the cause shows under any clause.
ANY = "*"


@dataclass(frozen=True, eq=False)
class Deviation:
    """One entry of a deviations file.

    `shows` lists kinds of finding, `also` further clauses that the same cause breaks, `cpu` the instruction sets that
    the kernel at fault needs; `place` and `lines` say where it stands.
    """

    id: str
    backend: str
    versions: SpecifierSet
    clause: str
    where: Predicate
    shows: tuple[str, ...]
    kind: str
    reason: str
    witness: Case | Invalid
    url: str = ""
    also: tuple[str, ...] = ()
    modes: tuple[str, ...] = ("*",)
    devices: tuple[str, ...] = ("*",)
    cpu: tuple[str, ...] = ()
    flaky: bool = False
    place: str = ""
    lines: tuple[int, int] = (0, 0)

    @property
    def fatal(self) -> bool:
        """Whether its calls may cost the process: they are asked once, by the witness, and no more."""
        return any(kind in LOSSES for kind in self.shows)

    def concerns(self, backend: str, version: str, device: str, mode: str) -> bool:
        """Whether it speaks of this backend, in this version, on this device and processor, and in this mode."""
        meant = backend == self.backend and among(mode, self.modes) and among(device, self.devices)
        return meant and within(version, self.versions) and fits(self.cpu, usable())

    def covers(self, case: Case | Invalid) -> bool:
        """Whether a call is one of those it is about."""
        return covers(self.where, case)

    def breaks(self, clause: str) -> bool:
        """Whether a clause is one of those that its cause breaks."""
        return clause in (self.clause, *self.also) or ANY in self.also

    def explains(self, finding: Finding) -> bool:
        """Whether it is about this finding: its clause, its kind, its call."""
        if not self.breaks(finding.clause) or finding.kind not in self.shows or finding.case is None:
            return False
        return self.covers(asked(finding.case))

    def witnesses(self, dtype: str) -> bool:
        """Whether its witness is asked in the cells of this dtype; "all" has those of every dtype."""
        return dtype in ("all", case_of(self.witness).dtype)

    def to_dict(self) -> dict[str, Any]:
        """What a results file says of it."""
        where = {"place": self.place, "lines": list(self.lines), "dtype": case_of(self.witness).dtype}
        what = {"id": self.id, "clause": self.clause, "kind": self.kind, "shows": list(self.shows)}
        return what | {"reason": self.reason, "url": self.url} | where


@cache
def default_mode(backend: str) -> str:
    """The mode that is meant where none is named.

    >>> default_mode("torch"), default_mode("package.module:NAME")
    ('eager', '')
    """
    try:
        return registry.default_mode(backend)
    except BackendError:
        return ""


def covers(where: Predicate, case: Case | Invalid) -> bool:
    """Whether a predicate holds for a call, valid or not."""
    return where(case.case, case.change) if isinstance(case, Invalid) else where(case)


def case_of(asked_call: Case | Invalid) -> Case:
    """The case, or the valid case that an invalid call was made from."""
    return asked_call.case if isinstance(asked_call, Invalid) else asked_call


def asked(data: dict[str, Any]) -> Case | Invalid:
    """The call that a finding, or a witness in a file, was written down as."""
    if "change" in data:
        return Invalid(Case.from_dict(data["case"]), data["change"])
    return Case.from_dict(data)


def among(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a name is one of those meant: `"*"` is all, `"!xla"` all but xla.

    >>> among("eager", ("!noonednn",)), among("noonednn", ("*", "!noonednn"))
    (True, False)
    """
    wanted = [p for p in patterns if not p.startswith("!")] or ["*"]
    unwanted = [p[1:] for p in patterns if p.startswith("!")]
    return any(fnmatchcase(name, p) for p in wanted) and not any(fnmatchcase(name, p) for p in unwanted)


def within(version: str, versions: SpecifierSet) -> bool:
    """Whether a version is one of those meant; what follows a plus sign, as in 2.13.0+cpu, does not matter.

    >>> within("2.13.0+cpu", SpecifierSet(">=2.4"))
    True
    """
    try:
        return Version(version.partition("+")[0]) in SpecifierSet(str(versions), prereleases=True)
    except InvalidVersion:  # a development build with a name of its own: only an entry for all versions speaks of it
        return not str(versions)


@dataclass
class Declared:
    """The deviations that concern one backend of a run, and what became of their witnesses."""

    entries: tuple[Deviation, ...] = ()
    replaying: Deviation | None = None
    overlaps: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, entries: Iterable[Deviation], name: str, hello: dict[str, Any]) -> Declared:
        """Those that speak of what a worker says it is. `name` is the backend as it was named.

        The interpreter that it runs in says nothing about the backend: its version does.
        """
        label = registry.Label.of(name)
        versions = hello.get("versions") or {}
        device, mode = label.device or "cpu", label.mode or default_mode(label.backend)
        own = registry.Label.of(str(hello.get("name") or name)).backend  # a file's NAME is called as it calls itself
        found = {
            entry.id: entry
            for word in dict.fromkeys((label.backend, own))
            for entry in entries
            if entry.concerns(word, str(versions.get(word, "")), device, mode)
        }
        return cls(tuple(found.values()))

    def to_list(self) -> list[dict[str, Any]]:
        """What a results file says of them, and of two that were about the same call."""
        return [entry.to_dict() | {"overlaps": sorted(self.overlaps)} for entry in self.entries]

    def to_replay(self, clause: str, dtype: str) -> list[Deviation]:
        """Those whose witness is to be asked in a cell."""
        return [e for e in self.entries if e.clause == clause and e.witnesses(dtype)]

    def forbids(self, call: Case | Invalid) -> bool:
        """Whether a call is known to cost the process, so that it is not asked again for every clause that meets it."""
        return any(e.fatal and e is not self.replaying and e.covers(call) for e in self.entries)

    def mark(self, finding: Finding) -> Finding:
        """The finding, with the name of the deviation that explains it."""
        found = [entry for entry in self.entries if entry.explains(finding)]
        # An entry that names the clause knows more than one whose cause shows anywhere.
        found = [entry for entry in found if finding.clause in (entry.clause, *entry.also)] or found
        if len(found) > 1:
            self.overlaps.add(f"{found[0].place} and {found[1].place}: both are about {finding.call}; narrow one")
        return replace(finding, deviation=found[0].id) if found else finding
