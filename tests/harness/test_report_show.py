"""What CI reads, from a results file and from a run: `convspec show`, and the options of `convspec check`."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from reported import ENTRY, FINDING, all_states, cell, convspec, invoke, run_of, training

from convspec.harness.report import badge, ci, junit, markdown, rows

ROOT = Path(__file__).parents[2]
ODD = 'a|b <i>&amp; "q" \x00\x1b[31m ``` ```` *x* @you ]]> \ud800 \ufffe ü\r\n::error::no'
SVG = "{http://www.w3.org/2000/svg}"


# ---------------------------------------------------------------------------------------------------- from a file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(all_states()))
    return path


def test_show_prints_the_report_again(file):
    done = invoke("show", str(file))
    assert done.exit_code == 0, done.output
    assert "conv2d-sum (MUST)" in done.output
    assert "mine: 1 of 8 cells pass" in done.output
    assert "0 of 0 known wrong readings" in done.output


def test_what_is_wrapped_hangs_below_its_label_and_no_line_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = replace(FINDING, call="conv2d(" + ", ".join(f"argument={n}" for n in range(20)) + ")", got="E: one\ntwo")
    entry = ENTRY | {"reason": "It reads too far. " * 8}
    kept = run_of(
        cell("conv2d-sum", "fail", findings=[said]),
        cell("locality", "deviation", witnesses={"mine-leaks": "reproduced"}),
        entries={"mine": {"mine-leaks": entry}},
    )
    (tmp_path / "r.json").write_text(json.dumps(kept))
    done = invoke("show", str(tmp_path / "r.json"))
    lines = done.stdout.split("SHOULD\n", 1)[1].splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("    case:     conv2d("))
    assert lines[at + 1].startswith(" " * 14 + "argument=")
    assert "    got:      E: one\n" + " " * 14 + "two\n" in done.stdout
    known = next(n for n, line in enumerate(lines) if "mine-leaks" in line)
    assert lines[known].startswith("  ≠ locality")
    assert all(line.startswith(" " * 6) for line in lines[known + 1 : known + 3])
    assert not [line for line in lines if len(line) > 80 or line != line.rstrip()]


def test_a_backend_that_was_never_asked_is_named_beside_the_verdict(tmp_path):
    never = run_of(cell(), cell(backend="torch:cuda", state="not run"), cell("groups", "not run"))
    (tmp_path / "r.json").write_text(json.dumps(never))
    said = "No MUST clause is broken, but nothing was asked of torch:cuda"
    done = invoke(
        "show", str(tmp_path / "r.json"), "--html", str(tmp_path / "p.html"), "--markdown", str(tmp_path / "m")
    )
    assert f"{said}.\n" in done.stdout
    assert f"<h1>{said}</h1>" in (tmp_path / "p.html").read_text(encoding="utf-8")
    assert f"{said}.\n" in (tmp_path / "m").read_text(encoding="utf-8")


def test_show_prints_every_committed_file():
    for path in sorted((ROOT / "results").glob("*.json")):
        assert invoke("show", str(path)).exit_code == 0, path


def test_show_prints_what_is_chosen_alone(file):
    done = invoke("show", str(file), "--state", "fail", "--state", "crash", "--backend", "mine")
    assert done.exit_code == 0, done.output
    assert "mine: 0 of 4 cells pass, 3 fail, 1 crash" in done.output
    assert "known wrong readings" not in done.output
    assert "same-lower" not in done.output
    one = invoke("show", str(file), "--clause", "locality")
    assert "mine: 0 of 1 cells pass, 1 deviation" in one.output
    assert "mine-leaks (bug): It reads too far." in one.output
    assert "mine-leaks" not in done.output


def test_what_is_chosen_is_counted_anew_in_every_file(file, tmp_path):
    out = {name: tmp_path / name for name in ("j.xml", "m.md", "b.svg")}
    done = invoke("show", str(file), "--clause", "conv2d-sum", "--junit", str(out["j.xml"]), "--markdown",
                  str(out["m.md"]), "--badge", str(out["b.svg"]))  # fmt: skip
    assert done.exit_code == 0, done.output
    assert f"Written: {out['j.xml']}" in done.output
    assert ET.parse(out["j.xml"]).getroot().get("tests") == "2"
    assert "0 of 2 pass" in out["m.md"].read_text(encoding="utf-8")
    assert ">0/2<" in out["b.svg"].read_text(encoding="utf-8")


def test_a_training_run_is_shown_and_chosen_from(tmp_path):
    path = tmp_path / "t.json"
    document = training("fail")
    document["verdicts"].append(document["verdicts"][0] | {"clause": "training-update", "state": "pass"})
    path.write_text(json.dumps(document))
    assert "training-update" in invoke("show", str(path)).output
    done = invoke("show", str(path), "--state", "fail")
    assert "step 3, layer 0" in done.output
    assert "training-update" not in done.output


def test_markdown_on_stdout_is_all_of_stdout(file):
    done = convspec("show", str(file), "--markdown", "-")
    assert done.returncode == 0
    assert done.stdout == markdown.markdown(all_states())


def test_the_summary_of_a_step_is_appended_to_and_other_files_are_written_anew(file, tmp_path, monkeypatch):
    summary, other = tmp_path / "summary", tmp_path / "other"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    summary.write_text("before\n")
    other.write_text("before\n")
    for path in (summary, other):
        assert invoke("show", str(file), "--markdown", str(path)).exit_code == 0
    text = markdown.markdown(all_states())
    assert summary.read_text(encoding="utf-8") == "before\n" + text
    assert other.read_text(encoding="utf-8") == text
    summary.write_text("x" * (markdown.MOST_BYTES - 300))
    assert invoke("show", str(file), "--markdown", str(summary)).exit_code == 0
    assert summary.stat().st_size <= markdown.MOST_BYTES


def other_clause():
    return run_of(cell()) | {"cells": [cell() | {"clause": "no-such-clause"}], "convspec": "9.0"}


@pytest.mark.parametrize(
    ("content", "args", "said"),
    [
        (None, (), "does not exist"),
        ("{", (), "not a results file: Expecting"),
        ("[]", (), "not a results file of convspec"),
        (json.dumps({"format": "convspec-results", "version": 1}), (), "results version 1; this convspec reads"),
        (json.dumps({"format": "convspec-training", "version": 7}), (), "training version 7; this convspec reads"),
        (json.dumps({"format": "convspec-results", "version": 2}), (), "damaged: document: there is no convspec"),
        (json.dumps(all_states() | {"cells": 3}), (), "damaged: cells: 3 is not of type array"),
        (json.dumps(other_clause()), (), "'no-such-clause' is not in convspec 0.1.0; the file is of convspec 9.0"),
        (json.dumps(all_states()), ("--backend", "yours"), "it has no backend 'yours'; it has mine"),
        (json.dumps(all_states()), ("--clause", "localety"), "unknown clause 'localety'; closest: locality"),
        (json.dumps(all_states()), ("--clause", "groups", "--state", "pass"), "no verdict of groups in the state pass"),
        (json.dumps(all_states()), ("--state", "passed"), "'passed' is not one of"),
        (json.dumps(all_states()), ("--junit", "no/folder/j.xml"), "--junit no/folder/j.xml: there is no folder"),
        (json.dumps(all_states()), ("--markdown", "no/m.md"), "--markdown no/m.md: there is no folder"),
        (json.dumps(all_states()), ("--badge", "no/b.svg"), "--badge no/b.svg: there is no folder"),
        (json.dumps(all_states()), ("--badge", "."), "is a directory"),
        (json.dumps(all_states()), ("--junit", "-"), "--junit -: only --markdown writes to stdout; name a file"),
    ],
)
def test_what_cannot_be_shown_exits_2_and_says_why(tmp_path, monkeypatch, content, args, said):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("r.json").write_text(content)
    done = invoke("show", "r.json", *args)
    assert done.exit_code == 2
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert said in line


def test_a_file_that_cannot_be_written_is_named_and_the_others_are_written(file, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ci, "_junit", full)
    done = invoke("show", str(file), "--junit", str(tmp_path / "j.xml"), "--badge", str(tmp_path / "b.svg"))
    assert done.exit_code == 2
    assert "j.xml: No space left on device" in done.output
    assert (tmp_path / "b.svg").exists()


@pytest.mark.parametrize("command", ["show", "diff"])
def test_help_fits_a_screen_and_shows_an_example(command):
    done = convspec(command, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) <= 40
    assert f"  Example:  convspec {command} " in done.stdout
    assert "Exit status:  0" in done.stdout
    assert "\\b" not in done.stdout


# ----------------------------------------------------------------------------------------------------- from a run


MINE = """
import time
from convspec.adapters.numpy_backend import NumpyBackend
class Right(NumpyBackend):
    def __init__(self): super().__init__("fast")
