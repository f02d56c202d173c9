"""Reproducers: each is run, shows its fault with exit status 1, and needs nothing of convspec."""

import ast
import functools
import html
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pages
import pytest
from click.testing import CliRunner
from reported import cell, run_of

from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS, dtype_of
from convspec.harness.cases.recipes import arrays
from convspec.harness.cli import main
from convspec.harness.deviations import shipped
from convspec.harness.processor import fits, usable
from convspec.harness.report import ci, findings, junit, markdown, results
from convspec.harness.report.reproduce import NoReproducer, issue, script
from convspec.harness.report.reproducers import literals
from convspec.harness.verdict import Finding
from convspec.spec import clause

#: Deviations without a runnable script, with the reason. The figure that is asked for is 100 %: it is empty.
NO_SCRIPT: dict[str, str] = {}
SECONDS = 400  # TensorFlow's import alone takes half a minute on a machine that is busy

ENTRIES = {entry.id: entry for entry in shipped()}


@functools.cache
def written(name: str) -> str:
    return script(*findings.of_deviation(ENTRIES[name]))


def ran(file: Path, code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    file.write_text(code, encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONWARNINGS", "TF_ENABLE_ONEDNN_OPTS")}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # a file that is mended within a second has the bytecode of before
    return subprocess.run(
        [sys.executable, file], capture_output=True, text=True, timeout=SECONDS, cwd=cwd, env=environment, check=False
    )


def imported(code: str) -> set[str]:
    """The top-level names of everything that a script imports."""
    nodes = list(ast.walk(ast.parse(code)))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in found}


# Every deviation that ships


@pytest.mark.parametrize("name", ENTRIES)
def test_a_script_imports_nothing_of_convspec(name):
    assert "convspec" not in imported(written(name))
    assert all(len(line) <= 400 for line in written(name).splitlines())


@functools.cache
def outcomes(backend: str, folder: Path) -> dict[str, subprocess.CompletedProcess[str]]:
    """Every script of a backend whose fault this processor can show, several at a time."""
    mine = [e for e in ENTRIES.values() if e.backend == backend and fits(e.cpu, usable())]
    names = [e.id for e in mine if e.id not in NO_SCRIPT]
    with ThreadPoolExecutor(min(4, (os.cpu_count() or 1) + 1)) as pool:
        return dict(zip(names, pool.map(lambda n: ran(folder / f"{n}.py", written(n)), names), strict=True))


@pytest.mark.frameworks
@pytest.mark.parametrize("backend", ["torch", "tensorflow", "jax", "onnxruntime"])
def test_every_deviation_has_a_script_that_shows_it(backend, tmp_path):
    for module in (backend, *(["onnx"] if backend == "onnxruntime" else [])):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed here")
    wrong = {
        name: f"{done.returncode}\n{done.stdout[-800:]}\n{done.stderr[-800:]}"
        for name, done in outcomes(backend, tmp_path).items()
        if done.returncode != 1 or "expected:" not in done.stdout or "got:" not in done.stdout
    }
    assert not wrong, "\n".join(f"{name}: {text}" for name, text in wrong.items())


def test_no_deviation_is_excused_for_nothing():
    assert set(NO_SCRIPT) <= set(ENTRIES)


# A backend of one's own: the fault is there, and gone

MINE = """
import numpy as np

class Mine:
    name = "mine"

    def max_pool(self, x, *, ksize, strides, padding, dilations):
        windows = np.lib.stride_tricks.sliding_window_view(x, ksize, axis=(1, 2))[:, :: strides[0], :: strides[1]]
        return windows.FAULT(axis=(-2, -1))

    def conv2d(self, x, w, *, strides, padding, dilations, groups):
        windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[:2], axis=(1, 2))
        return np.einsum("nhwcij,ijcd->nhwd", windows, w).astype(x.dtype) + x.dtype.type(OFFSET)
"""


def found(op: str, kernel: tuple[int, int], **more: object) -> dict:
    slug = "max-pool-maximum" if op == "max_pool" else "conv2d-sum"
    case = Case(op, (1, 3, 4, 2), kernel, filters=0 if op == "max_pool" else 2, **more)
    return {"clause": slug, "kind": "value", "message": "", "case": case.to_dict(), "elements": 24}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["max_pool", "conv2d"])
