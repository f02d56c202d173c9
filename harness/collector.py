"""The side that reports: gathers cells from pytest's reports, with xdist or without, into one results document.

May import pytest, the verdicts and the reports. Knows nothing of backends.
"""

from __future__ import annotations

from typing import Any

import pytest

from .scheduling import NODE


class Collector:
    """Gathers cells from reports; cells that were selected and never reported stay *not run*."""

    def __init__(self, config: pytest.Config) -> None:
        from .report.results import now

        self.config = config
        self.date = now()
        self.cells: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.backends: dict[str, dict[str, Any]] = {}
        self.deviations: dict[str, dict[str, dict[str, Any]]] = {}
        self.fatal: str | None = None
        self.unsaved: list[str] = []  # what went wrong with the results file
        self.planned: list[str] = []
        self.done: set[str] = set()

    def plan(self, ids: list[str]) -> None:
        """Enter the cells of these tests as not run: the denominator."""
        from convspec.spec import clauses

        for nodeid in ids:
            match = NODE.search(nodeid)
            slug = match["slug"].replace("_", "-") if match else ""
            if match and slug in clauses():
                self.planned.append(nodeid)
                key = (slug, match["dtype"], match["backend"])
                self.cells.setdefault(key, _not_run(slug, clauses()[slug].level, match["dtype"], match["backend"]))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without xdist the session has the items."""
        self.plan([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With xdist each node tells its items; they are the same."""
        if not self.planned:
            self.plan(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the cell from a report."""
        fatal = getattr(report, "convspec_fatal", None)
        if fatal and self.fatal is None:
            self.fatal = fatal
        match = NODE.search(report.nodeid)
        key = (match["slug"].replace("_", "-"), match["dtype"], match["backend"]) if match else None
        reason = getattr(report, "convspec_reason", None)
        if reason and key in self.cells:
            self.cells[key]["reason"] = reason
        cell = getattr(report, "convspec_cell", None)
        if cell is None:
            return
        self.done.add(report.nodeid)
        said = dict(report.convspec_backend)
        entries = {entry["id"]: entry for entry in said.pop("deviations", ())}
        self.deviations.setdefault(cell["backend"], {}).update(entries)
        self.backends.setdefault(cell["backend"], said)
        key = (cell["clause"], cell["dtype"], cell["backend"])
        before = self.cells.get(key)
        self.cells[key] = cell if before is None or before["state"] == "not run" else merged(before, cell)

    def results(self) -> dict[str, Any]:
        """Everything as one JSON-able document."""
        from .oracle import readings
        from .report.results import document

        option = self.config.getoption
        cells = attributed(self.cells)
        return document(
            cells,
            self.backends,
            level=option("level"),
            seed=option("convspec_seed"),
            order=option("backend"),
            readings=readings.known(),
            deviations=self.deviations,
            date=self.date,
        )

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the results file, also after Ctrl-C; a backend that could not be had ends with status 2."""
        if self.cells:
            from .report.results import save, stale

            found = self.results()
            self.unsaved = save(found, self.config.getoption("convspec_json"))
            if session.exitstatus == pytest.ExitCode.OK and stale(found):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.unsaved and session.exitstatus != pytest.ExitCode.INTERRUPTED:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
        if self.fatal:
            session.exitstatus = 2

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The table under pytest's own output."""
        if self.cells and not self.config.getoption("collectonly"):
            from .report.terminal import summary_lines

            terminalreporter.section("convspec")
            for line in summary_lines(self.results()):
                terminalreporter.write_line(line)
            for line in self.unsaved:
                terminalreporter.write_line(f"convspec: {line}", red=True)


def _not_run(slug: str, level: str, dtype: str, backend_name: str) -> dict[str, Any]:
    from .verdict import Cell

    return Cell(slug, level, dtype, backend_name).to_dict()


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """One cell from two tests of the same clause."""
    from .verdict import WITNESS, State, summed, worst

    both = dict(other)
    for count in ("cases", "refused", "skipped", "outputs", "seconds", "vacuous", "told"):
        both[count] = one[count] + other[count]
    states = [State(one["state"]), State(other["state"])]
    both["state"] = str(worst(states))
    if State.UNSUPPORTED in states and State.PASS in states:
        both["state"] = str(State.PASS)
    both["findings"] = one["findings"] + other["findings"]
    both["reason"] = one["reason"] or other["reason"]
    both["reach"] = one["reach"] | other["reach"]
    both["precision"] = one["precision"] | other["precision"]
    if errors := summed(one.get("errors", ()), other.get("errors", ())):
        both["errors"] = errors
    if otherwise := {**one.get("otherwise", {}), **other.get("otherwise", {})}:
        both["otherwise"] = otherwise
    said = [*one["witnesses"].items(), *other["witnesses"].items()]
    both["witnesses"] = dict(sorted(said, key=lambda item: WITNESS.index(item[1]), reverse=True))  # the last counts
    return both


def attributed(cells: dict[tuple[str, str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each finding to the clause that it breaks, wherever it was seen; one witness for a cause is enough."""
    from .explore import cause
    from .verdict import LOSSES, Finding, State, worst

    out = {key: dict(cell, findings=[]) for key, cell in cells.items()}
    seen = set()
    for (slug, dtype, name), cell in cells.items():
        for finding in sorted(cell["findings"], key=lambda f: f["elements"]):
            target = (finding["clause"], dtype, name)
            if target not in out:
                target = next((k for k in out if k[0] == finding["clause"] and k[2] == name), (slug, dtype, name))
            mark = (target, cause(Finding(**finding)))
            if mark in seen and finding["clause"] != slug:
                continue
            seen.add(mark)
            out[target]["findings"].append(finding)
            state = "crash" if finding["kind"] in LOSSES else "fail"
            state = "deviation" if finding["deviation"] else state
            out[target]["state"] = worst([State(out[target]["state"]), State(state)]).value
    return list(out.values())
