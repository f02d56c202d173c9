"""One run of `convspec check`: pytest underneath, our own progress and report on top.

May import everything of the harness. Pytest runs with its own terminal switched off, without the user's configuration
and without other plugins: the verdict must not depend on what else is installed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from convspec.adapters import registry
from convspec.adapters.backend import BackendError, DeviceUnavailable, NotInstalled

from .cases.case import Case
from .collector import Collector
from .deviations import Deviation, DeviationError
from .deviations import known as known_deviations
from .interpreters import Interpreters
from .process import strays
from .report import ci, terminal
from .report import results as results_file

CONFORMANCE = "convspec.conformance"
PASSED, BROKEN, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True)
class Run:
    """What was asked for on the command line."""

    backends: tuple[str, ...]
    level: str
    json_file: str | None = None
    seed: int | None = None
    fuzz: bool = False
    expression: str | None = None
    processes: int | None = None
    deviations: tuple[str, ...] = ()
    no_deviations: bool = False
    pythons: tuple[str, ...] = ()
    skip_missing: bool = False
    files: ci.Files = field(default_factory=ci.Files)


def run(asked: Run, console: Console | None = None) -> int:
    """Judge, report, and return the exit status."""
    mark = strays.mark()
    with _interrupted_once(), environment(**{strays.OF_RUN: mark}):
        try:
            return _run(asked, console or make_console(stderr=asked.files.to_stdout))
        finally:
            strays.end(mark, strays.OF_RUN)


def _run(asked: Run, console: Console) -> int:
    errors = Console(stderr=True, emoji=False)
    try:
        asked = replace(asked, backends=tuple(registry.expand(asked.backends)))
        missing = _preflight(asked)
        known = known_deviations(asked.deviations, ours=not asked.no_deviations)
    except (BackendError, DeviationError) as error:
        errors.print(f"convspec: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        return COULD_NOT_RUN
    if asked.fuzz:
        console.print(f"seed {asked.seed} (repeat this run with --seed {asked.seed})")
    live = Live(console)
    collector, status = _pytest(asked, live, missing)
    if fatal := (collector.fatal if collector is not None else None) or _broke(live, status):
        errors.print(f"convspec: {fatal}", style="red", highlight=False, markup=False, soft_wrap=True)
        return COULD_NOT_RUN
    if collector is None or not collector.cells:
        return _nothing(asked, live, status, errors)
    return _told(asked, known, live, status, console, errors)


def _told(asked: Run, known: list[Deviation], live: Live, status: int, console: Console, errors: Console) -> int:
    """Report what was judged, save it, and return the exit status."""
    collector = live.collector
    assert collector is not None
    found, unsaved = collector.results(), collector.unsaved
    if status != pytest.ExitCode.INTERRUPTED and not asked.expression:
        try:
            found["agreement"] = _agreement(asked, known, console)
            unsaved = results_file.save(found, asked.json_file)
        except KeyboardInterrupt:  # the clauses are judged, and told
            status = pytest.ExitCode.INTERRUPTED
    terminal.render(found, console, file=asked.json_file)
    written = _written(asked, found, unsaved, console, errors)
    if status == pytest.ExitCode.INTERRUPTED:
        saved = " and saved" if asked.json_file and not unsaved else ""
        console.print(f"Interrupted: what was judged so far is above{saved}.", style="yellow")
        return INTERRUPTED
    if live.broken_checks:
        for text in live.broken_checks[:3]:
            errors.print(text, markup=False, highlight=False)
        errors.print(
            f"convspec: {len(live.broken_checks)} checks broke by themselves; this is a fault of convspec", style="red"
        )
        return COULD_NOT_RUN
    broken = results_file.broken_musts(found) or results_file.stale(found)
    return (BROKEN if broken else PASSED) if written else COULD_NOT_RUN


def _broke(live: Live, status: int) -> str:
    """Say that pytest itself ended early: what it has not asked must not be taken for sound. Else nothing."""
    codes = pytest.ExitCode
    if status in (codes.OK, codes.TESTS_FAILED, codes.INTERRUPTED, codes.NO_TESTS_COLLECTED) and not live.internal:
        return ""
    if not live.internal and (live.broken_checks or (live.collector and live.collector.unsaved)):
        return ""  # told by its own text
    why = live.internal or f"pytest ended with exit status {int(status)}"
    return f"the run broke off: {why}; this is a fault of convspec"


def _written(asked: Run, found: dict[str, Any], unsaved: list[str], console: Console, errors: Console) -> bool:
    """Write what CI reads, also of an interrupted run, and annotate on GitHub; whether all could be written."""
    if asked.json_file and not unsaved:
        console.print(f"Results: {asked.json_file}", highlight=False)
    wrong = asked.files.write(found)
    for line in (*unsaved, *wrong):
        errors.print(f"convspec: {line}", style="red", highlight=False, markup=False, soft_wrap=True)
    if asked.files.said() and not wrong:
        console.print(f"Written: {asked.files.said()}", highlight=False, markup=False, soft_wrap=True)
    if ci.on_github():
        for line in ci.workflow_commands(found):
            print(line, file=console.file)  # whole lines as they are: rich would wrap them
    return not (unsaved or wrong)


def _agreement(asked: Run, known: list[Deviation], console: Console) -> list[dict[str, Any]]:
    """What modes of one framework do not agree on, where several were asked."""
    from . import agreement

    interpreters = Interpreters.parse(asked.pythons)
    found: list[dict[str, Any]] = []
    for modes in agreement.groups(asked.backends):
        with Progress(TextColumn("do {task.description} agree?"), TimeElapsedColumn(), TextColumn("{task.fields[now]}"),
                      console=console, transient=True, disable=not console.is_terminal) as progress:  # fmt: skip
            task = progress.add_task(" and ".join(modes), total=None, now="starting them ...")
            differ = agreement.of_modes(
                modes,
                asked.level,
                partial(interpreters.remote, timeout=60.0, env={}, standby=True),
                known,
                partial(_asking, progress, task),
            )
        found += [one.to_dict() for one in differ]
    return found


def _asking(progress: Progress, task: TaskID, case: Case) -> None:
    progress.update(task, now=case.op)


def _preflight(asked: Run) -> dict[str, str]:
    """Refuse before any work what cannot run: unknown names; interpreters, code or devices that are not there.

    With `skip_missing` a package or a device that is not there is returned instead, with its reason; no other fault is.
    """
    if asked.expression and (fault := _wrong_expression(asked.expression)):
        raise BackendError(f"-k {asked.expression!r} is no expression: {fault}")
    skip = (DeviceUnavailable, NotInstalled) if asked.skip_missing else ()
    return Interpreters.parse(asked.pythons).check(asked.backends, skip=skip)


def _wrong_expression(expression: str) -> str:
    """What is wrong with a `-k` expression, asked of pytest's own parser, which is not public; or nothing."""
    try:
        from _pytest.mark.expression import Expression
    except ImportError:
        return ""
    try:
        Expression.compile(expression)
    except SyntaxError as error:
        return str(error)
    return ""