def test_a_script_for_ones_own_backend_ends_with_1_until_it_is_mended(op, dtype, tmp_path):
    file = tmp_path / "mine.py"
    recipe = "distinct" if op == "max_pool" else "real"
    code = script(found(op, (2, 2), dtype=dtype, recipe=recipe), "mine.py:Mine")
    file.write_text(MINE.replace("FAULT", "min").replace("OFFSET", "1"))
    broken = ran(tmp_path / "bug.py", code, tmp_path)
    assert broken.returncode == 1, broken.stderr
    assert "expected:" in broken.stdout
    assert "got:" in broken.stdout
    if op == "conv2d" and dtype in ("float16", "bfloat16"):
        return  # einsum's own sums are no answer there
    file.write_text(MINE.replace("FAULT", "max").replace("OFFSET", "0"))
    mended = ran(tmp_path / "bug.py", code, tmp_path)
    assert mended.returncode == 0, mended.stdout + mended.stderr


#: What a pool may return beside the right answer, whose elements are all right; and what is said of it.
NOT_PLAIN = {
    "right.astype('>f4')": "ndarray of >f4",
    "right.tolist()": "list",
    "[right]": "list",
    "(right, right)": "tuple",
    "np.ma.masked_array(right)": "MaskedArray",
    "right.astype(object)": "ndarray of object",
    "None": "NoneType",
}


@pytest.mark.parametrize("result", ["right", *NOT_PLAIN])
def test_a_script_for_ones_own_backend_wants_a_plain_array_of_this_machine(result, tmp_path):
    mended = MINE.replace("return windows.FAULT(axis=(-2, -1))", f"right = windows.max((-2, -1)); return {result}")
    (tmp_path / "mine.py").write_text(mended.replace("OFFSET", "0"))
    done = ran(tmp_path / "bug.py", script(found("max_pool", (2, 2), recipe="distinct"), "mine.py:Mine"), cwd=tmp_path)
    assert done.returncode == (result in NOT_PLAIN), done.stderr
    assert NOT_PLAIN.get(result, "") in done.stdout


@pytest.mark.parametrize("result", ["dx, dw", "[dx, dw]", "dx, dw, dw", "dx", "np.stack([dw, dw])", "dx, dw.tolist()"])
def test_a_script_wants_as_many_arrays_as_there_are_gradients(result, tmp_path):
    right = result in ("dx, dw", "[dx, dw]")
    case = Case("conv2d_vjp", (1, 2, 3, 1), (1, 2), filters=1)
    finding = {"clause": "gradient-type-and-shape", "kind": "type", "message": "", "case": case.to_dict()}
    (tmp_path / "mine.py").write_text(
        "import convspec, numpy as np\nclass Mine:\n    def conv2d_vjp(self, x, w, dy, **options):\n"
        f"        dx, dw = convspec.conv2d_vjp(x, w, dy, **options)\n        return {result}\n"
    )
    done = ran(tmp_path / "bug.py", script(finding, "mine.py:Mine"), tmp_path)
    assert done.returncode == (not right), done.stderr


def test_a_script_that_breaks_by_itself_does_not_look_like_the_fault(tmp_path):
    done = ran(tmp_path / "bug.py", script(found("max_pool", (2, 2), recipe="distinct"), "absent.py:Mine"), tmp_path)
    assert done.returncode == 2


def test_a_crash_is_told_and_ends_with_1(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import os\nclass Mine:\n    def max_pool(self, x, **options):\n        os.abort()\n"
    )
    finding = found("max_pool", (2, 2), recipe="distinct") | {"kind": "crash"}
    done = ran(tmp_path / "bug.py", script(finding, "mine.py:Mine"), tmp_path)
    assert done.returncode == 1
    assert "SIGABRT" in done.stdout or "exit status" in done.stdout


