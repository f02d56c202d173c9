"""`convspec diff`: better, worse, new, gone, and which of them decides."""

import copy
import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from reported import all_states, cell, run_of, training

from convspec.harness.cli import main
from convspec.harness.report.diff import MOST_LINES, diff, lines
from convspec.harness.verdict import SEVERITY, State
from convspec.spec import clauses

ROOT = Path(__file__).parents[2]


def said(old, new):
    return "\n".join(line.plain for line in lines(diff(old, new)))


@pytest.fixture
def command(tmp_path):
    def run(old, new):
        for name, document in (("old", old), ("new", new)):
            (tmp_path / f"{name}.json").write_text(document if isinstance(document, str) else json.dumps(document))
        return CliRunner().invoke(main, ["diff", str(tmp_path / "old.json"), str(tmp_path / "new.json")])

    return run


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_pair_of_states(before, after):
    for level in ("MUST", "SHOULD"):
        old, new = (run_of(cell(state=str(state), level=level)) for state in (before, after))
        found = diff(old, new)
        worse, better = SEVERITY.index(after) > SEVERITY.index(before), SEVERITY.index(after) < SEVERITY.index(before)
        assert (len(found.worse), len(found.better), found.same) == (worse, better, before == after)
        assert bool(found.decides) == (worse and level == "MUST" and after in (State.FAIL, State.CRASH))


def test_a_must_that_came_to_fail_decides_and_its_dtypes_share_a_line(command):
    old = run_of(*(cell(dtype=dtype) for dtype in ("float32", "float64")), cell("groups"), cell("locality", "fail"))
    new = run_of(
        *(cell(state="fail", dtype=dtype) for dtype in ("float32", "float64")),
        cell("groups", "unsupported"),
        cell("locality"),
    )
    done = command(old, new)
    assert done.exit_code == 1
    assert done.output.splitlines() == [
        "Worse, and a MUST is broken by it:",
        "  mine  size-formula  pass -> fail  (float32, float64)",
        "Worse:",
        "  mine  groups  pass -> unsupported  (float32)",
        "Better:",
        "  mine  locality  fail -> pass  (float32)",
        "3 worse, 1 better, 0 new, 0 gone, 0 as before",
        "1 MUST clause came to be broken, in 2 cells.",
    ]


def test_what_one_file_alone_has_is_told_and_decides_nothing(command):
    old = run_of(cell(), cell("groups", "fail"))
    new = run_of(cell(), cell("locality", "fail"), cell("locality", dtype="float64"))
    done = command(old, new)
    assert done.exit_code == 0
    assert "New:\n  mine  locality  float32 fail, float64 pass\n" in done.output
    assert "Gone:\n  mine  groups  float32 fail\n" in done.output
    assert "0 worse, 0 better, 2 new, 1 gone, 1 as before" in done.output


def test_a_backend_that_is_new_as_a_whole_is_counted():
    slugs = [slug for slug, c in clauses().items() if c.scope == "backend"][: MOST_LINES + 1]
    new = run_of(cell(), *(cell(slug, backend="other") for slug in slugs))
    assert f"other  {len(slugs)} cells of {len(slugs)} clauses: {len(slugs)} pass" in said(run_of(cell()), new)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [(24.0, 23.6, False), (24.0, 23.4, True), (11.0, 24.0, True), (24.0, float("nan"), True)],
)
def test_effective_bits_are_told_from_half_a_bit(before, after, told):
    old = run_of(cell("groups"), cell(precision={"y": before, "dx": 20.0}))
    new = run_of(cell("groups"), cell(precision={"y": after, "dx": 20.0}))
    text = said(old, new)
    assert (f"mine  float32 y: {before:.1f} -> {after:.1f}" in text) == told
    assert "dx" not in text
    assert not diff(old, new).decides


def test_the_worst_of_several_clauses_counts():
    old = run_of(cell(precision={"y": 24.0}), cell("groups", precision={"y": 23.0}))
    new = run_of(cell(precision={"y": 24.0}), cell("groups", precision={"y": 11.0}))
    assert "float32 y: 23.0 -> 11.0" in said(old, new)


def test_a_file_is_as_itself():
    for path in sorted((ROOT / "results").glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        found = diff(document, copy.deepcopy(document))
        assert [found.better, found.worse, found.new, found.gone, found.bits] == [[], [], [], [], []]
        assert found.same == len(document["cells"])


def test_training_runs_can_be_compared(command):
    done = command(training(), training("fail"))
    assert done.exit_code == 1
    assert "mine  training-step  pass -> fail  (net B, seed 0)" in done.output


def test_clauses_of_another_version_are_compared_too(command):
    old, new = (run_of(cell(), cell("groups")) for _ in range(2))
    for document in (old, new):
        document["cells"][1]["clause"] = "a-clause-to-come"
    assert command(old, new).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{", all_states(), "old.json: not a results file: Expecting"),
        (all_states(), "[]", "new.json: not a results file of convspec"),
        (all_states() | {"version": 1}, all_states(), "old.json: results version 1"),
        (all_states(), training() | {"version": 7}, "new.json: training version 7"),
        (all_states() | {"summary": []}, all_states(), "old.json: damaged: summary: [] is not of type object"),
        (training(), all_states(), "one is of `convspec check` and the other of `convspec mnist`"),
        (run_of(cell(backend="a")), run_of(cell(backend="b")), "no cell: the old one has a, the new one b"),
        (run_of(), run_of(cell()), "old.json: damaged: cells: there is none"),
    ],
)
def test_what_cannot_be_compared_exits_2_and_says_why(command, old, new, message):
    done = command(old, new)
    assert done.exit_code == 2
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert message in line


def test_a_file_that_is_not_there_exits_2(tmp_path):
    done = CliRunner().invoke(main, ["diff", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert done.exit_code == 2
    assert "does not exist" in done.output
