"""The normative text, and the small loader that turns it into `Clause` objects.

Each ``*.md`` file beside this module is one topic; each ``## slug`` section in it is one clause. The text is the
source of truth: nothing about a clause is written anywhere else. The loader is strict, because a section that it
misread would be a clause that nobody checks.

May import: the standard library. Nothing of ours, and no NumPy: the text can be read wherever Python runs.

A section looks like this, in this order, parts separated by blank lines:

    ## slug-in-kebab-case

    **MUST** (profile: core; checked on: backend). One or two sentences that use the word MUST.

    **Formula.** ...

    **Why.** ...

    **Example.** ...

    **Systems.** ...
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = [
    "LEVELS",
    "PROFILES",
    "SCOPES",
    "TOPICS",
    "Clause",
    "SpecError",
    "UnknownClause",
    "clause",
    "clauses",
    "parse",
]

#: Topics in reading order; each is a file ``<topic>.md``. `source.md` has no clauses and is not one of them.
TOPICS = ("geometry", "conv2d", "max_pool", "gradients", "numerics", "errors", "network", "training")
#: The words of RFC 2119 that a clause may stand on.
LEVELS = ("MUST", "SHOULD", "MAY")
#: Groups of clauses that a backend is read by: nobody needs dilation to be right in `core`.
PROFILES = (
    "core", "gradients", "dilation", "groups", "explicit", "integers", "special-values", "errors", "network",
    "training",
)  # fmt: skip
#: Who a clause is asked of: every backend, this library's own reference, or every backend by training with it.
SCOPES = ("backend", "reference", "training")

_PARTS = ("Formula", "Why", "Example", "Systems")
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEAD = re.compile(
    r"\*\*(?P<level>[^*]+)\*\* \(profile: (?P<profile>[^;()]+); checked on: (?P<scope>[^;()]+)\)\. (?P<rest>.+)"
)
_PART = re.compile(r"\*\*(?P<name>[A-Z][a-z]+)\.\*\*(?P<rest>.*)")


class SpecError(ValueError):
    """The text of the specification is not in the form the loader reads; the message names file and line."""


class UnknownClause(KeyError):  # noqa: N818 - a key that is not there, named as the caller reads it
    """No clause has this slug; the message offers the closest ones."""

    def __init__(self, slug: str, known: tuple[str, ...]) -> None:
        super().__init__(slug)
        self.slug = slug
        within = [name for name in known if slug and slug in name]  # a part of a name says more than its letters
        self.closest = tuple(dict.fromkeys([*within, *difflib.get_close_matches(slug, known, n=3, cutoff=0.6)]))[:3]

    def __str__(self) -> str:
        """Say it in one line (KeyError alone would print the slug in quotes, and nothing else)."""
        hint = f"; closest: {', '.join(self.closest)}" if self.closest else "; `convspec spec` lists all"
        return f"unknown clause {self.slug!r}{hint}"


@dataclass(frozen=True)
class Clause:
    """One numbered statement of the specification.

    Attributes
    ----------
    slug
        The stable name, in kebab-case. It is never reused.
    level
        ``"MUST"``, ``"SHOULD"`` or ``"MAY"``, as in RFC 2119.
    topic
        The file that holds it, without ``.md``.
    profile
        One of `PROFILES`.
    scope
        ``"backend"`` when every backend is asked, ``"reference"`` when only this library is, ``"training"`` when a
        backend is asked by training with it (`convspec mnist`).
    statement
        The sentence or two that a backend is held to, on one line.
    formula, why, example, systems
        The other parts of the section, Markdown without their label.
    text
        The Markdown of the whole section, heading included.
    """

    slug: str
    level: str
    topic: str
    profile: str
    scope: str
    statement: str
    formula: str
    why: str
    example: str
    systems: str
    text: str

    @property
    def address(self) -> str:
        """Where the documents hold it, from their root: the page of its topic, at the anchor of its slug.

        >>> clause("conv2d-sum").address
        'specification/conv2d.html#conv2d-sum'
        """
        return f"specification/{self.topic}.html#{self.slug}"


def clauses() -> dict[str, Clause]:
    """Return every clause by slug, in the order of the text.

    Raises
    ------
    SpecError
        When the text is not in form: the message names file and line.

    Examples
    --------
    >>> clauses()["same-odd-pixel-last"].level
    'MUST'
    >>> next(iter(clauses()))
    'layout-nhwc-hwio'
    """
    return dict(_load())


def clause(slug: str) -> Clause:
    """Return the clause with this slug.

    Raises
    ------
    UnknownClause
        When there is none; the message offers the closest slugs.

    Examples
    --------
    >>> clause("same-output-size").topic
    'geometry'
    >>> clause("same-odd-pixel-first")
    Traceback (most recent call last):
        ...
    convspec.spec.UnknownClause: unknown clause 'same-odd-pixel-first'; closest: same-odd-pixel-last
    """
    found = _load()
    if slug not in found:
        raise UnknownClause(slug, tuple(found))
    return found[slug]


@cache
def _load() -> dict[str, Clause]:
    found: dict[str, Clause] = {}
    for topic in TOPICS:
        text = resources.files(__name__).joinpath(f"{topic}.md").read_text(encoding="utf-8")
        for line, one in _sections(text, topic):
            if one.slug in found:
                raise _error(topic, line, f"slug {one.slug!r} is taken: {found[one.slug].topic}.md has it too")
            found[one.slug] = one
    return found


def parse(text: str, topic: str) -> list[Clause]:
    """Read the clauses of one topic's Markdown.

    Parameters
    ----------
    text
        The Markdown; what stands before the first ``## `` heading is introduction and is skipped.
    topic
        The topic's name; messages call the file ``<topic>.md``.

    Raises
    ------
    SpecError
        For a slug that is not in kebab-case or stands twice; an unknown level, profile or scope; a statement without
        its level's word; a part that is missing, empty, repeated or out of order.
    """
    seen: dict[str, int] = {}
    found = []
    for line, one in _sections(text, topic):
        if one.slug in seen:
            raise _error(topic, line, f"slug {one.slug!r} is taken: line {seen[one.slug]} has it too")
        seen[one.slug] = line
        found.append(one)
    return found


def _error(topic: str, line: int, what: str) -> SpecError:
    return SpecError(f"{topic}.md:{line}: {what}")


def _sections(text: str, topic: str) -> Iterator[tuple[int, Clause]]:
    """Cut the text at its ``## `` headings (not at those inside a code fence) and read each section."""
    lines = text.splitlines()
    heads, fenced = [], False
    for number, line in enumerate(lines):
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            heads.append(number)
    for begin, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        yield begin + 1, _clause(lines[begin:end], topic, begin + 1)


