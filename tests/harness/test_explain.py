"""`convspec explain`: what it prints, its errors, its help, its pictures, and the README's example."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import convspec
from convspec.harness import explain as command
from convspec.harness.cli import main

ROOT = Path(__file__).parents[2]
STEM = ("conv2d", "--input", "1,224,224,3", "--filter", "7,7,3,64", "--strides", "2", "--padding", "SAME")
POOL = ("max_pool", "--input", "1,8,7,3", "--ksize", "3", "--strides", "2", "--padding", "SAME")
SMALL = ("conv2d", "--input", "1,8,7,3", "--filter", "3,3,3,2")


def explain(*arguments):
    return CliRunner().invoke(main, ["explain", *arguments])


def test_it_prints_the_text_of_the_function():
    done = explain(*STEM)
    assert done.exit_code == 0
    told = convspec.explain_conv2d((1, 224, 224, 3), (7, 7, 3, 64), strides=2, padding="SAME")
    assert done.stdout == f"{told}\n"
    assert "\x1b" not in done.stdout
    every = ("--bias", "--groups", "3", "--dilations", "1,2", "--strides", "2,1", "--padding", "0,1,2,3")
    done = explain("conv2d", "--input", "1,8,7,3", "--filter", "3,3,1,6", *every)
    options = {"strides": (2, 1), "dilations": (1, 2), "padding": ((0, 1), (2, 3)), "groups": 3, "bias": True}
    assert done.stdout == f"{convspec.explain_conv2d((1, 8, 7, 3), (3, 3, 1, 6), **options)}\n"


def test_a_pool_is_explained_too():
    done = explain(*POOL)
    assert done.exit_code == 0
    assert done.stdout == f"{convspec.explain_max_pool((1, 8, 7, 3), ksize=3, strides=2, padding='SAME')}\n"


def test_on_a_terminal_the_same_text_is_in_colour(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    told = convspec.explain_max_pool((1, 8, 7, 3), ksize=3, strides=2, padding="SAME")
    command._show(told)
    printed = capsys.readouterr().out
    assert "\x1b[" in printed
    assert re.sub(r"\x1b\[[\d;]*m", "", printed).split() == str(told).split()


def test_json_has_the_facts():
    done = explain(*STEM, "--json")
    found = json.loads(done.stdout)
    assert found["output_shape"] == [1, 112, 112, 64]
    assert found["pads"] == [[2, 3], [2, 3]]
    assert found["parameters"]["shared"] == 9408
    assert {"tensorflow", "torch", "keras", "jax", "onnx"} == set(found["calls"])
    assert {"axis", "what", "formula", "clause"} == set(found["reasons"][0])
    assert json.loads(explain(*POOL, "--json").stdout)["parameters"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*SMALL, "--padding", "SAM"), "padding='SAM': unknown name, expected 'SAME', 'VALID', 'SAME_LOWER'"),
        ((*SMALL, "--padding", "1,1"), "'--padding': '1,1': expected SAME, VALID, SAME_LOWER or TOP,BOTTOM,LEFT,RIGHT"),
        ((*SMALL, "--padding", "1,1,-1,0"), "-1 is out of range"),
        ((*SMALL, "--padding", "SAME", "--strides", "two"), "'--strides': 'two': expected integers with commas"),
        ((*SMALL, "--padding", "SAME", "--strides", "0"), "strides=0: 0 is out of range"),
        ((*SMALL, "--padding", "SAME", "--groups", "2"), "groups=2 does not divide the 3 channels of --input"),
        ((*SMALL,), "Missing option '--padding'"),
        (("conv2d", "--input", "8,7,3", "--filter", "3,3,3,2", "--padding", "SAME"), "--input=(8, 7, 3): 3 values"),
        (("conv2d", "--input", "8", "--filter", "3,3,3,2", "--padding", "SAME"), "--input=8: a int is not accepted"),
        (("conv2d", "--input", "1,8,7,3", "--filter", "3,3,4,2", "--padding", "SAME"), "--filter has shape (3, 3, 4"),
        ((*POOL, "--ksize", "0"), "ksize=0: 0 is out of range"),
        ((*POOL, "--plot", "pool.jpg"), "--plot pool.jpg: expected a name that ends in .svg or .png"),
        ((*POOL, "--plot", "nowhere/pool.svg"), "--plot nowhere/pool.svg: there is no folder"),
        ((*POOL, "--padding", "VALID", "--ksize", "9", "--plot", "pool.svg"), "so there is nothing to draw"),
        ((*POOL, "--input", "1,20000,7,3", "--plot", "pool.svg"), "are not drawn; leave it out"),
        (("conv3d",), "No such command 'conv3d'"),
    ],
)  # fmt: skip
def test_a_bad_argument_is_one_clear_line_and_exit_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = explain(*arguments)
    assert done.exit_code == 2
    assert not done.stdout
    *_, told = done.stderr.splitlines()
    assert told.startswith("Error: ")
    assert words in told
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = explain(*POOL, "--plot", str(tmp_path / "pool.svg"))
    assert done.exit_code == 2
    assert "python -m pip install 'convspec[mnist]'" in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("conv2d", "--help"), ("max_pool", "--help")])
def test_help_fits_a_screen_and_shows_an_example(arguments):
    done = explain(*arguments)
    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert len(lines) <= 32
    example = re.split(r"\n\s*\n", done.stdout.partition("Example:")[2])[0].replace("\\\n", "").split()
    shown = explain(*(word for word in example[2:] if word not in ("--plot", "stem.svg")))
    assert shown.exit_code == 0, shown.stderr


def test_the_command_imports_no_drawing_and_no_framework():
    heavy = "matplotlib torch tensorflow keras jax onnx onnxruntime"
    program = f"""