def make_console(*, stderr: bool = False) -> Console:
    """The terminal as it is; where there is none, a width that logs can hold."""
    console = Console(emoji=False, stderr=stderr)
    wide_enough = console.is_terminal or "COLUMNS" in os.environ
    return console if wide_enough else Console(width=120, emoji=False, stderr=stderr)


def _nothing(asked: Run, live: Live, status: int, errors: Console) -> int:
    if status == pytest.ExitCode.INTERRUPTED:
        errors.print("Interrupted before anything was judged.", style="yellow")
        return INTERRUPTED
    if asked.expression and status == pytest.ExitCode.NO_TESTS_COLLECTED:
        errors.print(
            f"convspec: no clause matches -k {asked.expression!r}; `convspec spec` lists them",
            style="red",
            markup=False,
        )
    else:
        errors.print("convspec: nothing was judged; pytest said:", style="red")
        errors.print("\n".join(live.broken_checks) or f"exit status {int(status)}", markup=False, highlight=False)
    return COULD_NOT_RUN


def _pytest(asked: Run, live: Live, missing: dict[str, str]) -> tuple[Collector | None, int]:
    """Run the conformance tests; the collector holds what they found."""
    cores = os.cpu_count() or 1
    processes = asked.processes or min(8, max(cores, 1))
    chunks = max(1, processes // len(asked.backends))
    args = ["--pyargs", CONFORMANCE, "-c", os.devnull, "--rootdir", str(Path.cwd()), "--noconftest"]
    args += ["--import-mode=importlib", "--assert=plain", "-p", "no:terminal", "-p", "no:cacheprovider"]
    # The last: five full collections of garbage in each process, to warn of what nobody reads here.
    args += ["-p", "no:convspec", "-p", "convspec.harness.plugin", "-p", "no:unraisableexception"]
    args += [f"--backend={name}" for name in asked.backends]
    args += [f"--convspec-python={python}" for python in asked.pythons]
    args += ["--level", asked.level, f"--convspec-chunks={chunks}"]
    args += [f"--convspec-seed={asked.seed}"] if asked.seed is not None else []
    args += ["--convspec-json", asked.json_file] if asked.json_file else []
    args += [f"--convspec-deviations={file}" for file in asked.deviations]
    args += ["--convspec-no-deviations"] if asked.no_deviations else []
    args += [f"--convspec-missing={name}={why}" for name, why in missing.items()]
    args += ["-k", asked.expression] if asked.expression else []
    if processes > 1:
        args += ["-p", "xdist.plugin", "-n", str(min(processes, chunks * len(asked.backends))), "--dist", "loadscope"]
    with environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS=""):
        try:
            status = int(pytest.main(args, plugins=[live]))
        except KeyboardInterrupt:  # before it came to its tests, where it catches this itself
            status = int(pytest.ExitCode.INTERRUPTED)
        finally:
            live.progress.stop()
    return live.collector, status


