"""What CI reads: JUnit, Markdown, the badge, annotations; from a run and from its file."""

import doctest
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from reported import ENTRY, FINDING, all_states, cell, run_of, training

from convspec.harness.cli import main
from convspec.harness.report import badge, ci, diff, junit, markdown, rows, schema
from convspec.harness.verdict import Finding
from convspec.spec import clauses

ROOT = Path(__file__).parents[2]
ODD = 'a|b <i>&amp; "q" \x00\x1b[31m ``` ```` *x* @you ]]> \ud800 \ufffe ü\r\n::error::no'
SVG = "{http://www.w3.org/2000/svg}"


def convspec(*args, cwd=None, **env):
    command = [sys.executable, "-m", "convspec.harness.cli", *args]
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GITHUB_")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=300, check=False, env=clean | {"COLUMNS": "110"} | env
    )


def invoke(*args):
    return CliRunner().invoke(main, list(args))


def odd_run():
    """A backend of an odd name that says odd things."""
    said = replace(FINDING, message=ODD, expected=ODD, got=ODD, stderr=ODD, diagnosis=ODD)
    return run_of(
        cell(state="fail", backend=ODD, findings=[said]),
        cell("groups", "unsupported", backend=ODD, reason=ODD),
        cell("locality", "deviation", backend=ODD, witnesses={"mine-leaks": "reproduced"}),
        cell("same-lower", backend=ODD, reading=ODD),
        cell(
            "batch-invariance", "fail", backend=ODD, level="SHOULD", findings=[replace(said, clause="batch-invariance")]
        ),
        entries={ODD: {"mine-leaks": ENTRY | {"reason": ODD}}},
    )


def stale_run():
    return run_of(cell(), cell("locality", witnesses={"mine-leaks": "stale"}), entries={"mine": {"mine-leaks": ENTRY}})


def committed():
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "results").glob("*.json"))]


# ----------------------------------------------------------------------------------------------------------- JUnit


def cases_of(suite):
    return {case.get("name"): case for case in suite.iter("testcase")}


def test_each_state_has_its_form():
    (suite,) = ET.fromstring(junit.junit(all_states()))
    assert suite.get("name") == "mine"
    cases = cases_of(suite)
    assert list(cases["size-formula[float32]"]) == []
    failure = cases["conv2d-sum[float64]"].find("failure")
    assert failure.get("type") == "value"
    assert failure.get("message") == "conv2d-sum (MUST): 3 of 4 elements of y are wrong."
    assert clauses()["conv2d-sum"].statement[:40] in failure.text
    assert cases["groups[float32]"].find("error").get("type") == "crash"
    known = cases["locality[float32]"].find("skipped")
    assert known.get("message") == "known deviation mine-leaks: It reads too far."
    assert cases["max-pool-nan[float32]"].find("skipped").get("message") == "unsupported: it has no max_pool"
    assert cases["same-lower[float32]"].find("skipped").get("message") == "not run"
    note = cases["batch-invariance[float32]"]
    assert [part.tag for part in note] == ["system-out"]
    assert "SHOULD, which decides nothing" in note.find("system-out").text
    assert {p.get("name"): p.get("value") for p in suite.iter("property")}["seed"] == "20"


def test_the_counts_are_the_document_s():
    documents = [*committed(), all_states(), odd_run()]
    assert len(documents) > 6
    for document in documents:
        root = ET.fromstring(junit.junit(document))
        suites = list(root)
        more = [junit.SUITE_OF_DEVIATIONS] if rows.stale(document) else []
        assert [suite.get("name") for suite in suites] == [junit.xml(name) for name in document["summary"]] + more
        for suite, (name, summary) in zip(suites, document["summary"].items(), strict=not more):
            mine = [c for c in document["cells"] if c["backend"] == name]
            must = Counter(c["state"] for c in mine if c["level"] == "MUST")
            assert int(suite.get("tests")) == len(suite.findall("testcase")) == sum(summary.values())
            assert int(suite.get("failures")) == must["fail"]
            assert int(suite.get("errors")) == must["crash"]
            others = summary["deviation"] + summary["unsupported"] + summary["not run"]
            assert int(suite.get("skipped")) == others
        for key in ("tests", "failures", "errors", "skipped"):
            assert int(root.get(key)) == sum(int(suite.get(key)) for suite in suites)


