"""What a training run found, on a terminal: a table of clauses by backends, and a paragraph for each that is broken.

May import the verdicts, the specification and `report`'s texts.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from convspec.harness.report.rows import over_seeds
from convspec.harness.verdict import SEVERITY, State, decides
from convspec.spec import clause

STYLES = {"pass": "green", "fail": "red", "crash": "red", "unsupported": "yellow", "not run": "dim"}


def render(document: dict[str, Any], console: Console) -> None:
    """Print the table, what is broken, and the last line, which says it all."""
    verdicts, backends = document["verdicts"], list(document["backends"])
    descent = document["descent"]
    seeds = document["seeds"]
    title = (
        f"Training in lockstep: {descent['steps']} steps of {descent['batch']}, "
        f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    )
    table = Table("net", "clause", "level", *map(escape, backends), title=title, title_justify="left")
    for net in document["nets"]:
        table.add_section()
        for slug in dict.fromkeys(v["clause"] for v in verdicts):
            cells = []
            for backend in backends:
                own = [v for v in verdicts if (v["net"], v["clause"], v["backend"]) == (net, slug, backend)]
                cells.append(_cell(own))
            table.add_row(net, slug, clause(slug).level, *cells)
    console.print(table)
    for own in over_seeds(v for v in verdicts if v["state"] in ("fail", "crash", "unsupported")):
        told, where = own[0], ", ".join(str(v["seed"]) for v in own)
        style = STYLES[told["state"]]
        console.print(f"[{style}]{told['state']}[/] {escape(told['backend'])}, net {told['net']}, {told['clause']}"
                      + (f" (seeds {where})" if len(seeds) > 1 else ""), highlight=False)  # fmt: skip
        console.print(f"  {clause(told['clause']).statement}", markup=False, highlight=False, style="dim")
        console.print(f"  {told['text']}" + _figure(told), markup=False, highlight=False)
        if told["diagnosis"]:
            console.print(f"  matches: {told['diagnosis']}", markup=False, highlight=False, style="bold")
    if wrong := broken(document):
        who = ", ".join(dict.fromkeys(v["backend"] for v in wrong))
        console.print(f"{len(wrong)} MUST verdicts are broken: {who}.", style="red", markup=False, highlight=False)
    else:
        console.print("No MUST clause is broken.", style="green", highlight=False)


def broken(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The verdicts that decide the exit status."""
    return [v for v in document["verdicts"] if decides(v["level"], v["state"])]


def _cell(own: list[dict[str, Any]]) -> str:
    """The worst state over the seeds, with its figure."""
    told = max(own, key=lambda v: (SEVERITY.index(State(v["state"])), v["figure"] or 0))
    if told["clause"] == "training-accuracy":
        told = min(own, key=lambda v: (-SEVERITY.index(State(v["state"])), v["figure"] or 0))
    state, figure = told["state"], told["figure"]
    text = f"[{STYLES[state]}]{state}[/]"
    if figure is None:
        return text
    if told["clause"] == "training-accuracy":
        return f"{text}  {figure:.4f}"
    return f"{text}  {figure / told['limit']:.2g} of 1" if told["limit"] else text


def _figure(told: dict[str, Any]) -> str:
    if told["clause"] in ("training-early", "training-end") and told["figure"] is not None:
        return f": {told['figure']:.3g}, allowed {told['limit']:.3g}"
    return ""
