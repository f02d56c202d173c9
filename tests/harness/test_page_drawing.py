"""What the scoreboard draws of a case: the geometry of the reference, and what went wrong in it."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pages
import pytest

from convspec.harness.cases.case import Case
from convspec.harness.report.page.drawing import draw

SVG = "{http://www.w3.org/2000/svg}"


def squares(svg, kind):
    """The upper left corners of the squares of a kind, in pixels of the input."""
    found = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        if path.get("class") == kind:
            found += [tuple(map(float, at)) for at in re.findall(r"M([\d.-]+) ([\d.-]+)h", path.get("d"))]
    return found


@pytest.mark.parametrize(
    "case",
    [
        pages.CASE,
        Case("conv2d", (2, 5, 6, 3), (3, 2), filters=2, strides=(2, 1), padding="SAME", dilations=(2, 3)),
        Case("max_pool", (1, 4, 5, 2), (2, 2), strides=(3, 2), padding=((1, 2), (0, 3))),
        Case("conv2d_vjp", (1, 3, 3, 1), (2, 2), filters=1, padding="SAME_LOWER"),
    ],
)
def test_the_drawing_has_the_geometry_of_the_reference(case):
    window = case.window
    output = tuple(n - 1 for n in window.output)
    message = f"1 of 9 elements of y are wrong, the worst at [0, {output[0]}, {output[1]}, 0]."
    svg = draw({"case": case.to_dict(), "message": message, "taps": ""}).svg
    height, width = case.x[1:3]
    (top, bottom), (left, right) = window.pads
    area = (height + top + bottom) * (width + left + right)
    assert len(squares(svg, "pad")) == area - height * width
    inputs = [at for at in squares(svg, "pixel") if at[0] < 22 + 20 * (width + left + right)]
    assert len(inputs) == height * width
    taps = {((y - 22 - 5) / 20 - top, (x - 22 - 5) / 20 - left) for x, y in squares(svg, "tap")}
    rows, columns = (
        [output[a] * window.strides[a] + t * window.dilations[a] - window.pads[a][0] for t in range(case.kernel[a])]
        for a in (0, 1)
    )
    assert taps == {(row, column) for row in rows for column in columns}


def test_the_drawing_marks_each_wrong_tap_by_its_shape():
    drawn = draw(pages.WRONG.to_dict())
    root = ET.fromstring(drawn.svg)
    twice = [e for e in root.iter(f"{SVG}text") if e.get("class") == "twice"]
    crosses = [e for e in root.iter(f"{SVG}path") if e.get("class") == "cross"]
    assert [e.text for e in twice] == ["2"]
    # A missing tap, and the output: of the taps, and the same one as the worst.
    assert len(crosses) == 3
    assert "tap (0, 2) is missing" in drawn.caption
    elsewhere = replace(pages.WRONG, taps="output [0, 0, 1, 0]: tap (0, 0) reads pixel (2, 3), not pixel (0, 0)")
    root = ET.fromstring(draw(elsewhere.to_dict()).svg)
    assert len(list(root.iter(f"{SVG}circle"))) == 1
    moved = replace(pages.WRONG, taps="output [0, 0, 1, 0]: every tap is moved by 1 rows and -2 columns")
    root = ET.fromstring(draw(moved.to_dict()).svg)
    assert [e.get("class") for e in root.iter(f"{SVG}rect")] == ["window", "window bad", "window"]


@pytest.mark.parametrize(
    "case",
    [
        Case("conv2d", (1, 224, 224, 3), (7, 7), filters=8, strides=(2, 2), padding="SAME"),
        Case("conv2d", (1, 3, 3, 1), (1000, 1), filters=1, padding="SAME"),
        Case("conv2d", (1, 0, 5, 1), (1, 1), filters=1),
        Case("conv2d", (1, 0, 0, 1), (1, 1), filters=1),
        Case("conv2d", (0, 2, 2, 1), (3, 3), filters=1),
        Case("block", (1, 6, 6, 1), (3, 3), filters=1, padding="SAME", pool=((2, 2), (2, 2), "VALID")),
    ],
)
def test_a_drawing_is_small_whatever_the_case(case):
    drawn = draw({"case": case.to_dict(), "message": "", "taps": ""})
    assert len(drawn.svg) < 60_000
    assert bool(drawn.svg) == bool(drawn.caption)
    if drawn.svg:
        ET.fromstring(drawn.svg)


def test_the_window_that_is_drawn_reads_the_pixel_whose_gradient_is_wrong():
    case = Case("max_pool_vjp", (1, 11, 3, 1), (3, 2), strides=(2, 1))
    message = "2 of 33 elements of dx are wrong, the worst at [0, 5, 2, 0]."
    drawn = draw({"case": case.to_dict(), "message": message, "taps": ""})
    assert "The window of output (2, 1)." in drawn.caption
    unread = "1 of 33 elements of dx are wrong, the worst at [0, 10, 0, 0]."
    case = Case("max_pool_vjp", (1, 11, 3, 1), (3, 2), strides=(4, 1))
    assert "The window of output (2, 0)." in draw({"case": case.to_dict(), "message": unread, "taps": ""}).caption
    case = Case("max_pool_vjp", (1, 11, 3, 1), (2, 2), strides=(4, 1))
    assert "The window of output (0, 0)." in draw({"case": case.to_dict(), "message": unread, "taps": ""}).caption


def test_no_call_no_drawing():
    assert draw({"case": None}).svg == ""
    assert draw({"case": {"case": pages.CASE.to_dict(), "change": "rank"}}).svg == ""