import sys
from convspec.harness.cli import main
try: main(["explain", *{list(POOL)!r}])
except SystemExit: pass
print(*set({heavy!r}.split()) & set(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


# Pictures


def picture(tmp_path, *arguments, name="p.svg"):
    pytest.importorskip("matplotlib", reason="matplotlib draws (extra mnist)")
    done = explain(*arguments, "--plot", str(tmp_path / name))
    assert done.exit_code == 0, done.stderr
    assert f"Picture: {tmp_path / name}" in done.stderr
    return (tmp_path / name).read_bytes()


def test_a_picture_is_an_svg_or_a_png_and_the_same_each_time(tmp_path):
    first = picture(tmp_path, *STEM)
    assert first.startswith(b"<?xml")
    assert b"SAME pads top 2, bottom 3, left 2, right 3; the odd pixel goes last" in first
    assert picture(tmp_path, *STEM) == first
    assert picture(tmp_path, *POOL, name="p.PNG").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "arguments",
    [
        (*SMALL, "--padding", "VALID"),
        (*SMALL, "--padding", "SAME_LOWER", "--strides", "2"),
        (*SMALL, "--padding", "4,0,1,70", "--dilations", "2,3"),
        ("conv2d", "--input", "1,5,5,1", "--filter", "5,5,1,1", "--padding", "VALID"),
        ("max_pool", "--input", "1,300,2,3", "--ksize", "2", "--strides", "3", "--padding", "VALID"),
    ],
)
def test_every_kind_of_call_can_be_drawn(arguments, tmp_path):
    assert picture(tmp_path, *arguments)


def test_the_windows_and_taps_that_are_drawn_are_those_of_the_reference():
    """One pixel at a time: it changes the outputs whose drawn taps lie on it, and no other."""
    import numpy as np

    image, filters, options = (1, 8, 7, 1), (3, 2, 1, 1), {"strides": (2, 3), "dilations": (2, 1), "padding": "SAME"}
    told = convspec.explain_conv2d(image, filters, **options)
    reads = np.zeros(image[1:3], int)
    w = np.ones(filters)
    for place in np.ndindex(told.output_shape[1:3]):
        for row, column, on_image in command._taps(told, place):
            if on_image:
                reads[row, column] += 1
                x = np.zeros(image)
                x[0, row, column, 0] = 1
                assert convspec.conv2d(x, w, **options)[0, *place, 0] == 1
    assert reads.sum() == convspec.conv2d(np.ones(image), w, **options).sum()
    counted = np.outer(command._reads(told, 0), command._reads(told, 1))
    np.testing.assert_array_equal(counted, reads)


def test_an_output_that_is_shown_is_shown_once():
    one = convspec.explain_conv2d((1, 3, 3, 1), (3, 3, 1, 1), padding="VALID")
    assert command._places(one) == {"first output": (0, 0)}
    two = convspec.explain_conv2d((1, 3, 4, 1), (3, 3, 1, 1), padding="VALID")
    assert command._places(two) == {"first output": (0, 0), "last output": (0, 1)}


# Documents


def test_the_example_of_the_readme_is_what_is_printed():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## Porting a model") :].split("\n## ")[0]
    [(line, shown)] = re.findall(r"^\$ convspec explain (.*)\n((?:.*\n)*?)```$", section, flags=re.MULTILINE)
    printed = explain(*line.split()).stdout
    same = doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS)
    assert same, doctest.OutputChecker().output_difference(doctest.Example("", shown), printed, doctest.ELLIPSIS)
    for other in re.findall(r"`convspec explain (\S+ [^`]+)`", section):
        assert explain(*other.split()).exit_code == 0


def test_examples():
    failed, count = doctest.testmod(importlib.import_module("convspec.harness.explain"))
    assert (failed, count > 0) == (0, True)
