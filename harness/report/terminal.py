"""The report on a terminal: a table of clauses by backends, each failure in full, and the count.

May import rich, the specification, the adapters' names and the verdicts. Shapes differ as well as colours: nothing is
told by colour alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from convspec.adapters.registry import Label
from convspec.harness.verdict import SEVERITY, Finding, State
from convspec.spec import clauses

from . import words
from .findings import command
from .results import broken_musts, causes, stale, unasked
from .text import describe, visible

SIGNS = {
    State.PASS: ("✓", "green"),
    State.FAIL: ("✗", "bold red"),
    State.CRASH: ("‼", "bold white on red"),
    State.DEVIATION: ("≠", "yellow"),
    State.UNSUPPORTED: ("–", "dim"),
    State.NOT_RUN: ("·", "dim"),
}
SHORT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}

LEGEND = "  ".join(f"{sign} {state}" for state, (sign, _) in SIGNS.items()) + "  ~ a broken SHOULD"

#: How many reasons and readings the last lines name; the results file has them all.
MOST_REASONS, MOST_NAMED = 3, 8

#: A backend's column: room for a few dtypes, and of a long name no more than this in a line.
NARROWEST, WIDEST = 10, 24

Cells = list[dict[str, Any]]


def render(results: dict[str, Any], console: Console, *, only_differing: bool = False, file: str | None = None) -> None:
    """Print the whole report; `file` is where the results were written."""
    results = visible(results)
    for part in tables(results, console.width, only_differing=only_differing):
        console.print(part)
    console.print(LEGEND, style="dim")
    width = min(console.width, 120)
    lines = [hanging(line, width, 6) for line in (*deviation_lines(results), *agreement_lines(results))]
    lines += [hanging(line, width, 4) for line in summary(results)]
    for line in (*failures(results, width, file), *lines):
        console.print(line, soft_wrap=True)


def hanging(text: Text, width: int, indent: int) -> Text:
    """The text in lines of the width, all but the first of them indented.

    >>> print(hanging(Text("error:  off by 12, where the answer is exact"), 28, 8))
    error:  off by 12, where the
            answer is exact
    """
    # The first line is longer than the others: it is wrapped at their width, with as much of its start set aside.
    aside = min(indent, len(text))
    first, rest = text[:aside], text[aside:]
    lines = rest.wrap(Console(width=width, legacy_windows=False), max(width - indent, 20))
    for line in lines:
        line.rstrip()
    return first + Text("\n" + " " * indent).join(lines)


def tables(results: dict[str, Any], width: int, *, only_differing: bool = False) -> Iterator[Table]:
    """Clauses by backends; a cell sums up the dtypes and names those that are not right.

    Backends that do not fit in one width go into a table after the other, each with every clause: squeezed into one
    they would show nothing.
    """
    names = list(results["summary"])
    by_place: dict[tuple[str, str], Cells] = defaultdict(list)
    for cell in results["cells"]:
        by_place[cell["clause"], cell["backend"]].append(cell)
    rows: dict[str, dict[str, Text]] = {}
    for slug in clauses():
        if any((slug, name) in by_place for name in names):
            row = {name: summed(by_place.get((slug, name), [])) for name in names}
            there = {row[name].plain for name in names if name in results["backends"]}  # not here: says nothing
            if not only_differing or len(there) > 1:
                rows[slug] = row
    headings = {name: _heading(results, name) for name in names}
    parts = list(_parts(headings, width - _fixed(rows)))
    title = f"convspec {results['convspec']}, level {results['level']}, seed {results['seed']}"
    for number, part in enumerate(parts, 1):
        more = f", table {number} of {len(parts)}" if len(parts) > 1 else ""
        yield _table(title + more, {name: headings[name] for name in part}, rows)


def _table(title: str, headings: dict[str, str], rows: dict[str, dict[str, Text]]) -> Table:
    """A table of these backends and every row."""
    out = Table(title=title, title_justify="left")
    out.add_column("clause", no_wrap=True)
    out.add_column("level", style="dim")
    for heading in headings.values():
        out.add_column(heading, overflow="fold")
    topic = None
    for slug, row in rows.items():
        clause = clauses()[slug]
        if clause.topic != topic:
            topic = clause.topic
            out.add_section()
            out.add_row(Text(topic, style="bold italic"))
        out.add_row(slug, clause.level, *(row[name] for name in headings))
    return out


def _heading(results: dict[str, Any], name: str) -> str:
    """The backend's name, its version below it, and what else tells it from another in joined results."""
    said = results["backends"].get(name, {})
    text = said.get("text", name)
    version = str(said.get("versions", {}).get(Label.of(text).backend) or said.get("version") or "")
    more = name.removeprefix(text).split() if name != text else []
    return "\n".join(dict.fromkeys(part for part in (text, version, *more) if part))


