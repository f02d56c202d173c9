"""The pytest plugin: `--backend`, the `check` fixture, and verdicts that travel with pytest's own reports.

Loaded in every pytest session of an environment that has convspec, so nothing heavy is imported until it is used.
A test marked `clause` gets a `check` bound to one backend and one dtype; its cell rides on the report as plain data,
which crosses xdist's border by itself.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .check import Check
    from .deviations import Deviation
    from .diagnosis import Diagnosis
    from .judge import Judge
    from .power import Power

DEFAULT_SEED = 20
_CHECKS = pytest.StashKey["Check"]()
_JUDGES = pytest.StashKey[dict[str, "Judge"]]()
_POWERS = pytest.StashKey[dict[str, "Power"]]()
_DIAGNOSES = pytest.StashKey[dict[str, "Diagnosis"]]()
_KNOWN = pytest.StashKey["Sequence[Deviation]"]()

#: OpenMP's threads sleep while they wait, instead of spinning: on a busy machine that is a hundredfold. The second:
#: threads that frameworks start, held to one by their own environment variables.
QUIET_THREADS = {"OMP_WAIT_POLICY": "passive"}
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
    "1",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the conformance suite."""
    group = parser.getgroup("convspec", "convspec: conformance of convolution and max pooling")
    group.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="backend to judge, e.g. torch:cpu; may be repeated",
    )
    group.addoption(
        "--level", choices=("quick", "standard", "deep"), default="standard", help="how much to ask (standard)"
    )
    group.addoption("--convspec-seed", type=int, default=DEFAULT_SEED, metavar="N", help="seed of all cases")
    group.addoption("--convspec-timeout", type=float, default=30.0, metavar="S", help="seconds a call may take (30)")
    group.addoption(
        "--convspec-python",
        action="append",
        default=[],
        metavar="[NAME=]PATH",
        help="Python to run backends in: every one, the one called NAME, or those written BACKEND%%NAME",
    )
    group.addoption(
        "--convspec-deviations",
        action="append",
        default=[],
        metavar="FILE",
        help="more known deviations (TOML), beside those that convspec ships",
    )
    group.addoption("--convspec-missing", action="append", default=[], help="NAME=WHY: a backend that is not here")
    group.addoption("--convspec-no-deviations", action="store_true", help="judge as if no deviation were known")
    group.addoption("--convspec-json", default=None, metavar="FILE", help="write the results to FILE")
    group.addoption("--convspec-chunks", type=int, default=0, help="processes per backend, with xdist")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; gather the verdicts on the side that reports."""
    config.addinivalue_line("markers", "clause(slug, dtypes=...): the clause of the specification that the test checks")
    config.stash[_JUDGES] = {}
    config.stash[_POWERS] = {}
    config.stash[_DIAGNOSES] = {}
    config.stash[_KNOWN] = _known(config)
    if not hasattr(config, "workerinput"):
        from .collector import Collector

        config.pluginmanager.register(Collector(config), "convspec-collector")
    else:
        config.pluginmanager.register(_Quiet(), "convspec-quiet")


class _Quiet:
    """In a process of xdist: what breaks is told by the side that reports, not by each process once more."""

    def pytest_internalerror(self) -> bool:
        return True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each backend and each dtype of the clause."""
    if "check" not in metafunc.fixturenames:
        return
    backends = metafunc.config.getoption("backend")
    marker = metafunc.definition.get_closest_marker("clause")
    assert marker is not None, f"{metafunc.definition.name} has no clause"
    metafunc.parametrize("backend", backends, indirect=True, scope="session")
    metafunc.parametrize("dtype", marker.kwargs["dtypes"], scope="function")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let `-k` find clauses by their slugs; refuse to run without a backend."""
    if not config.getoption("backend") and any("check" in getattr(item, "fixturenames", ()) for item in items):
        raise pytest.UsageError("name a backend: --backend torch:cpu, say (`convspec list` shows what is there)")
    for item in items:
        if isinstance(item, pytest.Function) and "check" in item.fixturenames:
            marker = item.get_closest_marker("clause")
            item.extra_keyword_matches.update(marker.args if marker else ())  # `-k same-lower`, as the slug is written


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each backend in as few processes as asked: starting a framework costs seconds."""
    from .scheduling import scheduler

    chunks = config.getoption("convspec_chunks")
    return scheduler(config, log, chunks) if chunks else None


# ---- fixtures -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> Generator[Judge]:
    """The judge of the backend that this test is parametrized with, in a process of its own."""
    missing = dict(text.split("=", 1) for text in request.config.getoption("convspec_missing"))
    if request.param in missing:
        pytest.skip(missing[request.param])
    judge = _judge(request.config, request.param)
    _declare(request.config, judge)
    yield judge
    judge.backend.close()


@pytest.fixture
def check(request: pytest.FixtureRequest, backend: Judge, dtype: str) -> Check:
    """What a conformance test asks through; see `convspec.harness.check`."""
    if dtype not in ("float32", "all") and _sparing(backend, slowly=True):
        pytest.skip("this mode compiles each shape anew, for seconds: float32 alone is asked")
    return _bound(request.node, backend, dtype)


@pytest.fixture(scope="session")
def single_threaded(request: pytest.FixtureRequest, backend: Judge) -> Generator[Judge]:
    """The same backend in a process that may use one thread. Left out at level quick: it starts the framework again."""
    if request.config.getoption("level") == "quick":
        pytest.skip("not run at level quick: it needs a second process of the backend")
    judge = _judge(request.config, backend.backend.text, alone=True)
    _declare(request.config, judge)
    yield judge
    judge.backend.close()


