"""Wrong entries of deviations files: whatever stands in them, one line says file, line and what to do."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from reported import ENTRY as ENTRY_OF_RUN
from reported import FINDING, cell, run_of
from rich.console import Console
from test_deviations import ENTRY, entry, written

from convspec.harness.cases.case import Case
from convspec.harness.cli import main
from convspec.harness.deviations import DeviationError, read, shipped
from convspec.harness.deviations.draft import drafts
from convspec.harness.deviations.predicate import Predicate, PredicateError
from convspec.harness.report.terminal import render
from convspec.harness.verdict import Finding


def told(file):
    """What is said of a file with a fault."""
    with pytest.raises(DeviationError) as error:
        read(file)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{file}:")


# where

#: An expression that would break when it is asked, and what is said of it.
BREAKS = {
    "strides > 1": "'strides' is 2 values and '1' is a number; say which: min(strides)",
    "strides == 1": "'strides' is 2 values and '1' is a number",
    "op < 1": "'op' is text and '1' is a number",
    "strides[5] > 1": "write which: 0 to 1",
    "pads[-5] > 1": "write which: 0 to 3",
    "strides[bias] > 1": "write which: 0 to 1",
    "op[0] == 'c'": "'op' is text, which has no elements",
    "1 % 0 == 0": "0 may be zero",
    "width % batch == 0": "batch may be zero",
    "width // (height - 1) > 1": "may be zero",
    "op + 1 == 1": "arithmetic is for numbers",
    "op * 1000000000 == ''": "arithmetic is for numbers",
    "-op == 1": "only a number has a negative",
    "min() > 1": "min takes a pair, as in min(strides)",
    "max(batch) > 1": "max takes a pair",
    "max((1, op)) == 1": "max takes a pair",
    "len(batch) > 1": "len takes one tuple",
    "any(batch, nan)": "any takes one tuple",
    "nan in 3": "'3' is a number, which nothing is in",
    "1 in op": "which nothing is in",
    "min > 1": "min is a function: call it",
    "min": "min is a function: call it",
    "height > 1.5": "only text and whole numbers",
    "op == None": "only text and whole numbers",
    f"height < {2**63}": "only text and whole numbers",
    "not " * 20_000 + "nan": "up to 4000 are read",
    "not " * 900 + "nan": "nested more than 40 deep",
    "(" * 1000 + "nan" + ")" * 1000: "too many nested parentheses",
}


@pytest.mark.parametrize("where", BREAKS, ids=lambda text: text[:30])
@pytest.mark.parametrize("before", ["", "op == 'max_pool' or ", "nan and "])
def test_an_expression_that_would_break_is_refused_though_something_before_it_hides_it(where, before):
    with pytest.raises(PredicateError) as error:
        Predicate(before + where)
    assert BREAKS[where] in str(error.value) or "up to 4000" in str(error.value)


@pytest.mark.parametrize(
    "where",
    ["strides + dilations == (1, 1, 1, 1)", "width % groups == 0 and width // strides[1] > 1", "kernel == [1, 2]",
     "strides in ((1, 2), (2, 1))", "'pool' in op", "strides < (2, 2)", "pads[-1] > 0", "max(height, width) > 1",
     "len(strides) == 2 and all(kernel)", "height - 1 >= -1 and width % max(strides) == 0"],
)  # fmt: skip
def test_what_has_a_value_in_every_call_is_read(where):
    Predicate(where)


def test_a_wrong_expression_is_told_with_file_and_line_and_ends_with_2(tmp_path):
    file = written(tmp_path, entry(where="\"op == 'max_pool' or strides > 1\""))
    assert told(file).startswith("6: where: 'strides > 1': ")
    command = [sys.executable, "-m", "convspec.harness.cli", "deviations", "check", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert ENTRY["id"][1:-1] not in done.stdout


# witness

CONV = 'op = "conv2d", x = [1, 2, 3, 2], kernel = [2, 2], filters = 2'
POOL = 'op = "max_pool", x = [1, 1, 2, 1], kernel = [1, 2], recipe = "nan-in-x"'
#: A witness that no run could ask, and what is said of it.
WITNESSES = {
    POOL.replace("nan-in-x", "nan-in-xx"): "recipe is 'nan-in-xx'; did you mean 'nan-in-x'?",
    POOL.replace("max_pool", "max_poo"): "op is 'max_poo'; did you mean 'max_pool'?",
    f'{POOL}, dtype = "complex64"': "dtype is 'complex64'; ",
    f'{POOL}, layout = "weird"': "layout is 'weird'; known are C, F",
    f'{POOL}, seed = "weird"': "seed is 'weird'; it must be a whole number",
    f"{POOL}, seed = -1": "seed is '-1'",
    f'{POOL}, bias = "no"': "bias is 'no'; it must be true or false",
    f'{POOL}, padding = "same"': "padding is 'same'; it must be 'SAME'",
    f"{POOL}, strides = 2": "strides is 2; it must be 2 whole numbers",
    f"{POOL}, pool = [[1, 1], [1, 1], 'VALID']": "only block and block_vjp have one",
    f"{POOL}, colour = 1": "unexpected keyword argument 'colour'",
    POOL.replace("[1, 1, 2, 1]", "[1, 100000, 100000, 100]"): "a witness has 16777216 elements at most",
    POOL.replace("[1, 1, 2, 1]", "[1, 1, 2]"): "x is (1, 1, 2); it must be 4 whole numbers",
    POOL.replace("[1, 1, 2, 1]", "[1, 1, 2, -1]"): "it must be 4 whole numbers, 0 or more each",
    f"{CONV}, groups = 3": "does not divide the 2 channels",
    f"{CONV}, padding = [[9000000, 9000000], [9000000, 9000000]]": "y has the shape",
    f'{CONV}, dtype = "int8"': "it cannot be asked: KeyError: 'int8'",
    f'change = "pad_empt", case = {{ {CONV} }}': "change is 'pad_empt'; did you mean 'pad_empty'?",
    f'change = "ksize_zero", case = {{ {CONV} }}': "change is 'ksize_zero'; ",
    f'change = "pad_empty", case = {{ {CONV} }}, seed = 1': "and nothing else",
}


@pytest.mark.parametrize("witness", WITNESSES, ids=lambda text: text[-40:])
def test_a_witness_that_no_run_could_ask_is_refused(witness, tmp_path):
    said = told(written(tmp_path, entry(where='""', witness=f"{{ {witness} }}")))
    assert said.startswith("10: the witness: ")
    assert WITNESSES[witness] in said


@pytest.mark.parametrize("witness", ["5", '"change"', "[]"])
def test_a_witness_is_a_table(witness, tmp_path):
    assert "is no table such as" in told(written(tmp_path, entry(witness=witness)))


@pytest.mark.parametrize(
    ("changes", "line", "words"),
    [
        ({"url": "5"}, 11, "url is 5; it must be text"),
        ({"flaky": '"no"'}, 11, "flaky is 'no'; it must be true or false"),
        ({"flaky": "1"}, 11, "flaky is 1; it must be true or false"),
        ({"id": '""'}, 2, "id is empty; name the entry"),
        ({"backend": '"torch@eager"'}, 3, "without device, mode and NAME, as 'torch'"),
        ({"backend": '"torch:cuda"'}, 3, "without device, mode and NAME, as 'torch'"),
        ({"backend": '"torch%old"'}, 3, "without device, mode and NAME, as 'torch'"),
        ({"backend": '"mine.py:Mine"'}, 3, "without device, mode and NAME, as 'mine.py'"),
        ({"backend": '""'}, 3, "backend is ''"),
    ],
)
def test_what_is_of_another_type_or_no_backend_has_is_refused(changes, line, words, tmp_path):
    said = told(written(tmp_path, entry(**changes)))
    assert said.startswith(f"{line}: ")
    assert words in said


# files


@pytest.mark.parametrize(
    ("text", "words"),
    [("a = " + "[" * 100_000, "nested too deep"), ("a = " + "{ b = " * 100_000, "nested too deep"),
     ("a = " + "1" * 10_000, "cannot be read as TOML")],
    ids=["lists", "tables", "digits"],
)  # fmt: skip
def test_a_file_that_python_cannot_read_is_one_line(text, words, tmp_path):
    said = told(written(tmp_path, text))
    assert said.startswith("1: ")
    assert words in said


# drafts


def test_a_draft_of_a_call_that_a_death_was_blamed_on_later_has_its_own_dtype(tmp_path):
    case = Case("max_pool", (1, 1, 2, 1), (1, 2), dtype="float64", recipe="distinct").to_dict()
    finding = Finding("max-pool-maximum", "crash", "After this call the process died in the next one.", case=case)
    findings = [finding.to_dict()]
    results = {"backends": {}, "cells": [{"backend": "mine", "dtype": "float32", "findings": findings}]}
    (entry_of,) = read(written(tmp_path, *drafts(results)))
    assert entry_of.covers(entry_of.witness)
    assert "dtype == 'float64'" in entry_of.where.text
    results["cells"].append({"backend": "mine", "dtype": "all", "findings": findings})
    (entry_of,) = read(written(tmp_path, *drafts(results)))
    assert "dtype" not in entry_of.where.text


# what is shown


def test_the_list_takes_no_markup_and_no_control_from_a_file(tmp_path):
    reason = r'"[bold]x[/bold] [/nope] \u001b[2J\u009b1m"'
    file = written(tmp_path, entry(reason=reason, url='"[link=x]y[/z]"'))
    done = CliRunner().invoke(main, ["deviations", "list", str(file)], catch_exceptions=False)
    assert done.exit_code == 0
    assert r"    [bold]x[/bold] [/nope] \x1b[2J\x9b1m" in done.output
    assert "    [link=x]y[/z]" in done.output


def test_no_control_of_a_backend_reaches_the_terminal():
    """Neither by its message, nor by its name, its version or the reason of a deviation."""
    bad = "\x1b]0;title\x07\x1b[2J\x9b\r"
    wrong = replace(FINDING, message=bad, stderr=bad, got=bad, expected=bad)
    cells = [cell("conv2d-sum", findings=[wrong], backend=f"mine{bad}") | {"state": "fail"}]
    cells.append(cell("locality", "deviation", backend=f"mine{bad}", witnesses={"mine-leaks": "reproduced"}))
    cells.append(cell("groups", "unsupported", reason=bad, reading=bad, backend=f"mine{bad}"))
    known = {f"mine{bad}": {"mine-leaks": ENTRY_OF_RUN | {"reason": bad, "url": bad}}}
    console = Console(width=110, file=io.StringIO(), emoji=False)
    render(run_of(*cells, entries=known), console)
    shown = console.file.getvalue()
    assert not set(shown) & set("\x1b\x07\x9b\r")
    assert r"\x1b[2J" in shown


@pytest.mark.parametrize("backend", ["mine.py", "mine"])
def test_a_script_of_an_entry_that_names_no_object_is_refused_with_what_to_do(backend, tmp_path):
    file = written(tmp_path, entry(backend=f'"{backend}"'))
    done = CliRunner().invoke(main, ["repro", "mine-drops-nan", "--deviations", str(file)])
    assert done.exit_code == 2
    assert f"deviation 'mine-drops-nan' is of '{backend}', which names no object to call" in done.output
    assert "`convspec check FILE.py:NAME -k max-pool-nan --json r.json`" in done.output
    assert "`convspec repro FILE.py:NAME/max-pool-nan/float32 --results r.json`" in done.output


def test_the_how_to_counts_what_ships():
    page = (Path(__file__).parents[2] / "docs/how-to/deviation.md").read_text(encoding="utf-8")
    ship = len(shipped())
    assert f"The other {ship} are those that ship" in page
    assert f"{ship + 1} deviations are well formed" in page