def _fixed(rows: Iterable[str]) -> int:
    """The width of the columns that every table has, with their borders."""
    return max(map(len, ("clause", *rows))) + len("SHOULD") + 7


def _parts(headings: dict[str, str], width: int) -> Iterator[list[str]]:
    """As many backends at a time as fit, and at least one."""
    part: list[str] = []
    left = width
    for name, heading in headings.items():
        needed = min(max(NARROWEST, *map(len, heading.splitlines())), WIDEST) + 3
        if part and needed > left:
            yield part
            part, left = [], width
        part.append(name)
        left -= needed
    if part:
        yield part


def summed(cells: Cells) -> Text:
    """One cell of the table: the states of all dtypes, worst first."""
    text = Text()
    for state in reversed(SEVERITY):
        here = [c for c in cells if c["state"] == state]
        if not here:
            continue
        sign, style = SIGNS[state]
        if state == State.FAIL and here[0]["level"] != "MUST":
            sign, style = "~", "yellow"
        whole = len(here) == len(cells)
        names = " ".join(SHORT.get(str(c["dtype"]), str(c["dtype"])) for c in here)
        dtypes = "" if whole and state == State.PASS else names
        text.append(f"{' ' if text else ''}{sign}{' ' if dtypes else ''}{dtypes}", style=style)
    readings = {c["reading"] for c in cells if c["reading"]}
    return text.append(f" ({'; '.join(sorted(readings))})", style="dim") if readings else text


def failures(results: dict[str, Any], width: int = 114, file: str | None = None) -> Iterator[Text]:
    """Each broken clause of each backend: the smallest witness of each cause, and the dtypes it was seen in."""
    for backend, finding, cells in causes(results):
        yield _failure(backend, finding, cells, width, file)


def _failure(backend: str, finding: Finding, cells: Cells, width: int, file: str | None) -> Text:
    must = clauses()[finding.clause].level == "MUST"
    sign, style = SIGNS[State.CRASH if finding.is_crash else State.FAIL] if must else ("~", "yellow")
    title, *rest = describe(finding, width - 4).split("\n")
    dtypes = " ".join(dict.fromkeys(c["dtype"] for c in cells))
    lines = [Text.assemble((f"\n{sign} {backend}  ", style), (title, "bold"))]
    lines += [hanging(Text(f"  {line}"), width, 14) for line in (*rest, f"  seen in:  {dtypes}")]
    if finding.case:  # on one line, however long: what is wrapped cannot be pasted
        said = command(backend, finding, cells, file or "FILE")
        lines.append(Text(f"    script:   {said if file else f'--json FILE, then {said}'}"))
    return Text("\n").join(lines)


def deviation_lines(results: dict[str, Any]) -> Iterator[Text]:
    """The known deviations that were seen, one line each, and what is wrong with any.

    Backends that show the same ones, as releases of a framework often do, are told of together.
    """
    alike: dict[str, tuple[list[str], dict[str, Any]]] = {}
    for backend, entries in results["deviations"].items():
        seen = {name: entry for name, entry in entries.items() if entry["dtypes"]}
        if seen:
            shown = repr([(name, entry["dtypes"], entry["reason"]) for name, entry in sorted(seen.items())])
            alike.setdefault(shown, ([], seen))[0].append(backend)
    for backends, seen in alike.values():
        who = ", ".join(backends)
        yield Text(f"\nKnown deviations of {who}, each with a witness that still shows it:", style="bold")
        for name, entry in seen.items():
            dtypes = " ".join(SHORT.get(dtype, dtype) for dtype in entry["dtypes"])
            line = Text("  ≠ ", style="yellow").append(f"{entry['clause']} {dtypes}", style="bold")
            yield line.append(f"  {name} ({entry['kind']}): {entry['reason']} {entry['url']}".rstrip(), style="default")
    for said in stale(results):
        yield Text(f"✗ {said}", style="bold red")


