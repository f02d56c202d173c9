"""The specification as a book: each topic a page, each clause a section whose anchor is its slug.

Below the heading of a clause stands what is not in its text: its level, who checks it and where, and who deviates.
May import the specification and the deviations.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache

from convspec.harness.deviations import shipped
from convspec.spec import TOPICS, Clause, clauses

from .links import ROOT, read

#: How a clause opens, for the loader; the page shows profile and scope in a line of their own.
HEAD = re.compile(r"^\*\*(?P<level>MUST|SHOULD|MAY)\*\*\s\(profile:[^)]*\)\.\s", re.M)


def pages() -> dict[str, str]:
    """The topics, the source notes, and the list of all clauses."""
    made = {f"specification/{topic}.md": _topic(topic) for topic in TOPICS}
    made["specification/source.md"] = read("spec/source.md", "specification/source.md")
    made["specification/index.md"] = _index()
    return made


@cache
def checks() -> dict[str, list[str]]:
    """From a clause to the tests that cite it, as FILE::TEST; read without running them."""
    found = defaultdict(list)
    for folder in ("tests/conformance", "tests/reference"):
        for file in sorted((ROOT / folder).glob("*.py")):
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                for mark in getattr(node, "decorator_list", []):
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("clause"):
                        found[ast.literal_eval(mark.args[0])].append(f"{folder}/{file.name}::{node.name}")
    return found


@cache
def deviating() -> dict[str, list[tuple[str, str]]]:
    """From a clause to the declared deviations from it: backend and id."""
    found = defaultdict(list)
    for entry in shipped():
        for slug in (entry.clause, *entry.also):
            found[slug].append((entry.backend, entry.id))
    return found


def _topic(topic: str) -> str:
    text = read(f"spec/{topic}.md", f"specification/{topic}.md")
    for clause in clauses().values():
        if clause.topic == topic:
            heading = f"\n## {clause.slug}\n"
            if text.count(heading) != 1:
                raise ValueError(f"spec/{topic}.md: {text.count(heading)} headings {clause.slug}")
            text = text.replace(heading, f"\n## {clause.slug} {{#{clause.slug}}}\n\n{_facts(clause)}\n")
    return HEAD.sub(lambda m: f'<span class="level {m["level"].lower()}">{m["level"]}</span> ', text)


def _facts(clause: Clause) -> str:
    lines = [f"profile {clause.profile}", "checked by " + _checked(clause)]
    known = deviating()[clause.slug]
    if known:
        links = ", ".join(f"[{name}](../findings/{backend}.md#{name})" for backend, name in known)
        lines.append(f"known deviations: {links}")
    return " · ".join(lines[:2]) + "".join(f"<br>\n{line}" for line in lines[2:]) + "\n{ .facts }\n"


def _checked(clause: Clause) -> str:
    if clause.scope == "training":
        return "[`convspec mnist`](../how-to/mnist.md), on a backend that trains"
    cited = checks()[clause.slug]
    names = ", ".join(f"`{name.rpartition('::')[2]}`" for name in cited)
    files = " and ".join(dict.fromkeys(f"`{name.partition('::')[0]}`" for name in cited))
    whom = "on every backend" if clause.scope == "backend" else "on the reference"
    if len(cited) > 3:
        return f"{len(cited)} tests of {files}, {whom}"
    return f"{names} of {files}, {whom}"


def _index() -> str:
    counts = {level: sum(c.level == level for c in clauses().values()) for level in ("MUST", "SHOULD", "MAY")}
    told = ", ".join(f"{number} {level}" for level, number in counts.items())
    head = (
        "# The specification\n\n"
        f"{len(clauses())} clauses ({told}), in the order in which they read best. A clause has a slug that never "
        "changes; it is the anchor of its section, and what a verdict names. `convspec spec SLUG` prints it in the "
        "terminal, `convspec.spec.clause(slug)` returns it.\n\n"
        "[Geometry](geometry.md) opens with what the words and letters mean. [The source notes](source.md) go through "
        "the note that all this started from.\n"
    )
    parts = [head]
    for topic in TOPICS:
        title = (ROOT / "spec" / f"{topic}.md").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        rows = [
            f"| [`{c.slug}`]({topic}.md#{c.slug}) | {c.level} | {c.profile} | {_who(c.slug)} |"
            for c in clauses().values()
            if c.topic == topic
        ]
        table = "\n".join(["| clause | level | profile | who deviates |", "|---|---|---|---|", *rows])
        parts.append(f"## [{title}]({topic}.md) {{#{topic}}}\n\n{table}\n")
    return "\n".join(parts)


def _who(slug: str) -> str:
    backends = dict.fromkeys(backend for backend, _ in deviating()[slug])
    return ", ".join(f"[{backend}](../findings/{backend}.md)" for backend in backends)
