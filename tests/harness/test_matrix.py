"""What makes a matrix of single runs: shares of processes, joined results, modes put side by side."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from reported import HELLO
from rich.console import Console

from convspec.adapters import registry
from convspec.harness.agreement import Difference, cases, disagreements, few, groups
from convspec.harness.cases.case import Case
from convspec.harness.check import Check
from convspec.harness.judge import Judge
from convspec.harness.levels import FEW
from convspec.harness.process.local import LocalBackend
from convspec.harness.report.merge import MergeError, merge
from convspec.harness.report.results import broken_musts, counts, document
from convspec.harness.report.terminal import deviation_lines, tables
from convspec.harness.scheduling import NODE, cell_of, shares
from convspec.harness.verdict import Cell, Finding

# ---- shares


def test_all_tests_of_a_cell_are_in_one_share_and_shares_are_alike():
    cells = [(f"clause-{n}", dtype) for n in range(60) for dtype in ("float32", "float64")]
    cells += [("attributes-combine", "float32"), ("tail-sizes", "float16")]
    found = shares(cells * 2, 3)
    assert set(found) == set(cells)
    sizes = [sum(share == one for share in found.values()) for one in range(3)]
    assert min(sizes) > 20
    assert shares(cells, 3) == found
    assert set(shares(cells, 1).values()) == {0}


@pytest.mark.parametrize(
    ("name", "backend", "cell"),
    [
        ("test_x.py::test_same_lower[torch:cpu@compile-float32]", "torch:cpu@compile", ("same-lower", "float32")),
        ("test_x.py::test_attributes_combine__networks[torch%old-all]", "torch%old", ("attributes-combine", "all")),
        ("test_x.py::test_groups[a/b-c.py:Mine-bfloat16]@group", "a/b-c.py:Mine", ("groups", "bfloat16")),
    ],
)
def test_a_test_is_known_by_its_id(name, backend, cell):
    assert cell_of(name) == cell
    assert NODE.search(name)["backend"] == backend


# ---- joined results


def run_of(backend, version, state="pass", **more):
    """A document of one run with two cells."""
    finding = Finding("size-formula", "value", "wrong")
    first = Cell("size-formula", "MUST", "float32", backend, cases=3, findings=[finding] if state == "fail" else [])
    cells = [first, Cell("locality", "MUST", "float32", backend, cases=2)]
    for cell in cells:
        cell.conclude()
    hello = HELLO | {"versions": {backend.partition("@")[0].partition(":")[0]: version}}
    made = document((c.to_dict() for c in cells), {backend: hello}, level="quick", seed=20, readings=("A",))
    return made | more


def written(folder, **documents):
    for name, data in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    return [folder / f"{name}.json" for name in documents]


def test_joined_results_hold_every_cell_under_its_own_label(tmp_path):
    files = written(
        tmp_path, a=run_of("torch", "2.5"), b=run_of("torch", "2.13", "fail"), c=run_of("torch@compile", "2.13")
    )
    joined = merge(files)
    assert list(joined["summary"]) == ["torch 2.5", "torch 2.13", "torch@compile"]
    assert len(joined["cells"]) == 6
    assert all(joined["summary"][name] == counts(joined["cells"], name) for name in joined["summary"])
    assert [c["backend"] for c in broken_musts(joined)] == ["torch 2.13"]
    assert [run["file"] for run in joined["runs"]] == ["a.json", "b.json", "c.json"]


def test_the_same_version_twice_is_told_apart_by_its_file(tmp_path):
    joined = merge(written(tmp_path, before=run_of("torch", "2.13"), after=run_of("torch", "2.13")))
    assert list(joined["summary"]) == ["torch 2.13 before", "torch 2.13 after"]


def test_one_file_three_times_is_refused(tmp_path):
    (file,) = written(tmp_path, a=run_of("torch", "2.13"))
    with pytest.raises(MergeError, match=r"torch 2\.13 a again is in 3 files of one name; name each file once"):
        merge([file] * 3)


def test_results_of_two_versions_of_convspec_are_not_joined(tmp_path):
    files = written(tmp_path, a=run_of("torch", "2"), b=run_of("torch", "2", convspec="9.9"))
    with pytest.raises(MergeError, match=r"9\.9"):
        merge(files)


def printed(tmp_path, width, *documents, **options):
    """The tables of joined runs on a terminal of that width, a list of lines each."""
    joined = merge(written(tmp_path, **{f"run{n}": one for n, one in enumerate(documents)}))
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        for part in tables(joined, width, **options):
            console.print(part)
    return [text.splitlines() for text in re.split("(?=convspec )", captured.get())[1:]]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_more_backends_than_fit_go_into_tables_that_can_be_read(tmp_path, width):
    releases = [f"2.{n}.1" for n in range(12)]
    made = printed(tmp_path, width, *(run_of("torch", release) for release in releases))
    assert len(made) > 1
    for number, lines in enumerate(made, 1):
        title = " ".join(" ".join(lines).partition("┏")[0].split())
        assert title.endswith(f", table {number} of {len(made)}")
        assert all(len(line.rstrip()) <= width for line in lines)
        [row] = [line for line in lines if "locality" in line]
        assert row.count("✓") == row.count("│") - 3  # none is squeezed to nothing
    assert [word for lines in made for line in lines for word in re.findall(r"2\.\d+\.1", line)] == releases


def test_what_fits_is_one_table_and_a_version_is_told_once(tmp_path):
    [lines] = printed(tmp_path, 80, run_of("torch", "2.5"), run_of("torch", "2.13"))
    heading = "".join(lines[:5])
    assert "table" not in heading
    assert heading.count("2.5") == heading.count("2.13") == 1


def test_a_backend_that_was_not_there_makes_no_difference(tmp_path):
    absent = run_of("torch:cuda", "", "not run") | {"backends": {}}
    absent["cells"] = [cell | {"state": "not run"} for cell in absent["cells"]]
    absent["summary"]["torch:cuda"] |= counts(absent["cells"], "torch:cuda")
    [lines] = printed(tmp_path, 80, run_of("torch", "2.5"), absent, only_differing=True)
    assert not any("locality" in line for line in lines)
    [lines] = printed(tmp_path, 80, run_of("torch", "2.5"), run_of("jax", "1", "fail"), only_differing=True)
    assert any("size-formula" in line for line in lines)
    assert not any("locality" in line for line in lines)


def test_known_deviations_that_releases_share_are_told_once():
    entry = {"clause": "max-pool-nan", "kind": "bug", "reason": "NaN is dropped.", "url": ""}
    entry |= {"state": "reproduced", "dtypes": ["float32"], "place": "a.toml:1", "lines": [1, 2], "overlaps": []}
    other = {"drops": entry | {"dtypes": ["float16"]}}
    known = {"torch 2.5": {"drops": entry}, "torch 2.9": {"drops": entry}, "jax": other}
    lines = [text.plain for text in deviation_lines({"deviations": known})]
    assert [line for line in lines if "Known" in line] == [
        "\nKnown deviations of torch 2.5, torch 2.9, each with a witness that still shows it:",
        "\nKnown deviations of jax, each with a witness that still shows it:",
    ]
    assert sum("NaN is dropped." in line for line in lines) == 2


# ---- modes side by side


class Modes:
    """The reference, and a mode of it that drops NaN in pools and adds one to every convolution of two channels."""

    def __init__(self, name):
        self.text, self.inner = name, LocalBackend(registry.load("numpy"), name)
        self.hello = self.inner.hello

    def call(self, request):
        answer = self.inner.call(request)
        if self.text.endswith("@odd") and request.op == "max_pool":
            return replace(answer, arrays=tuple(np.nan_to_num(a, nan=0) for a in answer.arrays))
        if self.text.endswith("@odd") and request.op == "conv2d" and request.arrays[0].shape[3] == 2:
            return replace(answer, arrays=tuple(a + np.ones((), a.dtype) for a in answer.arrays))
        return answer

    def close(self):
        pass


def test_what_two_modes_say_differently_is_shown_once_each_with_both_answers():
    asked = [case for case in cases("quick") if case.dtype == "float32"]
    found = disagreements(["numpy", "numpy@odd"], Modes, asked)
    kinds = {(one.case["op"], one.case["recipe"] in ("integers", "nan-in-x", "some-nan")) for one in found}
    assert ("max_pool", True) in kinds
    assert ("conv2d", True) in kinds
    pool = next(one for one in found if one.case["op"] == "max_pool" and one.case["recipe"] == "nan-in-x")
    assert pool.said == ("nan", "0")
    assert pool.calls > 1
    assert all(isinstance(one, Difference) and one.to_dict()["call"] for one in found)


def test_two_forms_of_the_reference_agree():
    def start(name):
        return LocalBackend(registry.load(name), name)

    asked = [case for case in cases("quick") if case.dtype in ("float32", "bfloat16")]
    assert disagreements(["numpy", "numpy:definition"], start, asked) == []


def test_every_case_of_the_comparison_can_be_made_and_the_few_are_fewer():
    every, some = list(cases("quick")), list(few("quick"))
    assert {c.op for c in every} == {"conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp"}
    assert 0 < len(some) < len(every) / 4
    assert all(isinstance(c, Case) and c.y for c in every)


def test_modes_are_compared_on_one_device_and_in_one_interpreter():
    names = ["torch", "torch@modules", "torch:cuda", "torch%old", "torch@modules%old", "mine.py:Mine"]
    assert list(groups(names)) == [["torch", "torch@modules"], ["torch%old", "torch@modules%old"]]


# ---- a mode that compiles each shape


def test_a_sparing_check_asks_little_but_the_whole_of_what_is_marked():
    judge = Judge(LocalBackend(registry.load("numpy"), "numpy"))

    def asked(*, sparing, whole=False):
        check = Check(judge, Cell("conv2d-sum", "MUST", "float32", "numpy"), level="quick", seed=1, sparing=sparing)
        check.each((Case("conv2d", (1, 4, 5, 1), (2, 2), filters=1, seed=n) for n in range(7)), whole=whole)
        return check.cell.cases

    assert (asked(sparing=False), asked(sparing=True), asked(sparing=True, whole=True)) == (7, FEW, 7)