def test_odd_characters_come_back_or_as_escapes():
    text = junit.junit(odd_run())
    (suite,) = ET.fromstring(text.encode("utf-8"))
    assert suite.get("name").startswith('a|b <i>&amp; "q" \\x00\\x1b[31m')
    failure = cases_of(suite)["size-formula[float32]"].find("failure").text
    assert "]]> \\ud800 \\ufffe ü" in failure


def test_a_stale_deviation_fails_in_a_suite_of_its_own():
    root = ET.fromstring(junit.junit(stale_run()))
    assert [suite.get("name") for suite in root] == ["mine", junit.SUITE_OF_DEVIATIONS]
    assert root.get("failures") == "1"
    assert "delete lines 3 to 11" in root[1].find("testcase/failure").text


@pytest.mark.parametrize(("state", "tag"), [("fail", "failure"), ("crash", "error"), ("unsupported", "skipped")])
def test_a_training_run_is_told_as_well(state, tag):
    (suite,) = ET.fromstring(junit.junit(training(state)))
    case = cases_of(suite)["training-step[net B, seed 0]"]
    assert [part.tag for part in case] == [tag]
    assert "step 3, layer 0" in case[0].get("message")


# -------------------------------------------------------------------------------------------------------- Markdown


def test_the_table_counts_by_profile():
    text = markdown.markdown(all_states())
    assert "### <code>mine</code>: 1 of 8 pass" in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert table[-1] == "| **all** | **1** | **3** | **1** | **1** | **1** | **1** |"
    body = [[int(part or 0) for part in (p.strip() for p in line.split("|")[2:-1])] for line in table[1:-1]]
    assert [sum(column) for column in zip(*body, strict=True)] == [1, 3, 1, 1, 1, 1]
    assert {line.split("|")[1].strip() for line in table[1:-1]} <= {c.profile for c in clauses().values()}
    assert text.count("<details>") == text.count("</details>") == 4  # two failures, a SHOULD, what is known
    assert "(float32, float64)</summary>" in text
    assert text.index("conv2d-sum</code>") < text.index("decide nothing") < text.index("batch-invariance</code>")
    assert "<code>mine-leaks</code>" in text


