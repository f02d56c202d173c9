"""What is wrong today in which release: the declared deviations, and what the runs in results/ said of each.

May import the adapters' names, the deviations, the reproducers and the specification.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from packaging.version import Version

from convspec.adapters.registry import Label
from convspec.harness.deviations import Deviation, shipped
from convspec.harness.report import reproduce
from convspec.harness.report.findings import of_deviation
from convspec.harness.report.merge import merge
from convspec.harness.report.page import page
from convspec.spec import clause

from .links import ROOT

TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "jax": "JAX", "onnxruntime": "ONNX Runtime"}
STATES = ("pass", "deviation", "fail", "crash", "unsupported", "not run")
KINDS = {
    "bug": "wrong, and as far as can be told not meant so",
    "unspecified": "the framework promises nothing here, and its answer may differ with shape, type or mode",
    "by design": "the framework means it so, and the specification means it otherwise",
    "unsupported": "the framework refuses a call that the specification answers",
}


def pages() -> dict[str, str]:
    """A page a framework, and the one that counts them."""
    unknown = {entry.backend for entry in shipped()} - set(TITLES)
    if unknown:
        raise ValueError(f"docs/made/findings.py has no title for {unknown}")
    made = {f"findings/{backend}.md": _page(backend) for backend in TITLES}
    made["findings/index.md"] = _index()
    made["findings/scoreboard.html"] = _scoreboard()
    return made


@cache
def runs() -> list[dict[str, Any]]:
    """Each backend of each file in results/: release, level, date, counts, and what became of deviations."""
    found = []
    for file in sorted((ROOT / "results").glob("*.json")):
        results = json.loads(file.read_text(encoding="utf-8"))
        for name, counts in results["summary"].items():
            said = results["backends"].get(name)
            backend = Label.of(name).backend
            versions = said["versions"] if said else {}
            states = {key: one["state"] for key, one in results["deviations"].get(name, {}).items()}
            release = versions.get(backend, "").partition("+")[0]
            python = versions.get("python", "").rpartition(".")[0]
            run = {"file": file.name, "name": name, "backend": backend, "release": release, "python": python}
            more = {"level": results["level"], "date": results["date"][:10], "counts": counts, "states": states}
            found.append(run | more)
    return found


def _releases(backend: str) -> list[str]:
    """The releases of a framework that were run, oldest first."""
    return sorted({run["release"] for run in runs() if run["backend"] == backend} - {""}, key=Version)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _index() -> str:
    counts = []
    for backend, title in TITLES.items():
        own = [entry for entry in shipped() if entry.backend == backend]
        kinds = [str(sum(entry.kind == kind for entry in own)) for kind in KINDS]
        counts.append((f"[{title}]({backend}.md)", ", ".join(_releases(backend)) or "none", str(len(own)), *kinds))
    asked = [
        (
            f"`{r['name']}`",
            r["release"] or "not here",
            r["python"],
            r["level"],
            r["date"],
            *(str(r["counts"][s]) for s in STATES),
        )
        for r in runs()
    ]
    kinds = "\n".join(f"- **{kind}**: {what}." for kind, what in KINDS.items())
    return (
        "# What is wrong today, in which release\n\n"
        "Each finding below is one cause in one framework. It names the clause that is broken, the calls that show it, "
        "the smallest of them as a witness, and a script that shows it without convspec. `convspec check` asks each "
        "witness again in every run: where one passes, the entry is *stale*, and the run fails.\n\n"
        "The same from the command line: `convspec deviations list`, `convspec repro ID`. "
        "[The scoreboard](scoreboard.html) has every verdict of these runs, each with its clause.\n\n"
        + _table(("framework", "releases that were run", "findings", *KINDS), counts)
        + f"\n\n{kinds}\n\n"
        "A finding says for which releases it is *declared*; only those of the table were run. What another does, "
        "a run says: where a declared finding is not there, the run ends with 1 and names the lines to delete.\n\n"
        "## The runs\n\n"
        "Cells (clause x dtype) of each backend by state, from the files in `results/`. On a GPU nothing was run: "
        "there was none.\n\n"
        + _table(("backend", "release", "Python", "level", "date", *STATES), asked)
        + "\n\n[What the modes of one framework answer differently](../measured/results.md)"
        " is told beside the results.\n"
    )


def _scoreboard() -> str:
    """The page of `convspec merge results/*.json --html`, with each clause linked to its place in this site."""
    return page([merge(sorted((ROOT / "results").glob("*.json")))], book="../")


def _page(backend: str) -> str:
    own = [entry for entry in shipped() if entry.backend == backend]
    rows = [(f"[{e.id}](#{e.id})", _clause(e.clause), e.kind, _modes(e)) for e in own]
    return (
        f"# {TITLES[backend]}\n\n"
        + _table(("finding", "clause", "kind", "modes"), rows)
        + "\n\n"
        + "\n\n".join(_finding(entry) for entry in own)
        + "\n"
    )


def _clause(slug: str) -> str:
    if slug == "*":
        return "any other"
    return f"[`{slug}`](../specification/{clause(slug).topic}.md#{slug})"


def _modes(entry: Deviation) -> str:
    """Modes and devices, in words.

    >>> from dataclasses import replace
    >>> entry = shipped()[0]
    >>> _modes(replace(entry, modes=("*",))), _modes(replace(entry, modes=("!xla", "!jit"))), _modes(entry)
    ('all', 'all but xla and jit', 'all')
    """
    wanted = [mode for mode in entry.modes if not mode.startswith("!") and mode != "*"]
    unwanted = [mode[1:] for mode in entry.modes if mode.startswith("!")]
    told = ", ".join(wanted) or ("all but " + " and ".join(unwanted) if unwanted else "all")
    return told + ("" if entry.devices == ("*",) else f" on {', '.join(entry.devices)}")


def _processor(entry: Deviation) -> str:
    """What instruction sets it needs, in words.

    >>> from dataclasses import replace
    >>> _processor(replace(shipped()[0], cpu=("avx512f", "!amx_bf16")))
    'with avx512f and without amx_bf16'
    """
    wanted = [f"without {name[1:]}" if name.startswith("!") else f"with {name}" for name in entry.cpu]
    return " and ".join(wanted)


def _finding(entry: Deviation) -> str:
    facts = [
        ("Clause", ", ".join(_clause(slug) for slug in (entry.clause, *entry.also))),
        ("Kind", entry.kind + (", and does not always show" if entry.flaky else "")),
        ("Declared for", f"{TITLES[entry.backend]} `{entry.versions}`, modes: {_modes(entry)}"),
        ("Processors", _processor(entry)),
        ("Was run", _seen(entry)),
        ("Calls", f"`{entry.where.text}`"),
        ("Shows as", ", ".join(entry.shows)),
        ("Witness", f"`{entry.witness.describe()}`"),
        ("Upstream", f"[{_thread(entry.url)}]({entry.url})" if entry.url else ""),
    ]
    told = "\n".join(f"- **{name}**: {value}" for name, value in facts if value)
    return f"## {entry.id} {{#{entry.id}}}\n\n{entry.reason}\n\n{told}\n\n{_script(entry)}"


def _thread(url: str) -> str:
    """A thread in few words.

    >>> _thread("https://github.com/pytorch/pytorch/issues/56998")
    'pytorch/pytorch#56998'
    """
    parts = url.split("/")
    return f"{parts[3]}/{parts[4]}#{parts[6]}" if len(parts) == 7 and parts[2] == "github.com" else url


def _seen(entry: Deviation) -> str:
    """What became of the witness in the runs of results/, release by release."""
    found: dict[str, list[str]] = {}
    for run in sorted(runs(), key=lambda run: Version(run["release"] or "0")):
        if entry.id in run["states"]:
            found.setdefault(f"{run['states'][entry.id]} in {run['release']}", []).append(f"`{run['name']}`")
    return "; ".join(f"{what} by {', '.join(dict.fromkeys(names))}" for what, names in found.items()) or "no"


def _script(entry: Deviation) -> str:
    finding, backend = of_deviation(entry)
    try:
        code = reproduce.script(finding, backend)
    except reproduce.NoReproducer as error:
        return f"There is no script: {error}."
    lines = "\n".join(f"    {line}".rstrip() for line in code.splitlines())
    return f'??? example "The script: convspec repro {entry.id}"\n\n    ```python\n{lines}\n    ```'
