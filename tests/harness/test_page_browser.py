"""The scoreboard in headless Chromium: filters, a walk by keyboard, links, what a click opens, and what never happens.

Needs `pip install playwright` and Chromium on PATH; `tox run -e page` has the one and says so if the other is missing.
"""

import pages
import pytest
from browsing import Watched

pytestmark = pytest.mark.browser


def shown(tab):
    """The clauses that the table shows."""
    return tab.locator("#_table tbody tr[id]:visible").evaluate_all("rows => rows.map(row => row.id)")


def heads(tab):
    """What the heads of the columns say."""
    return tab.locator("#_table thead th").evaluate_all(
        "heads => heads.map(head => head.textContent.replace(/\\s+/g, ' '))"
    )


def active(tab):
    """Where the focus is: a row's id and a column, or an element's own id or text."""
    return tab.evaluate(
        """() => { const e = document.activeElement;
        return e.closest("tbody tr[id]") ? [e.parentElement.id, e.cellIndex] : e.id || e.textContent; }"""
    )


def closed(tab):
    """Wait until nothing is open: the browser tells the page of it when it comes to it, and goes back after that."""
    tab.wait_for_function(
        "!document.querySelector('#_panel').open && !location.hash && document.activeElement.closest('tbody')"
    )


# --------------------------------------------------------------------------------------------------------- filters


def test_filters_by_state_text_and_backend_leave_the_counts_as_they_are(visit):
    tab = visit()
    before, every = heads(tab), shown(tab)
    assert len(every) == 7
    tab.get_by_role("button", name="crash").click()
    assert shown(tab) == ["groups"]
    tab.get_by_role("button", name="fail").click()
    assert set(shown(tab)) == {"groups", "conv2d-sum", "batch-invariance"}
    tab.get_by_label("Clause").fill("SHOULD")
    assert shown(tab) == ["batch-invariance"]
    assert tab.locator("#_shown").text_content() == "1 of 7 clauses"
    assert heads(tab) == before
    tab.get_by_label("Clause").fill("no such clause")
    assert shown(tab) == []
    tab.get_by_role("button", name="show all").last.click()
    assert shown(tab) == every
    tab.get_by_role("checkbox", name="torch").uncheck()
    assert tab.locator("#_table thead th:visible").count() == 2
    assert tab.locator("#conv2d-sum > *:visible").count() == 2
    assert heads(tab) == before
    tab.get_by_role("button", name="Show all").first.click()
    assert tab.locator("#_table thead th:visible").count() == 3


def test_a_few_of_many_backends_are_ticked_after_none(visit):
    tab = visit("apart")
    tab.get_by_role("button", name="none").click()
    assert tab.locator("#_table thead th:visible").count() == 1
    tab.get_by_role("checkbox", name="torch").check()
    assert tab.locator("#_table thead th:visible").count() == 2
    tab.get_by_role("button", name="Show all").first.click()
    assert tab.locator("#_table thead th:visible").count() == 4
    assert visit().locator("#_none").count() == 0  # of two there is nothing to choose


def test_the_filter_of_states_looks_at_the_backends_that_are_shown(visit):
    tab = visit("apart")
    tab.get_by_role("button", name="fail").click()
    assert shown(tab) == ["conv2d-sum"]
    tab.get_by_role("checkbox", name="mine").uncheck()
    assert shown(tab) == ["conv2d-sum"]
    tab.get_by_role("checkbox", name="torch").uncheck()  # it alone breaks the clause
    assert shown(tab) == []
    tab.get_by_role("checkbox", name="torch").check()
    assert shown(tab) == ["conv2d-sum"]


# -------------------------------------------------------------------------------------------------------- keyboard