def test_a_changed_input_is_shown(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def max_pool(self, x, **options):\n        x += 1\n        return x\n"
    )
    finding = found("max_pool", (1, 1), recipe="distinct") | {"kind": "changed input", "clause": "inputs-unchanged"}
    assert ran(tmp_path / "bug.py", script(finding, "mine.py:Mine"), tmp_path).returncode == 1


@pytest.mark.parametrize("name", ["numpy", "command:node worker.mjs"])
def test_where_there_can_be_no_script_the_reason_is_told(name):
    with pytest.raises(NoReproducer, match=r"reference|another language"):
        script(found("max_pool", (2, 2), recipe="distinct"), name)


# Data


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "recipe", ["real", "wide", "subnormal", "nan-in-x", "minus-inf-in-x", "minus-zero", "overflow"]
)
def test_literals_round_trip(recipe, dtype):
    array = arrays(Case("conv2d", (1, 2, 3, 1), (1, 1), filters=1, dtype=dtype, recipe=recipe))["x"]
    text = literals.nested(array)
    again = np.array(eval(text, {"nan": np.nan, "inf": np.inf})).astype(dtype_of(dtype))
    assert np.array_equal(again.astype(float), array.astype(float), equal_nan=True)
    assert np.array_equal(np.signbit(again) | np.isnan(again), np.signbit(array) | np.isnan(array))


@pytest.mark.parametrize("recipe", ["integers", "real", "positive", "statistical"])
def test_large_data_are_a_few_lines_of_numpy(recipe):
    case = Case("conv2d_vjp", (1, 20, 20, 3), (3, 3), filters=4, recipe=recipe, seed=3)
    lines = literals.recipe_lines(case, arrays(case))
    assert 1 < len(lines) < 5
    space = {"np": np}
    exec("\n".join(lines), space)
    assert all(np.array_equal(space[n].astype(a.dtype), a) for n, a in arrays(case).items())


def test_other_large_data_are_packed():
    array = arrays(Case("conv2d", (1, 20, 20, 3), (3, 3), filters=4, recipe="wide"))["x"]
    import base64
    import zlib

    again = eval(literals.packed(array), {"np": np, "base64": base64, "zlib": zlib})
    assert np.array_equal(again, array)


# The issue, the command, the report


def test_an_issue_holds_versions_clause_and_script():
    finding, _ = findings.of_deviation(ENTRIES["torch-no-channels-no-filters"])
    text = issue(finding, {"text": "torch", "versions": {"torch": "2.13.0"}})
    assert "torch 2.13.0" in text
    assert "no-input-channels" in text
    assert " ".join(clause("no-input-channels").statement.split())[:60] in text.replace("\n> ", " ")
    assert script(finding, {"text": "torch", "versions": {"torch": "2.13.0"}}) in text


def test_an_issue_of_a_deviation_names_the_releases_that_it_is_declared_for():
    entry = ENTRIES["torch-no-channels-no-filters"]
    text = issue(*findings.of_deviation(entry))
    assert f"**Versions:** torch {entry.versions}, as deviation `{entry.id}` says" in text
    bare = {key: value for key, value in findings.of_deviation(entry)[0].items() if key != "declared"}
    assert "**Versions:** not recorded" in issue(bare, "torch")


def convspec(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["repro", *arguments])
    return done.exit_code, done.stdout, done.stderr


def document(tmp_path: Path) -> str:
    finding = found("max_pool", (2, 2), recipe="distinct")
    made = run_of(cell("max-pool-maximum", "fail", backend="mine.py:Mine", findings=[Finding(**finding)]))
    results.write(made, tmp_path / "r.json")
    return str(tmp_path / "r.json")


