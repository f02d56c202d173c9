"""The scoreboard without a browser: its counts, what it lets a backend say, what it loads, and what it draws."""

import builtins
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pages
import pytest
from reported import all_states, cell, committed, convspec, invoke, run_of, training

from convspec.harness.collector import merged
from convspec.harness.report import schema
from convspec.harness.report.page import page
from convspec.harness.report.page.board import Board
from convspec.harness.verdict import State
from convspec.spec import clauses

SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "input", "br", "wbr", "img", "link", "hr"}


class Tree(HTMLParser):
    """The elements of a page, each with its attributes and the text below it; open ones have to be closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.open = [], []
        self.feed(text)
        assert not self.open, f"not closed: {self.open[-1][0]}"

    def handle_starttag(self, tag, attributes):
        element = [tag, dict(attributes), ""]
        self.elements.append(element)
        if tag not in VOID and tag not in ("polyline", "circle"):
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.elements.append([tag, dict(attributes), ""])

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            assert tag not in ("div", "section", "table", "tr", "tbody", "main"), f"</{tag}> closes another"

    def handle_data(self, data):
        for element in self.open:
            element[2] += data

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [e for e in self.elements if e[0] == tag and wanted.items() <= e[1].items()]


def data_of(text):
    """The data that the page's script reads."""
    (found,) = re.findall(r'<script type="application/json" id="_data">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


# ---------------------------------------------------------------------------------------------------------- counts


def tallies(text):
    """The counts in the head of each column, and the denominator that it names."""
    heads = [e for e in Tree(text).all("th", scope="col") if " pass" in e[2] and " of " in e[2]]
    for head in heads:
        passed, total = re.search(r"(\d+)\s+of (\d+) pass", head[2]).groups()
        counts = {
            state: int(re.search(rf"(?<![a-z]){state}\s+(\d+)", head[2].split("pass", 1)[1])[1]) for state in State
        }
        yield int(passed), int(total), counts


@pytest.mark.parametrize("document", [pages.board(), all_states(), *committed()[:3]])
def test_the_counts_of_every_backend_add_up_to_one_denominator(document):
    found = list(tallies(page([document])))
    assert len(found) == len(document["summary"])
    places = {(c["clause"], c["dtype"]) for c in document["cells"]}
    for (passed, total, counts), summary in zip(found, document["summary"].values(), strict=True):
        assert total == len(places) == sum(counts.values())
        assert passed == counts["pass"] == summary["pass"]
        assert counts == summary


def test_a_cell_that_one_backend_alone_has_stays_in_the_count_of_the_others():
    document = run_of(cell(backend="a"), cell("groups", backend="a"), cell(backend="b"))
    (_, total, a), (_, other, b) = tallies(page([document]))
    assert total == other == 2
    assert (a["pass"], a["not run"]) == (2, 0)
    assert (b["pass"], b["not run"]) == (1, 1)


def test_the_table_has_every_clause_once_under_its_profile_with_its_worst_state():
    text = page([pages.board()])
    tree = Tree(text)
    rows = [e for e in tree.all("tr") if e[1].get("id")]
    assert sorted(e[1]["id"] for e in rows) == sorted({c["clause"] for c in pages.board()["cells"]})
    (row,) = re.findall(r'<tr role="row" id="conv2d-sum">(.*?)</tr>', text, re.DOTALL)
    assert re.sub("<[^>]+>", " ", row).split() == ["conv2d-sum", "MUST", *["fail", "in", "f32"] * 2]
    (weak,) = [e for e in rows if e[1].get("class") == "weak"]
    assert weak[1]["id"] == "batch-invariance"
    groups = [e[2] for e in tree.all("th", scope="rowgroup")]
    assert len(groups) == len(set(groups))
    assert set(groups) == {clauses()[c["clause"]].profile for c in pages.board()["cells"]}


def test_states_are_in_words_beside_the_shapes():
    legend = Tree(page([pages.board()])).all("ul", class_="legend")[0][2]
    for state in State:
        assert state.value in legend


# ------------------------------------------------------------------------------------------ what a backend may say


def test_nothing_that_a_backend_writes_is_markup_or_ends_the_script():
    text = page([pages.evil()])
    tree = Tree(text)
    assert not tree.all("img")
    assert not [e for e in tree.elements if any(name.startswith("on") for name in e[1])]
    assert len(tree.all("script")) == 2
    assert text.count("</script>") == 2
    assert "\u2028" not in data_text(text)
    found = data_of(text)
    assert found["backends"][0]["name"] == pages.EVIL
    assert {pages.EVIL} <= {str(value) for one in found["findings"] for value in one.values()}
    assert found["deviations"][0]["url"] == ""
    assert "javascript:" not in text


def data_text(text):
    return re.search(r'id="_data">(.*?)</script>', text, re.DOTALL)[1]


def test_halves_of_characters_and_figures_that_are_no_numbers_can_be_written():
    said = replace(pages.WRONG, message="a\ud800\x00b")
    document = run_of(cell("conv2d-sum", "fail", findings=[said], precision={"y": float("nan")}))
    text = page([document])
    text.encode("utf-8")
    assert data_of(text)["findings"][0]["message"] == "a\\ud800\\x00b"


def test_the_page_loads_nothing_and_only_links_go_out():
    for document in (pages.board(), pages.evil(), committed()[0]):
        text = page([document])
        tree = Tree(text)
        loading = [e for e in tree.elements if {"src", "srcset", "data", "action", "poster"} & e[1].keys()]
        assert not loading
        assert not tree.all("link")
        assert not tree.all("iframe")
        out = [e for e in tree.elements if e[1].get("href", "").startswith(("http", "//"))]
        assert {e[0] for e in out} <= {"a"}
        assert "url(" not in text.split("</style>")[0].replace("url(#", "")
        assert "@import" not in text
        policy = tree.all("meta", **{"http-equiv": "Content-Security-Policy"})[0][1]["content"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_upstream_addresses_are_links():
    tree = Tree(page([pages.board()]))
    assert {e[1]["href"] for e in tree.all("a", rel="noopener noreferrer")} == {pages.UPSTREAM}
    assert data_of(page([pages.board()]))["deviations"][0]["url"] == pages.UPSTREAM


def test_the_clauses_of_the_page_have_their_whole_text():
    found = data_of(page([pages.board()]))["clauses"]
    by_slug = {one[0]: one for one in found}
    slug, level, profile, statement, parts = by_slug["conv2d-sum"]
    assert (level, profile) == ("MUST", "core")
    assert "".join(token[1] for token in statement) == clauses()[slug].statement.replace("`", "")
    assert [title for title, _ in parts] == ["Formula", "Why", "Example", "Systems"]


# --------------------------------------------------------------------------------------------------------- history


def test_of_several_files_the_newest_is_shown_and_the_others_are_its_history():
    new, old = pages.board(), pages.earlier()
    text = page([new, old])
    assert text == page([old, new])
    ((_, _, counts), _) = tallies(text)
    assert counts == new["summary"]["mine"]
    tree = Tree(text)
    assert len(tree.all("polyline")) == 2
    (history,) = tree.all("section", id="_history")
    assert "2026-01-05 12:00" in history[2]
    assert re.search(r"worse\s+mine, conv2d-sum: pass to fail float32", history[2])
    assert re.search(r"better\s+mine, size-formula: unsupported to pass float32", history[2])
    found = data_of(text)
    row = [(found["clauses"][c][0], found["dtypes"][d]) for c, d, *_ in found["rows"]].index(("conv2d-sum", "float32"))
    assert found["cells"][f"{row},0"]["since"][1] == "pass"
    assert "since" not in json.dumps(data_of(page([new])))
    assert "_history" not in page([new])


def test_since_is_the_first_of_the_files_that_agree():
    first, second, third = (pages.earlier() for _ in range(3))
    for number, (document, state) in enumerate([(first, "pass"), (second, "unsupported"), (third, "unsupported")]):
        document["date"] = f"2026-01-0{number + 1}T00:00:00+00:00"
        for one in document["cells"]:
            one["state"] = state
    found = data_of(page([first, second, third]))
    assert {tuple(one["since"]) for one in found["cells"].values()} == {("2026-01-02 00:00", "pass")}


# ---------------------------------------------------------------------------------------------------------- errors


def test_counts_of_errors_travel_and_old_files_have_none():
    schema.validate(pages.board())
    assert schema.fault(pages.board()) == ""
    found = data_of(page([pages.board()]))
    assert pages.ERRORS in [one.get("errors") for one in found["cells"].values()]
    assert "errors" not in json.dumps(data_of(page([all_states()]))["cells"])
    one, other = cell(errors=pages.ERRORS), cell()
    assert merged(one, other)["errors"] == pages.ERRORS
    assert merged(one, one)["errors"] == [2 * n for n in pages.ERRORS]
    assert "errors" not in merged(other, other)


def test_time_has_a_row_a_backend_however_many_there_are():
    tree = Tree(page([pages.board(tuple(f"mine{n}" for n in range(30)))]))
    (time,) = tree.all("section", id="_speed")
    assert "backendcoregroupsexplicitspecial-valuesalloutputs comparedoutputs a second" in time[2]
    assert "mine29––0.5 s–0.5 s1,0002,000" in time[2]


def test_every_finding_of_the_committed_results_can_be_shown():
    for document in committed():
        assert data_of(page([document]))["findings"] or not any(c["findings"] for c in document["cells"])


# --------------------------------------------------------------------------------------------------------- options


@pytest.fixture
def file(tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(pages.board()))
    (tmp_path / "old.json").write_text(json.dumps(pages.earlier()))
    (tmp_path / "t.json").write_text(json.dumps(training()))
    return tmp_path / "r.json"


def test_show_and_merge_write_the_page(file, tmp_path):
    out, again = tmp_path / "page.html", tmp_path / "again.html"
    done = invoke("show", str(file), "--html", str(out))
    assert done.exit_code == 0, done.output
    assert f"Written: {out}" in done.output
    assert out.read_text(encoding="utf-8") == page([pages.board()])
    done = invoke("show", str(tmp_path / "old.json"), str(file), "--html", str(out))
    assert done.exit_code == 0, done.output
    assert out.read_text(encoding="utf-8") == page([pages.board(), pages.earlier()])
    done = invoke("merge", str(file), str(tmp_path / "old.json"), "--html", str(again))
    assert f"Written: {again}" in done.output
    assert len(list(tallies(again.read_text(encoding="utf-8")))) == 4


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("r.json", "old.json"), "several files are the history of a page: give --html, or one file"),
        (("t.json", "--html", "p.html"), "t.json: it is of `convspec mnist`; --html shows results of"),
        (("r.json", "--html", "no/p.html"), "--html no/p.html: there is no folder"),
        (("r.json", "--html", "-"), "--html -: only --markdown writes to stdout; name a file"),
    ],
)
def test_what_cannot_be_a_page_exits_2_and_says_why(file, monkeypatch, args, said):
    monkeypatch.chdir(file.parent)
    done = invoke("show", *args)
    assert done.exit_code == 2
    assert said in done.output