class Flipped(Right):
    def conv2d(self, x, w, **options): return super().conv2d(x, w[::-1, ::-1], **options)
class Slow(Right):
    def conv2d(self, x, w, **options):
        time.sleep(0.05)
        return super().conv2d(x, w, **options)
"""
FILES = ("--junit", "j.xml", "--markdown", "m.md", "--badge", "b.svg", "--json", "r.json")


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def test_a_run_writes_what_its_results_file_gives(mine):
    args = ("check", "mine.py:Flipped", "--level", "quick", "-n", "1", "-k", "cross_correlation", *FILES)
    done = convspec(*args, cwd=mine, GITHUB_ACTIONS="true")
    assert done.returncode == 1, done.stderr
    assert "Written: j.xml, m.md, b.svg" in done.stdout
    annotated = [line for line in done.stdout.splitlines() if line.startswith("::")]
    document = rows.read(mine / "r.json")
    assert annotated == list(ci.workflow_commands(document))
    assert len(annotated) == 1
    for file, text in (("j.xml", junit.junit), ("m.md", markdown.markdown), ("b.svg", badge.badge)):
        assert (mine / file).read_text(encoding="utf-8") == text(document)


def test_elsewhere_nothing_is_annotated_and_markdown_may_have_stdout(mine):
    args = ("check", "mine.py:Flipped", "--level", "quick", "-n", "1", "-k", "cross_correlation", "--markdown", "-")
    done = convspec(*args, cwd=mine)
    assert done.returncode == 1
    assert done.stdout.startswith("## convspec ")
    assert "::error" not in done.stdout + done.stderr
    assert "1 MUST clause is broken" in done.stderr  # the report


def test_a_file_that_cannot_be_written_at_the_end_exits_2(mine):
    args = ("check", "mine.py:Right", "--level", "quick", "-n", "1", "-k", "same_lower", "--badge", "/dev/full")
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    done = convspec(*args, cwd=mine)
    assert done.returncode == 2
    assert done.stderr.strip() == "convspec: --badge /dev/full: No space left on device"


@pytest.mark.parametrize("option", ["--junit", "--markdown", "--badge"])
def test_a_folder_that_is_not_there_is_told_before_any_work(option):
    done = invoke("check", "numpy", option, "no/such/file")
    assert done.exit_code == 2
    assert f"{option} no/such/file: there is no folder" in done.output


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
def test_an_interrupted_run_writes_them_too(mine):
    command = [sys.executable, "-m", "convspec.harness.cli", "check", "mine.py:Slow", "--level", "quick", "-n", "1"]
    process = subprocess.Popen([*command, *FILES], cwd=mine, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    suite = ET.parse(mine / "j.xml").getroot()[0]
    states = Counter(c["state"] for c in rows.read(mine / "r.json")["cells"])
    assert states["not run"] > 0
    assert int(suite.get("skipped")) == states["not run"] + states["unsupported"]
    assert f"{states['pass']} of {sum(states.values())} pass" in (mine / "m.md").read_text(encoding="utf-8")
    assert (mine / "b.svg").exists()