def _clause(lines: list[str], topic: str, line: int) -> Clause:
    """Read one section; `line` is the number of its heading, counted from 1."""
    slug = lines[0].removeprefix("## ").strip()
    if not _SLUG.fullmatch(slug):
        raise _error(topic, line, f"slug {slug!r} is not in kebab-case")
    labelled = _labelled(lines, topic, line)
    (at, opening), *parts = labelled
    head = _HEAD.fullmatch(" ".join(opening.split()))
    if head is None or "\n\n" in opening:
        expected = "**LEVEL** (profile: P; checked on: S). Statement."
        raise _error(topic, at, f"{slug}: the section does not open with one paragraph of the form {expected!r}")
    for kind, known in (("level", LEVELS), ("profile", PROFILES), ("scope", SCOPES)):
        if head[kind] not in known:
            raise _error(topic, at, f"{slug}: unknown {kind} {head[kind]!r}; known: {', '.join(known)}")
    level, statement = head["level"], head["rest"]
    if not re.search(rf"\b{level}\b", statement):
        raise _error(topic, at, f"{slug}: the statement does not use the word {level}")
    return Clause(
        slug=slug,
        level=level,
        topic=topic,
        profile=head["profile"],
        scope=head["scope"],
        statement=statement,
        **{name.lower(): body for name, (_, body) in zip(_PARTS, parts, strict=True)},
        text="\n".join(lines).strip() + "\n",
    )


def _labelled(lines: list[str], topic: str, line: int) -> list[tuple[int, str]]:
    """Return (line number, text) of the opening paragraph and of each part, in the order of `_PARTS`."""
    found: list[tuple[str, int, list[str]]] = [("", line, [])]
    fenced = False
    for offset, one in enumerate(lines[1:], start=1):
        fenced ^= one.startswith("```")
        label = None if fenced else _PART.fullmatch(one)
        if label and label["name"] in _PARTS:
            found.append((label["name"], line + offset, [label["rest"]]))
        else:
            found[-1][2].append(one)
    names = tuple(name for name, _, _ in found[1:])
    missing = [part for part in _PARTS if part not in names]
    if missing:
        raise _error(topic, line, f"{lines[0][3:].strip()}: no part **{missing[0]}.**")
    if names != _PARTS:
        raise _error(topic, line, f"{lines[0][3:].strip()}: parts are {', '.join(names)}, not {', '.join(_PARTS)}")
    for name, at, body in found:
        if not "".join(body).strip():
            raise _error(topic, at, f"{lines[0][3:].strip()}: the {name or 'statement'} is empty")
    return [(at, "\n".join(body).strip()) for _, at, body in found]