def test_without_jinja2_it_names_the_extra_before_any_work(file, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "jinja2":
            raise ImportError("No module named 'jinja2'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "jinja2", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    for command in (("show", str(file)), ("check", "numpy"), ("merge", str(file))):
        done = invoke(*command, "--html", str(tmp_path / "p.html"))
        assert done.exit_code == 2
        assert "convspec[page]" in done.output.replace("\n", "")
    with pytest.raises(ImportError, match=r"convspec\[page\]"):
        page([pages.board()])


def test_no_document_and_a_training_run_are_refused():
    with pytest.raises(ValueError, match="no document"):
        page([])
    with pytest.raises(ValueError, match="convspec mnist"):
        page([training()])


def test_a_run_writes_its_page(tmp_path):
    args = ("check", "numpy", "--level", "quick", "-n", "1", "-k", "conv2d_sum", "--json", "r.json", "--html", "p.html")
    done = convspec(*args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Written: p.html" in done.stdout
    written = (tmp_path / "p.html").read_text(encoding="utf-8")
    document = json.loads((tmp_path / "r.json").read_text())
    assert written == page([document])
    counted = [sum(c["errors"]) for c in document["cells"]]
    assert counted == [c["outputs"] for c in document["cells"]]


def test_the_board_names_dtypes_only_where_they_differ():
    document = run_of(cell(), cell(dtype="float16"), cell("groups"), cell("groups", "crash", dtype="float16"))
    board = Board(document, clauses())
    assert [(m.state, m.dtypes) for m in board.marks("size-formula", "mine")] == [("pass", "")]
    assert [(m.state, m.dtypes) for m in board.marks("groups", "mine")] == [("crash", "f16")]
