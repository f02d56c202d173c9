"""The measured tables and the files about the project, each from its one place in the repository."""

from __future__ import annotations

from .links import ROOT, read

ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "harness/process/PROTOCOL.md": "reference/protocol.md",
    "results/README.md": "measured/results.md",
}
WHAT = {
    "results": "what runs said of several releases of each framework, and of every mode that a CPU has",
    "conformance": "what the suite finds, whom it spares, how long it takes",
    "detection": "how many wrong backends this suite and other collections catch, on the same work",
    "trust": "the whole suite at its deepest, put to right backends of every kind",
    "numerics": "false alarms, missed faults and effective bits of the bounds, and of fixed tolerances",
    "mnist": "right frameworks in lockstep with the reference, and planted faults that accuracy does not show",
    "speed": "the reference's time against PyTorch's",
    "page": "how soon a scoreboard of 100,000 verdicts opens",
    "worker": "what it costs to ask a backend in a process of its own",
    "bad_arguments": "what frameworks do with invalid calls",
}


def pages() -> dict[str, str]:
    """The tables, an index of them, and the rest."""
    sources = dict(ELSEWHERE)
    for file in sorted((ROOT / "benchmarks").glob("*.md")):
        sources[f"benchmarks/{file.name}"] = f"measured/{file.name}"
    made = {page: read(source, page) for source, page in sources.items()}
    told = {page.removeprefix("measured/").removesuffix(".md") for page in made if page.startswith("measured/")}
    if told != set(WHAT):
        raise ValueError(f"docs/made/measured.py says nothing of {told ^ set(WHAT)}")
    made["measured/index.md"] = _index()
    return made


def _index() -> str:
    rows = []
    for name, what in WHAT.items():
        script = f"benchmarks/{name}.py"
        how = f"`python {script}`" if (ROOT / script).exists() else "`convspec check`, as the page says"
        rows.append(f"| [{name}]({name}.md) | {what} | {how} |")
    table = "\n".join(["| page | what was measured | rerun it |", "|---|---|---|", *rows])
    return (
        "# Measured\n\n"
        "Every figure was measured, by a script beside its table; each page says with which command, on which machine "
        "and in which versions. None was measured on a GPU.\n\n"
        f"{table}\n\n"
        'From a clone, with `pip install -e ".[check,torch,tensorflow,mnist]"`, each makes its tables anew.\n'
    )