def _known(config: pytest.Config) -> Sequence[Deviation]:
    """Every known deviation, those that ship and those given; a malformed file ends the run before it begins."""
    if not config.getoption("backend"):
        return []
    from .deviations import DeviationError, known

    ours = not config.getoption("convspec_no_deviations")
    try:
        return known(config.getoption("convspec_deviations"), ours=ours)
    except DeviationError as error:
        raise pytest.UsageError(str(error)) from None


def _declare(config: pytest.Config, judge: Judge) -> None:
    """Tell the judge which deviations concern the backend; it is started for that, or cannot be had."""
    from .deviations import Declared

    entries = config.stash[_KNOWN]
    judge.deviations = Declared.of(entries, judge.backend.text, judge.backend.hello)


def _judge(config: pytest.Config, name: str, *, alone: bool = False) -> Judge:
    from .interpreters import Interpreters
    from .judge import Judge
    from .levels import LEVELS

    key = name + ("/one thread" if alone else "")
    env = {k: v for k, v in QUIET_THREADS.items() if k not in os.environ} | (ONE_THREAD if alone else {})
    judges = config.stash[_JUDGES]
    if key not in judges:
        given = Interpreters.parse(config.getoption("convspec_python"))
        remote = given.remote(name, timeout=config.getoption("convspec_timeout"), env=env, standby=not alone)
        judges[key] = Judge(remote, LEVELS[config.getoption("level")].crashes, tallies=True)
    return judges[key]


def _bound(item: pytest.Item, judge: Judge, dtype: str) -> Check:
    from convspec.spec import clause

    from .check import Check
    from .verdict import Cell

    marker = item.get_closest_marker("clause")
    assert marker is not None
    text = clause(marker.args[0])
    cell = Cell(text.slug, text.level, dtype, judge.backend.text)
    config = item.config
    level, seed = config.getoption("level"), config.getoption("convspec_seed")
    sparing, power, diagnosis = _sparing(judge), _power(item, judge), _diagnosis(item, judge)
    level = "quick" if sparing else level
    made = Check(judge, cell, level=level, seed=seed, power=power, diagnosis=diagnosis, sparing=sparing)
    item.stash[_CHECKS] = made
    return made


def _sparing(judge: Judge, *, slowly: bool = False) -> bool:
    """Whether a backend compiles each shape anew, and whether that takes seconds."""
    from convspec.adapters import registry

    name = judge.backend.text.partition("%")[0]
    return not name.startswith("command:") and registry.compiles(name, slowly=slowly)


def _power(item: pytest.Item, judge: Judge) -> Power:
    """What this process's cases tell apart, one account a backend."""
    from .power import Power

    powers = item.config.stash[_POWERS]
    if judge.backend.text not in powers:
        tests = [i for i in item.session.items if isinstance(i, pytest.Function) and "check" in i.fixturenames]
        mine = [i for i in tests if i.callspec.params["backend"] == judge.backend.text]
        marked = [(i.get_closest_marker("clause"), i.callspec.params["dtype"]) for i in mine]
        cells = [(str(mark.args[0]), str(dtype)) for mark, dtype in marked if mark]
        powers[judge.backend.text] = Power(judge.contract, cells)
    return powers[judge.backend.text]


def _diagnosis(item: pytest.Item, judge: Judge) -> Diagnosis:
    from .diagnosis import Diagnosis

    return item.config.stash[_DIAGNOSES].setdefault(judge.backend.text, Diagnosis(judge))


# ---- from check to report -----------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, Any, Any]:
    """After the test's body: turn what `check` gathered into pytest's outcome."""
    result = yield
    made = pyfuncitem.stash.get(_CHECKS, None)
    if made is None:
        return result
    from .report.text import describe

    cell = made.cell
    cell.conclude()
    if cell.findings:
        text = "\n\n".join(describe(finding) for finding in cell.findings)
        musts = [f for f in cell.findings if _level(f.clause) == "MUST" and not f.deviation]
        if not musts:
            known = "a known deviation" if cell.state == "deviation" else f"{cell.level}, so it decides nothing"
            pytest.xfail(f"{known}: {text}")
        pytest.fail(text, pytrace=False)
    if cell.state == "unsupported":
        pytest.skip(f"unsupported: {cell.reason}")
    return result


def _level(slug: str) -> str:
    from convspec.spec import clause

    return clause(slug).level


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the cell, and what the backend said of itself, ride on the report."""
    report = yield
    made = item.stash.get(_CHECKS, None)
    if made is not None and report.when == "call":
        made.cell.seconds = call.duration
        if report.failed and not made.cell.findings:
            made.cell.reason = "the check itself broke: " + str(report.longrepr).strip().splitlines()[-1]
        report.convspec_cell = made.cell.to_dict()  # type: ignore[attr-defined]
        said = made.judge.backend.hello | {"deviations": made.judge.deviations.to_list()}
        report.convspec_backend = _plain(said)  # type: ignore[attr-defined]
    elif call.excinfo is not None and _is_backend_error(call.excinfo.value):
        report.convspec_fatal = str(call.excinfo.value)  # type: ignore[attr-defined]
    elif report.when == "setup" and report.skipped and isinstance(report.longrepr, tuple):
        report.convspec_reason = report.longrepr[2].removeprefix("Skipped: ")  # type: ignore[attr-defined]
    return report


def _is_backend_error(error: BaseException) -> bool:
    from convspec.adapters.backend import BackendError

    return isinstance(error, BackendError)


def _plain(value: Any) -> Any:
    """Only what JSON and xdist carry."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
