"""Files that cannot be read or written, with every command that takes one: a line that says so, and exit status 2."""

import json
import sys

import pytest
from reported import all_states, convspec, invoke

READERS = {
    "show": ("show",),
    "merge": ("merge",),
    "diff": ("diff", "sound.json"),
    "repro": ("repro", "--list", "--results"),
    "draft": ("deviations", "draft"),
}


def later(document):
    document["convspec"] = "9.0"
    document["cells"][0]["clause"] = "no-such-clause"


DAMAGES = {
    "no cells": (lambda d: d.pop("cells"), "damaged: document: there is no cells"),
    "empty cells": (lambda d: d.update(cells=[]), "damaged: cells: there is none"),
    "fewer cells": (lambda d: d["cells"].pop(0), "damaged: summary/mine: it says pass: 1, and of the cells 0 are"),
    "no summary": (lambda d: d.update(summary={}), "damaged: summary/mine: it says pass: None, and of the cells 1 are"),
    "a state": (lambda d: d["cells"][0].update(state="maybe"), "damaged: cells/0/state: 'maybe' is none of"),
    "a field": (lambda d: d["cells"][1].update(findings=[{}]), "damaged: cells/1/findings/0: there is no"),
    "an old version": (lambda d: d.update(version=1), "results version 1; this convspec reads version 2"),
    "another format": (lambda d: d.update(format="junit"), "not a results file of convspec"),
    "a clause of later": (later, "the clause 'no-such-clause' is not in convspec"),
}
TEXTS = {"empty": b"", "no JSON": b"nope", "a list": b"[1, 2]", "bytes": b"\xff\xfe\x00", "deep": b"[" * 100_000}


def refused(command, file, said):
    done = invoke(*READERS[command], str(file))
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert file.name in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sound.json").write_text(json.dumps(all_states()))


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_every_reader(command, damage, tmp_path):
    change, said = DAMAGES[damage]
    document = all_states()
    change(document)
    (tmp_path / "r.json").write_text(json.dumps(document))
    if (command, damage) == ("diff", "a clause of later"):  # it compares names alone, and knows what is gone or new
        assert invoke("diff", "sound.json", "r.json").exit_code in (0, 1)
        return
    refused(command, tmp_path / "r.json", said)


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_results_file_is_refused_by_every_reader(command, text, tmp_path):
    (tmp_path / "r.json").write_bytes(TEXTS[text])
    refused(command, tmp_path / "r.json", "not a results file")


#: A file that nobody can write, though its folder is there; root too.
NOWHERE = "/proc/convspec"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc takes no files")


@linux
@pytest.mark.parametrize(
    "args",
    [
        ("merge", "sound.json", "--json", f"{NOWHERE}.json"),
        ("merge", "sound.json", "--html", f"{NOWHERE}.html"),
        ("show", "sound.json", "--html", f"{NOWHERE}.html"),
        ("show", "sound.json", "--junit", f"{NOWHERE}.xml"),
    ],
)
def test_a_file_that_cannot_be_written_is_one_line_and_what_was_asked_is_told_all_the_same(args):
    done = invoke(*args)
    assert done.exit_code == 2
    assert f"{args[2]} {args[3]}: No such file or directory" in done.stderr
    assert "mine: 1 of 8 cells pass" in done.stdout
    assert "Traceback" not in done.stderr
    assert f"Results: {NOWHERE}" not in done.stdout


@linux
def test_a_run_whose_results_cannot_be_written_is_told_and_ends_with_2():
    done = convspec("check", "numpy", "--level", "quick", "-n", "1", "-k", "same_lower", "--json", f"{NOWHERE}.json")
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.strip() == f"convspec: --json {NOWHERE}.json: No such file or directory"
    assert "1 of 1 cells pass" in done.stdout
    assert "Results:" not in done.stdout


@linux
def test_a_training_run_whose_files_cannot_be_written_can_write_them_without_training_again(tmp_path):
    args = ("mnist", "numpy", "--net", "B", "--steps", "2", "--batch", "8", "-n", "1")
    done = convspec(*args, "--json", f"{NOWHERE}.json", cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    first, second = done.stderr.strip().splitlines()[-2:]
    assert first == f"convspec: --json {NOWHERE}.json: No such file or directory"
    assert second.startswith("convspec: the same command with --resume, and another name")
    assert "training-update" in done.stdout
    done = convspec(*args, "--json", "t.json", "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "t.json").read_text())["verdicts"]


@linux
def test_a_picture_that_cannot_be_drawn_to_its_file_is_one_line():
    pytest.importorskip("matplotlib", reason="matplotlib draws (extra mnist)")
    call = ("explain", "max_pool", "--input", "1,8,8,1", "--ksize", "2", "--strides", "2", "--padding", "SAME")
    done = invoke(*call, "--plot", f"{NOWHERE}.svg")
    assert done.exit_code == 2
    assert f"--plot {NOWHERE}.svg: No such file or directory" in done.stderr


def test_merge_makes_no_folder():
    done = invoke("merge", "sound.json", "--json", "no/such/r.json")
    assert done.exit_code == 2
    assert "--json no/such/r.json: there is no folder" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("check", "numpy", "--json", "one", "--junit", "./one"), "--json one and --junit ./one: this is one file"),
        (("check", "numpy", "--badge", "one", "--html", "one"), "--badge one and --html one: this is one file"),
        (("merge", "sound.json", "--json", "one", "--html", "one"), "--json one and --html one: this is one file"),
        (("show", "sound.json", "--junit", "one", "--markdown", "one"), "--junit one and --markdown one: this is one"),
    ],
)
def test_two_options_that_name_one_file_are_refused(args, said, tmp_path):
    done = invoke(*args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert not (tmp_path / "one").exists()