def agreement_lines(results: dict[str, Any]) -> Iterator[Text]:
    """What modes of one framework answer differently, side by side."""
    for number, one in enumerate(results.get("agreement", ())):
        if not number:
            yield Text("\nModes that do not agree:", style="bold")
        yield Text(f"  {one['call']}", style="bold").append(f"  and {one['calls'] - 1} more like it", style="dim")
        what = f" at {one['what']}"
        yield Text(f"      {one['one']}: {one['said'][0]}    {one['other']}: {one['said'][1]}{what}")


def summary(results: dict[str, Any]) -> list[Text]:
    """The count of each backend over the fixed denominator, and what decides the exit status."""
    lines = [Text()]
    for name, tally in results["summary"].items():
        line = Text(f"{name}: ", style="bold")
        total = sum(tally.values())
        line.append(f"{tally['pass']} of {total} cells pass", style="default")
        for state, count in tally.items():
            if count and state != State.PASS:
                line.append(", ").append(f"{count} {state}", style=SIGNS[State(state)][1])
        mine = [c for c in results["cells"] if c["backend"] == name]
        line.append(
            f"  ({sum(c['cases'] for c in mine):,} cases, {sum(c['outputs'] for c in mine):,} outputs)", style="dim"
        )
        lines.append(line)
        if reason := name in unasked(results) and next((c["reason"] for c in mine if c["reason"]), ""):
            lines.append(Text(f"  not asked: {reason}", style="yellow"))
        missing = results["backends"].get(name, {}).get("missing") or []
        if missing:
            lines.append(Text(f"  it lacks {', '.join(missing)}: unsupported; the rest is judged", style="dim"))
        lines.extend(precision_lines(mine))
        if name in results["power"]:  # not where only some clauses are shown
            lines.extend(power_lines(results["power"][name]))
    broken = broken_musts(results)
    if wrong := stale(results):
        lines.append(Text(f"{words.stale(len(wrong))}.", style="bold red"))
    if broken:
        slugs = dict.fromkeys(c["clause"] for c in broken)
        lines.append(Text(words.broken(len(slugs), len(broken)), style="bold red"))
    else:
        missing = unasked(results)
        lines.append(Text(words.unbroken(missing), style="bold yellow" if missing else "bold green"))
    return lines


def precision_lines(cells: Cells) -> Iterator[Text]:
    """Effective bits: a dtype after the other, the results (y, dx, dw) of each."""
    bits: dict[str, dict[str, float]] = {}
    for cell in cells:
        bits.setdefault(cell["dtype"], {}).update(cell["precision"])
    measured = [
        f"{dtype} " + " ".join(f"{name} {of[name]:.1f}" for name in ("y", "dx", "dw") if name in of)
        for dtype, of in bits.items()
        if of
    ]
    if measured:
        yield Text(f"  effective bits: {'; '.join(measured)}", style="dim")


def power_lines(power: dict[str, Any]) -> Iterator[Text]:
    """What a pass of this run is worth: what its cases could have caught."""
    reach, left = power["out_of_reach"], power["undistinguished"]
    told = f"  these cases tell the specification from {len(power['told'])} of {power['known']} known wrong readings"
    if reach:
        why: dict[str, int] = defaultdict(int)
        for reason in reach.values():
            why[reason] += 1
        told += f"; {len(reach)} are out of reach: " + "; ".join(
            reason if len(why) == 1 else f"{count} ({reason})"
            for reason, count in sorted(why.items(), key=_most)[:MOST_REASONS]
        )
    yield Text(told, style="default" if not left else "yellow")
    if left:
        # More than a few are left where clauses were left out (-k): their names would say nothing.
        named = ", ".join(left) if len(left) <= MOST_NAMED else f"{len(left)}, which other cases or clauses would tell"
        yield Text(f"  not told apart: {named}", style="dim")
    if power["vacuous"]:
        share = power["vacuous"] / power["cases"]
        yield Text(f"  {power['vacuous']:,} of {power['cases']:,} cases could tell nothing ({share:.1%})", style="dim")


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def summary_lines(results: dict[str, Any]) -> list[str]:
    """The count as plain lines, for pytest's own terminal."""
    console = Console(width=140, no_color=True, emoji=False)
    with console.capture() as captured:
        for line in summary(results):
            console.print(line, soft_wrap=True)
    return [line for line in captured.get().splitlines() if line.strip()]
