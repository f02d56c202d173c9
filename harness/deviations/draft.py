"""A draft of an entry for each finding of a results file that nothing declares yet.

May import the entries and the reports' reader. What a draft says of its calls is read off the smallest one: it is a
start, to be narrowed and given a reason by whoever knows it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from convspec.adapters.registry import Label
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS

from .entry import asked, case_of, covers
from .predicate import WORDS, Predicate

#: What sets a call apart, where it holds of the smallest one.
TELLING = (
    "batch == 0",
    "channels == 0",
    "empty",
    "tapless",
    "nan",
    "infinite",
    "bias",
    "groups > 1",
    "max(strides) > 1",
    "max(dilations) > 1",
)


def drafts(results: dict[str, Any]) -> Iterator[str]:
    """Entries as TOML, one for each clause, backend and kind of finding that is not declared."""
    seen: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for cell in results["cells"]:
        for finding in cell["findings"]:
            if not finding["deviation"] and finding["case"]:
                key = (cell["backend"], finding["clause"], finding["kind"])
                # A call is blamed for a death in the next one, and that may be in the cell of another dtype.
                dtype = "all" if cell["dtype"] == "all" else case_of(asked(finding["case"])).dtype
                seen.setdefault(key, []).append(finding | {"dtype": dtype})
    for (backend, clause, kind), findings in seen.items():
        yield _draft(results, backend, clause, kind, findings)


def _draft(results: dict[str, Any], label: str, clause: str, kind: str, findings: list[dict[str, Any]]) -> str:
    smallest = min(findings, key=lambda f: f["elements"])
    backend, mode = Label.of(label).backend, Label.of(label).mode
    version = str(results["backends"].get(label, {}).get("versions", {}).get(backend, ""))
    release = ".".join(version.partition("+")[0].split(".")[:2])
    lines = [
        "[[deviation]]",
        f'id = "{backend}-{clause}-{kind.replace(" ", "-")}"',
        f'backend = "{backend}"',
        *([f'modes = "{mode}"'] if mode else []),
        f'versions = "{f"=={release}.*" if release else ""}"',
        f'clause = "{clause}"',
        f'where = "{where(smallest, sorted({f["dtype"] for f in findings}))}"',
        f'shows = "{kind}"',
        'kind = "bug"  # or "unspecified", "by design", "unsupported"',
        f"reason = {json.dumps(smallest['message'] or 'say why', ensure_ascii=False)}",
        f"witness = {toml(plain(smallest['case']))}",
    ]
    return "\n".join(lines) + "\n"


def where(finding: dict[str, Any], dtypes: list[str]) -> str:
    """The predicate of a draft: the operation, the types it was seen in, and what sets its smallest call apart."""
    call = asked(finding["case"])
    parts = [f"op == '{case_of(call).op}'"]
    if change := getattr(call, "change", ""):
        return f"{parts[0]} and change == '{change}'"
    if "all" not in dtypes and len(dtypes) < len(FLOATS):
        parts.append(f"dtype in ({', '.join(map(repr, dtypes))})" if len(dtypes) > 1 else f"dtype == '{dtypes[0]}'")
    parts += [words for words in TELLING if covers(Predicate(words), call)]
    return " and ".join(parts)


def plain(case: dict[str, Any]) -> dict[str, Any]:
    """A case without what is as it is by default."""
    if "change" in case:
        return {"change": case["change"], "case": plain(case["case"])}
    usual = Case("conv2d", (1, 1, 1, 1), (1, 1)).to_dict()
    needed = ("op", "x", "kernel")
    return {k: v for k, v in case.items() if k in needed or json.dumps(v) != json.dumps(usual[k])}


def toml(value: Any) -> str:
    """A value as TOML writes it inline.

    >>> toml({"op": "conv2d", "x": [1, 2], "bias": True})
    '{ op = "conv2d", x = [1, 2], bias = true }'
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def help_text() -> str:
    """What each key of an entry means, for `convspec deviations --help`."""
    return f"""\b
A deviations file is TOML, one [[deviation]] an entry:
  id, backend   its name, and the backend's, without device or mode
  versions      which releases, as ">=2.16,<2.22"
  clause        what it breaks; `also`: what the same cause breaks ("*": any)
  where         which calls: an expression over {", ".join(list(WORDS)[:4])}, ...
  shows         kinds of finding: value, shape, exception, crash, ...
  kind          bug, unspecified, by design or unsupported; reason, url
  witness       one call, asked in every run; where it passes, it is stale
  modes, devices, cpu     which ("!xla": all but that); flaky: shows at times

\b
Example:  convspec deviations list --backend torch
          convspec deviations check mine.toml"""