def test_a_walk_by_keyboard_opens_a_cell_and_comes_back_to_it(visit):
    tab = visit()
    seen = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        seen.append(active(tab))
        if isinstance(seen[-1], list):
            break
    first = shown(tab)[0]
    assert seen[-1] == [first, 0]
    assert "_box" in seen
    tab.keyboard.press("ArrowRight")
    assert active(tab) == [first, 1]
    for _ in range(30):
        if active(tab)[0] == "conv2d-sum":
            break
        tab.keyboard.press("ArrowDown")
    assert active(tab) == ["conv2d-sum", 1]
    tab.keyboard.press("Enter")
    assert active(tab) == "_title"
    assert tab.locator("#_panel").get_attribute("open") is not None
    for _ in range(12):  # the focus stays in what is open
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement === document.body || !!document.activeElement.closest('#_panel')")
    tab.keyboard.press("Escape")
    closed(tab)
    assert active(tab) == ["conv2d-sum", 1]
    assert tab.evaluate("location.hash") == ""
    tab.keyboard.press("Control+End")
    assert active(tab) == [shown(tab)[-1], 2]
    tab.keyboard.press("Home")
    assert active(tab) == [shown(tab)[-1], 0]
    tab.keyboard.press("Tab")
    assert not isinstance(active(tab), list)  # the table is one stop


def test_the_walk_passes_over_what_is_filtered_out(visit):
    tab = visit()
    tab.get_by_role("button", name="fail").click()
    tab.get_by_role("checkbox", name="mine").uncheck()
    tab.locator("#conv2d-sum > th").focus()
    tab.keyboard.press("ArrowRight")
    assert active(tab) == ["conv2d-sum", 2]
    tab.keyboard.press("Control+End")
    assert active(tab) == [shown(tab)[-1], 2]
    assert "groups" not in shown(tab)


# -------------------------------------------------------------------------------------------------- links and cell


def test_a_click_opens_all_that_was_found(visit):
    tab = visit()
    tab.locator("#conv2d-sum > td").first.click()
    panel = tab.locator("#_panel")
    assert tab.evaluate("location.hash") == "#conv2d-sum/mine/float32"
    for words in ("Each output element MUST be the sum", "3 of 12 elements of y are wrong", "the last tap is dropped",
                  "off by 10", "tap (0, 2) is missing", "Since ", "Errors against the bound"):  # fmt: skip
        assert words in panel.text_content()
    assert panel.locator("svg.case").get_attribute("aria-label").startswith("Input of 3 x 4 pixels")
    assert panel.locator("svg.case path.cross").count() == 3
    assert panel.locator(".bins > span").count() == 13
    assert "2 above the bound" in panel.locator(".bins").get_attribute("aria-label")
    panel.get_by_role("link", name="float64 pass").click()
    assert tab.evaluate("location.hash") == "#conv2d-sum/mine/float64"
    assert "are wrong" not in panel.text_content()
    panel.get_by_role("link", name="all backends").click()
    assert panel.locator("tbody tr").count() == 2
    panel.get_by_role("button", name="Close").click()
    closed(tab)


def test_the_key_of_a_drawing_has_each_of_its_marks(visit):
    key = visit(fragment="#conv2d-sum/mine/float32").locator("#_panel .key li")
    assert key.all_text_contents() == ["pixel", "padding", "window", "tap", "wrong", "counted twice"]


def test_upstream_links_go_out_and_nothing_else_does(visit):
    tab = visit(fragment="#locality/mine/float32")
    out = tab.locator("#_panel a[href^=http]").evaluate_all("links => links.map(link => [link.href, link.rel])")
    assert [pages.UPSTREAM, "noopener noreferrer"] in out
    assert "reproduced" in tab.locator("#_panel").text_content()


def test_a_clause_links_to_the_documents_where_there_are_some(visit):
    link = visit("book", "#conv2d-sum/mine/float32").get_by_role("link", name="in the specification")
    assert link.get_attribute("href") == "../specification/conv2d.html#conv2d-sum"
    assert visit(fragment="#conv2d-sum").get_by_role("link", name="in the specification").count() == 0


