"""How the scoreboard looks in headless Chromium: themes, print, a narrow screen, shapes; and axe-core on all of it."""

import re

import pytest
from browsing import Watched

pytestmark = pytest.mark.browser
GRAVE = ("serious", "critical")


# --------------------------------------------------------------------------------------------------- how it looks


def test_a_narrow_screen_scrolls_the_table_in_its_box_alone(visit):
    for fragment in ("", "#conv2d-sum/tensorflow@nchw/float64"):
        tab = visit("real", fragment, viewport={"width": 360, "height": 740})
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        assert tab.evaluate("document.body.scrollWidth") <= 360
        box = tab.locator("#_box")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert box.get_attribute("tabindex") == "0"
        if fragment:
            assert tab.locator("#_panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")


def test_light_and_dark_and_print_are_three_looks(visit):
    looks = {}
    for scheme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        tab = visit("real")
        tab.emulate_media(color_scheme=scheme, media=media)
        style = "getComputedStyle(document.body).{}"
        looks[scheme, media] = tuple(tab.evaluate(style.format(name)) for name in ("backgroundColor", "color"))
        paper, ink = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in looks[scheme, media])
        assert (paper < ink) == (scheme == "dark" and media == "screen")
        assert tab.locator("#_filters").is_visible() == (media == "screen")
        if media == "print":
            box = tab.locator("#_box")
            assert box.evaluate("box => getComputedStyle(box).overflow") == "visible"
            assert box.evaluate("box => box.scrollWidth <= document.documentElement.clientWidth")
    assert looks["light", "screen"] != looks["dark", "screen"]


SHEET = {"width": 700, "height": 1040}  # A4 less its margins, in pixels of CSS


@pytest.mark.parametrize(("name", "turned"), [("board", False), ("real", True), ("many", True)])
def test_a_sheet_holds_the_width_of_every_table(visit, name, turned):
    """Twenty backends too: on a sheet on its side, and nothing of a head lies on what is above it."""
    width, height = SHEET.values()
    tab = visit(name, viewport={"width": height, "height": width} if turned else SHEET)
    tab.emulate_media(media="print")
    page = tab.evaluate("getComputedStyle(document.body).page")
    assert (page == "wide") == turned
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    boxes = tab.locator("#_box, .scroll").evaluate_all("boxes => boxes.map(b => [b.scrollWidth, b.clientWidth])")
    assert [box for box in boxes if box[0] > box[1]] == []
    heads = """() => [...document.querySelectorAll("#_table thead th")]
        .filter((head) => [...head.children].some((part) => {
        const [inner, outer] = [part.getBoundingClientRect(), head.getBoundingClientRect()];
        return inner.width && (inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1); })).length"""
    assert tab.evaluate(heads) == 0


def test_what_is_open_is_printed_from_its_head_on_with_its_bars(visit):
    tab = visit(fragment="#conv2d-sum/mine/float32")
    tab.emulate_media(media="print")
    style = "element => { const s = getComputedStyle(element); return [s.position, s.printColorAdjust]; }"
    assert tab.locator("#_panel header").evaluate(style)[0] == "static"  # sticky, it would lie on a later page
    assert tab.locator("#_panel .bins i").first.evaluate(style)[1] == "exact"
    assert not tab.locator("#_table").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_states_differ_by_shape_and_not_by_colour_alone(visit, scheme):
    tab = visit(color_scheme=scheme)
    look = """element => { const s = getComputedStyle(element, "::before");
        return [s.content, s.borderStyle, s.borderRadius, s.clipPath].join(" "); }"""
    looks = [one.evaluate(look) for one in tab.locator(".legend span").all()]
    assert len(set(looks)) == len(looks) == 6


# ------------------------------------------------------------------------------------------------------- axe-core


def grave(tab, source):
    """The serious and critical violations that axe finds: rule, and the first elements."""
    tab.evaluate(source)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found if v["impact"] in GRAVE]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("name", "fragment"),
    [
        ("board", ""),
        ("board", "#conv2d-sum/mine/float32"),
        ("board", "#conv2d-sum"),
        ("board", "#locality/torch/float32"),
        ("real", ""),
        ("evil", "#conv2d-sum"),
    ],
)
def test_axe_finds_no_serious_fault(visit, axe, scheme, name, fragment):
    tab = visit(name, fragment, color_scheme=scheme)
    for summary in tab.locator("#_panel summary" if fragment else "main summary").all():
        if summary.evaluate("s => !s.parentElement.open"):
            summary.click()
    if not fragment:
        tab.locator("#_states button").nth(1).click()
        tab.locator("#_states button").first.click()
    assert grave(tab, axe) == []


def test_axe_finds_a_planted_fault(chromium, files, axe):
    context = chromium.new_context()
    tab = Watched(context, files / "board.html").go()
    tab.evaluate("document.querySelector('#_text').labels[0].remove()")
    tab.evaluate("document.querySelector('#_text').removeAttribute('placeholder')")
    tab.evaluate("document.querySelector('.lead').style.color = '#ddd'")
    found = {rule for rule, _ in grave(tab, axe)}
    context.close()
    assert {"label", "color-contrast"} <= found
