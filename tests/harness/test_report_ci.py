"""What CI reads: JUnit, Markdown, the badge, annotations; from a run and from its file."""

import doctest
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from reported import ENTRY, FINDING, all_states, cell, committed, run_of, training

from convspec.harness.report import badge, ci, diff, junit, markdown, rows, schema
from convspec.harness.verdict import Finding
from convspec.spec import clauses

ROOT = Path(__file__).parents[2]
ODD = 'a|b <i>&amp; "q" \x00\x1b[31m ``` ```` *x* @you ]]> \ud800 \ufffe ü\r\n::error::no'
SVG = "{http://www.w3.org/2000/svg}"


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
    assert "1 known deviation no longer holds" in text
    assert "delete lines 3 to 11" in text


# ----------------------------------------------------------------------------------------------------------- badge


@pytest.mark.parametrize(
    ("document", "value", "said", "colour"),
    [
        (run_of(cell(), cell("same-lower")), "2/2", "no MUST clause is broken", badge.GREEN),
        (run_of(cell(), cell("groups", "unsupported")), "1/2", "no MUST clause is broken", badge.GREEN),
        (run_of(cell(), cell("locality", "deviation")), "1/2", "1 deviates as is known", badge.AMBER),
        (stale_run(), "2/2", "1 known deviation no longer holds", badge.RED),
        (all_states(), "1/8", "2 MUST clauses are broken, in 3 cells", badge.RED),
        (training("fail"), "0/1", "1 MUST clause is broken, in 1 cell", badge.RED),
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
