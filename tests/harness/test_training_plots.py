"""The pictures of a training run: they are there, their titles tell the truth, and whatever is missing breaks none."""

import copy
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from convspec.adapters.backend import BackendError
from convspec.harness.report import results
from convspec.harness.training import data, judge, plots, run, tasks
from convspec.harness.training.lockstep import names
from convspec.reference.training import NETS

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.once
STEPS, MARKS, ROWS = 10, [1, 2, 4, 8, 10], names(NETS["B"])
WRONG = "kernels/mine.py:Wrong"
TITLE = "{http://purl.org/dc/elements/1.1/}title"


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Few pixels: the tests look at the SVGs."""
    monkeypatch.setitem(plots.STYLE, "savefig.dpi", 30)


@pytest.fixture(scope="module")
def digits():
    """Twelve test images of noise, labelled 0 to 9 and again."""
    random = np.random.default_rng(0)
    images = random.random((12, 28, 28, 1)).astype(np.float32)
    return data.Digits(images, np.arange(12) % 10, images, np.arange(12) % 10, "noise")


def a_run(who, apart, backend=False, errors=None, wrong=()):
    filters = np.linspace(-1, 1, 4 * 4 * 16).reshape(4, 4, 1, 16) + apart
    one = {"net": "B", "seed": 0, "who": who, "backend": backend, "facts": {}, "marks": MARKS}
    one |= {"distance": [apart] * 5, "losses": (np.linspace(2, 1, STEPS) + apart).tolist(), "accuracy": 0.5}
    one |= {"misclassified": [[i, 9] for i in wrong], "first_filters": filters.tolist()}
    return one | ({} if errors is None else {"errors": np.full((STEPS, len(ROWS)), errors).tolist()})


def document(*backends):
    """Of a run of net B; a backend is its name, its distance, its error, the clauses that it fails."""
    runs = [a_run("reference", 0.0, wrong=[3]), a_run("float64", 1e-7, wrong=[3])]
    runs += [a_run(f"twin {n}", 2e-7, wrong=[3]) for n in range(1, 6)]
    verdicts = []
    for who, apart, error, fails in backends:
        runs.append(a_run(who, apart, True, error, [3, 5] if fails else [3]))
        for clause in judge.CLAUSES:
            told = {"clause": clause, "net": "B", "seed": 0, "backend": who, "figure": apart, "limit": 3e-5}
            level = "SHOULD" if clause == "training-accuracy" else "MUST"
            verdicts.append(told | {"state": "fail" if clause in fails else "pass", "level": level})
    return {
        "nets": ["B"], "seeds": [0], "descent": {"steps": STEPS, "batch": 4}, "compared": {"B": ROWS},
        "backends": {who: {} for who, *_ in backends}, "runs": runs, "verdicts": verdicts,
    }  # fmt: skip


RIGHT = ("torch", 1e-7, 0.01, ())
BOTH = document(RIGHT, (WRONG, 0.1, 500.0, ("training-step", "training-early", "training-end")))


def lose(found, who, led):
    """Take from a run what it has not if its backend was lost after so many steps."""
    found = copy.deepcopy(found)
    one = next(one for one in found["runs"] if one["who"] == who)
    for key in ("marks", "distance", "losses", "accuracy", "misclassified", "first_filters"):
        del one[key]
    one["errors"] = one["errors"][:led]
    one["facts"]["lost"] = {"kind": "crash", "text": "gone", "at": led}
    for verdict in found["verdicts"]:
        if verdict["backend"] == who:
            verdict |= {"state": "crash", "figure": None, "limit": None}
    return found


def titles(files):
    """What each picture says, by its name; each SVG is XML."""
    return {file.stem: ET.parse(file).getroot().find(f".//{TITLE}").text for file in files if file.suffix == ".svg"}


def test_files(digits, tmp_path):
    files = plots.write(BOTH, digits, tmp_path / "not" / "there")
    stems = ["loss-B", "distance-B", "errors-B-torch", "errors-B-Wrong", "filters-B", "digits-B"]
    assert files == [tmp_path / "not" / "there" / f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")]
    assert all(file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for file in files if file.suffix == ".png")


def test_titles_say_who_fails(digits, tmp_path):
    said = titles(plots.write(BOTH, digits, tmp_path))
    assert said == {
        "loss-B": "Loss against the reference's: torch up to 1e-7 away; Wrong (fails) up to 0.1 away",
        "distance-B": "torch stays inside the band of one-ulp twins; "
        "Wrong leaves the band by step 1 and fails training-end",
        "errors-B-torch": "torch meets the criterion in every tensor at all 10 steps (worst: 0.01)",
        "errors-B-Wrong": 'Wrong breaks the criterion at all 10 steps, first at step 0 in "0 conv2d: output"',
        "filters-B": "First filters against the reference's: torch equal to 6 decimals; Wrong (fails) up to 0.1 away",
        "digits-B": "Answers on 12 test images: torch as the reference; Wrong (fails) unlike the reference on up to 1",
    }


def test_titles_of_what_is_right(digits, tmp_path):
    said = titles(plots.write(document(RIGHT, ("numpy", 0.0, 0.0, ()), ("mine", 5e-7, 1.0, ())), digits, tmp_path))
    assert "fails" not in " ".join(said.values())
    assert said["distance-B"] == (
        "torch and numpy stay inside the band of one-ulp twins; mine stays within what one-ulp twins allow"
    )
    assert said["errors-B-numpy"] == "numpy is equal to the reference to the bit at all 10 steps"
    assert said["errors-B-mine"].startswith("mine meets the criterion")
    assert said["digits-B"] == "Answers on 12 test images: torch, numpy and mine as the reference"


def test_an_error_that_is_rounded_to_1_fails_where_the_verdict_does(digits, tmp_path):
    said = titles(plots.write(document(("mine", 0.0, 1.0, ("training-step",))), digits, tmp_path))
    assert said["errors-B-mine"].startswith("mine breaks the criterion at all 10 steps")


def test_what_fails_late(digits, tmp_path):
    found = document(RIGHT, ("mine", 1e-7, 0.0, ("training-end",)))
    mine = found["runs"][-1]
    mine["distance"][-1], mine["errors"][7][3] = 0.5, float("nan")
    said = titles(plots.write(found, digits, tmp_path))
    assert said["distance-B"].endswith("mine leaves the band by step 10 and fails training-end")
    assert said["errors-B-mine"] == (
        'mine breaks the criterion at 1 of 10 steps, first at step 7 in "3 conv2d: output"'
    )


@pytest.mark.parametrize("led", [0, 3])
def test_lost_backends(digits, tmp_path, led):
    said = titles(plots.write(lose(BOTH, WRONG, led), digits, tmp_path))
    lost = f"crash at step {led}"
    assert all(said[f"{name}-B"].endswith(f"Wrong has no free run ({lost})") for name in ("loss", "distance", "digits"))
    assert said["errors-B-Wrong"].endswith(f"no free run ({lost})" if led else f"gave no step to compare ({lost})")


def test_nobody_left(digits, tmp_path):
    said = titles(plots.write(lose(lose(BOTH, WRONG, 3), "torch", 0), digits, tmp_path))
    assert said["loss-B"] == "torch has no free run (crash at step 0); Wrong has no free run (crash at step 3)"


@pytest.mark.parametrize("read", [copy.deepcopy, results.strict], ids=["as it was found", "as a file has it"])
def test_what_is_no_number(digits, tmp_path, read):
    found = copy.deepcopy(BOTH)
    wrong = found["runs"][-1]
    wrong["losses"][4:] = [float("nan")] * 6
    wrong["distance"][-1] = float("inf")
    wrong["first_filters"][0][0][0][0] = float("nan")
    said = titles(plots.write(read(found), digits, tmp_path))
    assert said["loss-B"].endswith("Wrong (fails) up to infinity away")


def test_answers_beyond_what_the_document_tells(tmp_path):
    found, digits = copy.deepcopy(BOTH), data.subset()
    for one in found["runs"]:
        one["misclassified"] = [[i, 0] for i in range(3, 203)]
    said = titles(plots.write(found, digits, tmp_path))
    assert said["digits-B"].startswith("Answers on the first 203 test images: torch as the reference")


def test_many_steps_and_names_that_are_one(digits, tmp_path):
    found = document(("a-b.py:Mine", 1e-7, 0.1, ()), ("a/b.py:Mine", 1e-7, 3.0, ("training-step",)), ("$x_$", 0, 0, ()))
    found["descent"]["steps"] = 200
    for one in found["runs"]:
        one["losses"] *= 20
        if "errors" in one:
            one["errors"] *= 20
    said = titles(plots.write(found, digits, tmp_path))
    assert said["errors-B-a-b-py-Mine-0"].startswith("a-b.py:Mine meets the criterion in every tensor at all 200 steps")
    assert said["errors-B-a-b-py-Mine-1"].startswith("a/b.py:Mine breaks the criterion at all 200 steps")


def test_svg_is_the_same_to_the_byte(digits, tmp_path):
    first, second = (plots.write(json.loads(json.dumps(BOTH)), digits, tmp_path / name) for name in "ab")
    assert [f.read_bytes() for f in first if f.suffix == ".svg"] == [
        f.read_bytes() for f in second if f.suffix == ".svg"
    ]


def test_a_real_run(tmp_path):
    digits = data.subset()
    digits = data.Digits(digits.images[:64], digits.labels[:64], digits.test_images[:50], digits.test_labels[:50], "50")
    asked = run.Asked(("numpy",), ("B",), 2, batch=4)
    records = {(t.net, t.seed, t.who): tasks.run(t, digits, tmp_path, lambda *_: None) for t in asked.tasks()}
    found = run.document(asked, digits, records)
    said = titles(plots.write(json.loads(json.dumps(found)), digits, tmp_path / "pictures"))
    assert said["loss-B"].startswith("Loss against the reference's: numpy ")
    assert said["distance-B"].startswith("numpy stays ")
    assert said["errors-B-numpy"].startswith(("numpy is equal to the reference", "numpy meets the criterion"))


def test_without_matplotlib(monkeypatch, digits, tmp_path):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    for ask in (plots.require, lambda: plots.write(BOTH, digits, tmp_path / "none")):
        with pytest.raises(
            BackendError, match=r"^matplotlib, .* run `python -m pip install 'convspec\[mnist\]'`$"
        ) as told:
            ask()
        assert "\n" not in str(told.value)
    assert not (tmp_path / "none").exists()


def test_matplotlib_waits_until_asked():
    code = "import sys; from convspec.harness.training import plots; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