def test_a_finding_of_a_results_file_is_found_by_name_and_by_short_id(tmp_path):
    file = document(tmp_path)
    status, text, _ = convspec("mine.py:Mine/max-pool-maximum/float32", "--results", file)
    assert status == 0
    _, listed, _ = convspec("--list", "--results", file)
    short = re.match(r"[0-9a-f]{8}", listed)
    assert short
    assert convspec(short[0], "--results", file)[1] == text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["torch-no-chanels"], "the closest is 'torch-no-channels-no-filters'"),
        ([], "name one finding"),
        (["torch-batch-variance", "--list"], "name one finding"),
    ],
)
def test_a_wrong_id_is_one_line_and_exit_status_2(arguments, says):
    status, _, error = convspec(*arguments)
    assert status == 2
    assert says in error


def test_every_deviation_is_listed():
    listed = convspec("--list")[1]
    assert all(f"  {name}  " in listed for name in ENTRIES)


def test_the_report_names_the_command():
    one = Finding("max-pool-maximum", "value", "", case=Case("max_pool", (1, 1, 2, 1), (1, 2)).to_dict())
    cells = [{"backend": "torch", "clause": one.clause, "dtype": "float32", "findings": [one.to_dict()]}]
    said = findings.command("torch", one, cells, "r.json")
    assert said == "convspec repro torch/max-pool-maximum/float32 --results r.json > bug.py"


def test_show_and_merge_name_the_command_and_it_runs(tmp_path, monkeypatch):
    """Joined results of two releases have labels with blanks; what is printed can be pasted all the same."""
    monkeypatch.chdir(tmp_path)
    board = pages.board(("torch",))
    for version in ("2.12.0", "2.13.0"):
        board["backends"]["torch"]["versions"] = {"torch": version}
        results.write(board, f"{version}.json")
    narrow = {"COLUMNS": "50"}  # a command is never broken over lines: pasted, the second would empty bug.py
    shown = CliRunner().invoke(main, ["show", "2.13.0.json"], env=narrow).stdout
    joined = CliRunner().invoke(
        main, ["merge", "2.12.0.json", "2.13.0.json", "--json", "all.json", "--html", "all.html"], env=narrow
    )
    for said, names in ((shown, ["torch"]), (joined.stdout, ["torch 2.12.0", "torch 2.13.0"])):
        commands = dict.fromkeys(re.findall(r"script: +convspec repro (.*conv2d-sum.*) > bug.py", said))
        assert [shlex.split(command)[0] for command in commands] == [f"{name}/conv2d-sum/float32" for name in names]
        for command in commands:
            status, text, error = convspec(*shlex.split(command))
            assert (status, error) == (0, "")
            assert "import torch" in text
    assert "import torch" in Path("all.html").read_text(encoding="utf-8")


def test_what_ci_reads_names_the_command_too(tmp_path):
    """From a step's summary, a JUnit report or an annotation to the script: the results file is all it takes."""
    board = pages.board(("torch",))
    results.write(board, tmp_path / "FILE")
    texts = {
        "markdown": markdown.markdown(board),
        "junit": html.unescape(junit.junit(board)),
        "annotation": "\n".join(ci.workflow_commands(board)).replace("%0A", "\n"),
    }
    for text in texts.values():
        said = re.findall(r"^  script:   convspec repro (.*conv2d-sum.*) > bug.py", text, re.M)
        assert said
        *arguments, file = shlex.split(said[0])
        status, script_text, error = convspec(*arguments, str(tmp_path / file))
        assert (status, error) == (0, "")
        assert "import torch" in script_text


def test_merge_without_a_file_says_that_one_has_to_be_written(tmp_path):
    results.write(pages.board(("torch",)), tmp_path / "r.json")
    said = CliRunner().invoke(main, ["merge", str(tmp_path / "r.json")], env={"COLUMNS": "200"}).stdout
    assert "script:   --json FILE, then convspec repro torch/conv2d-sum/float32 --results FILE > bug.py" in said