def test_nothing_that_a_backend_says_is_markdown():
    text = ci.as_utf8(markdown.markdown(odd_run()))
    outside = re.sub(r"^(`{5,})text\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)  # one more than the text has
    assert "```" not in outside
    for mark in ("<i>", "*x*", "@you", "a|b", "\x1b[31m*"):
        assert mark not in outside
    assert "a&#124;b &lt;i&gt;&amp;amp;" in outside
    assert not [line for line in text.splitlines() if line.startswith("::error") and "```" in line]


def test_it_stays_below_what_a_step_summary_may_have():
    long = replace(FINDING, message="x" * 5_000, stderr="y" * 50_000)
    slugs = [slug for slug, c in clauses().items() if c.scope == "backend" and c.level == "MUST"]
    cells = [
        cell(slug, "fail", backend=f"backend {number}", findings=[replace(long, clause=slug)])
        for number in range(8)
        for slug in slugs
    ]
    text = markdown.markdown(run_of(*cells))
    size = len(text.encode("utf-8"))
    assert 900_000 < size < 1024 * 1024
    assert text.count("<details>") == text.count("</details>")
    left_out = int(re.search(r"^(\d+) more are left out here", text, re.M)[1])
    assert left_out + text.count("<details>") == len(cells)
    assert text.count("### ") == 8
    assert len(markdown.markdown(run_of(*cells), most=3_000).encode()) <= 3_000
    assert markdown.markdown(run_of(*cells), most=10) == ""


def test_stale_deviations_are_told():
    text = markdown.markdown(stale_run())
    assert "1 known deviations no longer hold" in text
    assert "delete lines 3 to 11" in text


# ----------------------------------------------------------------------------------------------------------- badge


@pytest.mark.parametrize(
    ("document", "value", "said", "colour"),
    [
        (run_of(cell(), cell("same-lower")), "2/2", "no MUST clause is broken", badge.GREEN),
        (run_of(cell(), cell("groups", "unsupported")), "1/2", "no MUST clause is broken", badge.GREEN),
        (run_of(cell(), cell("locality", "deviation")), "1/2", "1 deviate as is known", badge.AMBER),
        (stale_run(), "2/2", "1 known deviations no longer hold", badge.RED),
        (all_states(), "1/8", "MUST clauses are broken in 3", badge.RED),
        (training("fail"), "0/1", "MUST clauses are broken in 1", badge.RED),
    ],
)
def test_the_badge_says_how_many_pass(document, value, said, colour):
    text = badge.badge(document)
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg"
    assert [part.text for part in root.iter(f"{SVG}text")] == ["convspec", value]
    title = root.find(f"{SVG}title").text
    assert root.get("aria-label") == title
    assert root.get("role") == "img"
    assert title.endswith(said)
    assert colour in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")  # no other address


def test_white_is_readable_on_every_colour():
    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for colour in (badge.GREY, badge.GREEN, badge.AMBER, badge.RED):
        assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_odd_texts_stay_texts_in_a_badge():
    root = ET.fromstring(badge.draw("a<b", "1&2", "\"'<title>", badge.GREY))
    assert root.find(f"{SVG}title").text == root.get("aria-label") == "\"'<title>"


# ----------------------------------------------------------------------------------------------------- annotations


def test_a_must_is_an_error_and_a_should_a_warning():
    lines = list(ci.workflow_commands(all_states()))
    assert [line.split(" ")[0] for line in lines] == ["::error", "::error", "::warning"]
    assert lines[0].startswith("::error title=mine%3A conv2d-sum (float32%2C float64)::conv2d-sum (MUST)%0A")
    assert all("\n" not in line for line in lines)


def test_odd_characters_stay_on_one_line():
    for line in ci.workflow_commands(odd_run()):
        assert "\n" not in line
        assert "\r" not in line
        title = re.match(r"::(?:error|warning) title=([^:,]*)::", line)
        assert title, line


def test_github_shows_ten_so_the_tenth_counts_the_rest():
    slugs = [slug for slug, c in clauses().items() if c.scope == "backend" and c.level == "MUST"][:14]
    document = run_of(*(cell(slug, "fail") for slug in slugs))
    lines = list(ci.workflow_commands(document))
    assert len(lines) == ci.MOST_ANNOTATIONS
    assert "and 5 more" in lines[-1]


def test_a_stale_deviation_is_an_error():
    (line,) = ci.workflow_commands(stale_run())
    assert line.startswith("::error title=known deviation::")


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
    assert "MUST clauses are broken" in done.stderr  # the report


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


@pytest.mark.parametrize("module", [badge, ci, diff, junit, markdown, rows, schema], ids=lambda module: module.__name__)
def test_examples_are_true(module):
    failed, count = doctest.testmod(module)
    assert not failed
    assert count


def test_rows_of_a_document_are_its_cells():
    document = all_states()
    found = list(rows.rows(document))
    assert [(r.backend, r.clause, r.on, r.state) for r in found] == [
        (c["backend"], c["clause"], c["dtype"], c["state"]) for c in document["cells"]
    ]
    assert [r.clause for r in found if r.decides] == ["conv2d-sum", "conv2d-sum", "groups"]
    assert isinstance(FINDING, Finding)