@contextlib.contextmanager
def environment(**changes: str) -> Iterator[None]:
    """Variables of this process, and of those that it starts, for a while."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """A polite kill is like Ctrl-C; after the first of them the others wait until what was judged is told and saved."""

    def interrupt(*_: object) -> None:
        for number in before:
            signal.signal(number, _nothing_more)  # no SIG_IGN, which processes started now would inherit
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}  # as nohup does
    try:
        for number in before:
            signal.signal(number, interrupt)
    except ValueError:  # not the main thread: leave signals alone
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _nothing_more(*_: object) -> None:
    pass


def bar(console: Console) -> Progress:
    """How far it is and what is asked `now`: on a terminal, and gone when it is done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


class Live:
    """Progress while pytest runs: a bar on a terminal, a line now and then elsewhere."""

    EVERY = 15.0  # seconds between lines where there is no terminal

    def __init__(self, console: Console) -> None:
        self.console = console
        self.collector: Collector | None = None
        self.broken_checks: list[str] = []
        self.internal = ""  # the last line of what broke pytest or xdist itself
        self.failed = 0
        self._said = time.monotonic()
        self.progress = bar(console)
        self._task = self.progress.add_task("judging", total=None, now="starting the backends ...")

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the bar; find the collector."""
        self._session = session
        found = session.config.pluginmanager.getplugin("convspec-collector")
        self.collector = found
        self.progress.start()

    def pytest_internalerror(self, excrepr: object) -> bool:
        """Keep what broke, in a line, instead of hundreds of them; the first is what the others follow from."""
        lines = [line.removeprefix("INTERNALERROR>").strip() for line in str(excrepr).splitlines()]
        # The places of a traceback are indented or blank; the errors of it stand behind "E".
        said = [line.removeprefix("E ").strip() for line in lines if line.startswith("E ")] or [w for w in lines if w]
        self.internal = self.internal or (said[-1][:300] if said else "no reason was given")
        return True

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A collection that fails is a fault of ours, or a wrong option."""
        if report.failed:
            self.broken_checks.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Advance; keep what broke by itself."""
        assert self.collector is not None
        if self.collector.fatal:
            self._session.shouldstop = self.collector.fatal
            return
        cell = getattr(report, "convspec_cell", None)
        if report.failed and not (cell and cell["findings"]):
            self.broken_checks.append(f"{report.nodeid}\n{report.longrepr}")
        if cell:
            self.failed += any(f["clause"] and not f["deviation"] for f in cell["findings"])
        done, total = len(self.collector.done), len(self.collector.planned)
        now = report.nodeid.split("::")[-1].removeprefix("test_").replace("_", "-")
        found = f"{self.failed} with findings  " if self.failed else ""
        self.progress.update(self._task, completed=done, total=total, now=f"{found}{now}")
        if not self.console.is_terminal and time.monotonic() - self._said > self.EVERY:
            self._said = time.monotonic()
            self.console.print(f"{done}/{total} judged, {self.failed} with findings", highlight=False)

    def pytest_sessionfinish(self) -> None:
        """Take the bar away; the report follows."""
        self.progress.stop()