def test_fragments_open_a_clause_or_a_cell_and_odd_ones_nothing(visit):
    tab = visit(fragment="#conv2d-sum")
    assert tab.locator("#_panel h2").text_content() == "conv2d-sum"
    assert tab.locator("#_panel .plain tbody th").all_text_contents() == ["mine", "torch"]
    watched = visit.watched[0]
    tab = watched.go("#groups/torch/float32")
    assert "crash" in tab.locator("#_panel .meta").last.text_content()
    tab.keyboard.press("Escape")
    closed(tab)
    assert active(tab) == ["groups", 2]
    for fragment in ("#no-such-clause", "#conv2d-sum/yours/float32", "#%E0%A4%A", "#_history", "#"):
        assert watched.go(fragment).locator("#_panel").get_attribute("open") is None


def test_back_closes_and_forward_opens_again(visit):
    tab = visit()
    tab.locator("#groups > td").first.click()
    tab.go_back()
    tab.wait_for_function("!document.querySelector('#_panel').open")
    tab.go_forward()
    tab.wait_for_function("document.querySelector('#_panel').open")
    assert tab.locator("#_panel h2").text_content() == "groups"


def test_a_clause_that_is_filtered_out_is_shown_when_a_link_names_it(visit):
    tab = visit()
    tab.get_by_role("button", name="crash").click()
    tab.evaluate("location.hash = '#conv2d-sum'")
    tab.wait_for_function("document.querySelector('#_panel').open")
    assert "conv2d-sum" in shown(tab)


@pytest.mark.parametrize("clipboard", [True, False])
def test_the_script_is_copied_with_a_clipboard_and_without(visit, clipboard):
    tab = visit(permissions=["clipboard-read", "clipboard-write"])
    if not clipboard:
        tab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('none')); }")
    tab.locator("#conv2d-sum > td").nth(1).click()  # of torch: a script in its language
    tab.get_by_text("Reproducer").click()
    script = tab.locator("#_panel .script pre").text_content()
    assert "import torch" in script
    tab.get_by_role("button", name="Copy the script").click()
    tab.get_by_text("Copied.").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == script
    assert active(tab) == "Copy the script"


# ------------------------------------------------------------------------------------------------- safe and quiet


def test_a_backend_s_words_stay_words(visit):
    tab = visit("evil")
    tab.locator("#conv2d-sum > td").first.click()
    assert pages.EVIL in tab.locator("#_panel").text_content()
    for summary in tab.locator("#_panel summary").all():
        summary.click()
    assert tab.locator("img").count() == 0
    assert tab.evaluate("window.planted") is None


def test_the_watch_sees_what_is_planted(chromium, files, tmp_path):
    """A page that complains is caught, so that no complaint of ours could pass."""
    text = (files / "board.html").read_text(encoding="utf-8")
    planted = "<img src='http://127.0.0.1:9/x.png'><script>throw new Error('planted')</script></body>"
    (tmp_path / "planted.html").write_text(text.replace("</body>", planted), encoding="utf-8")
    context = chromium.new_context(bypass_csp=True)
    watched = Watched(context, tmp_path / "planted.html")
    watched.go()
    context.close()
    assert any("planted" in said for said in watched.said)
    assert any("127.0.0.1:9" in said for said in watched.said)


def test_the_policy_stops_a_script_that_is_not_the_page_s(chromium, files, tmp_path):
    text = (files / "board.html").read_text(encoding="utf-8")
    script = "<script>window.planted = 1</script></body>"
    (tmp_path / "planted.html").write_text(text.replace("</body>", script), encoding="utf-8")
    context = chromium.new_context()
    watched = Watched(context, tmp_path / "planted.html")
    assert watched.go().evaluate("window.planted") is None
    context.close()
    assert any("Content Security Policy" in said for said in watched.said)


def test_the_table_is_there_without_javascript(visit):
    tab = visit("real", java_script_enabled=False)
    assert tab.locator("#_table tbody tr").count() > 100
    assert not tab.locator("#_filters").is_visible()
    assert tab.get_by_text("With JavaScript a click").is_visible()
