"""The command line as a user meets it: what it prints, where, and with which exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from convspec.harness.cli import main
from convspec.harness.report import results as results_file

MINE = """
from convspec.adapters.numpy_backend import NumpyBackend
class Right(NumpyBackend):
    def __init__(self): super().__init__("fast")
class Flipped(Right):
    def conv2d(self, x, w, **options): return super().conv2d(x, w[::-1, ::-1], **options)
class OnlyPools:
    name = "only pools"
    def max_pool(self, x, **options): return Right().max_pool(x, **options)
class Nothing: pass
class Slow(Right):
    def conv2d(self, x, w, **options):
        import time; time.sleep(0.05)
        return super().conv2d(x, w, **options)
RIGHT = Right()
"""
QUICK = ("--level", "quick", "-n", "1")


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def convspec(*args, cwd=None, **options):
    command = [sys.executable, "-m", "convspec.harness.cli", *args]
    env = {**os.environ, "COLUMNS": "110"} | options.pop("env", {})
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env=env, timeout=300, check=False, **options
    )


def test_a_right_backend_exits_0_and_says_so(mine):
    done = convspec("check", "mine.py:RIGHT", *QUICK, "-k", "same", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "No MUST clause is broken." in done.stdout
    assert "same-odd-pixel-last" in done.stdout
    assert "\x1b[" not in done.stdout  # colour on a terminal only


def test_a_wrong_backend_exits_1_with_clause_case_expected_and_got(mine):
    done = convspec("check", "mine.py:Flipped", *QUICK, "-k", "cross_correlation", "--json", "out.json", cwd=mine)
    assert done.returncode == 1, done.stderr
    for part in ("conv2d-cross-correlation (MUST)", "case:", "expected:", "got:", "error:", "MUST clause is broken"):
        assert part in done.stdout
    found = results_file.read(mine / "out.json")
    cells = [c for c in found["cells"] if c["state"] == "fail"]
    assert {c["clause"] for c in cells} == {"conv2d-cross-correlation"}
    witness = cells[0]["findings"][0]
    assert witness["elements"] < 100
    assert witness["case"]["recipe"] == "impulse-x"


def test_the_expression_reads_slugs_as_they_are_written(mine):
    done = convspec("check", "mine.py:RIGHT", *QUICK, "-k", "same-lower", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "same-lower" in done.stdout
    assert "1 of 1 cells pass" in done.stdout


def test_missing_methods_are_named_and_the_rest_is_judged(mine):
    done = convspec("check", "mine.py:OnlyPools", *QUICK, "-k", "max_pool_maximum or conv2d_sum", cwd=mine)
    assert done.returncode == 0, done.stderr
    assert "it lacks conv2d, conv2d_vjp, max_pool_vjp: unsupported; the rest is judged" in done.stdout
    assert "4 of 8 cells pass, 4 unsupported" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("check", "numpi"), ("numpi", "numpy", "torch", "tensorflow")),
        (("check", "nowhere.py:B"), ("nowhere.py",)),
        (("check", "no_such_module:B"), ("no_such_module",)),
        (("check", "mine.py:Absent"), ("Absent",)),
        (("check", "mine.py:Nothing"), ("conv2d", "max_pool")),
        (("check", "broken.py:B"), ("ZeroDivisionError",)),
        (("check", "numpy@slow"), ("numpy",)),
        (("check", "torch:tpu"), ("torch",)),
        (("check", "numpy", "-k", "nothing_like_this"), ("no clause matches", "convspec spec")),
        (("check", "numpy", "-k", "and and"), ("-k 'and and' is no expression: ",)),
        (("check", "numpy", "--fuzz", "--seed", "3"), ("--fuzz", "--seed")),
        (("check", "numpy", "--json", "no/such/folder/x.json"), ("no/such/folder",)),
        (("check", "numpy", "--level", "slow"), ("quick", "standard", "deep")),
        (("check",), ("BACKEND",)),
        (("spec", "same-odd-pixel-frist"), ("same-odd-pixel-last",)),
        (("spec", "same-odd"), ("closest: same-odd-pixel-last,",)),
        (("chekc",), ("chekc",)),
    ],
)
def test_what_cannot_run_exits_2_and_says_why_on_stderr(mine, args, said):
    (mine / "broken.py").write_text("1 / 0\n")
    done = convspec(*args, cwd=mine)
    assert done.returncode == 2
    for part in said:
        assert part in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_an_error_of_a_backend_is_one_line(mine):
    done = convspec("check", "mine.py:Absent", cwd=mine)
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_backend_that_dies_while_loading_exits_2(mine):
    (mine / "dies.py").write_text("import os\nos._exit(7)\n")
    done = convspec("check", "dies.py:B", *QUICK, cwd=mine)
    assert done.returncode == 2
    assert "dies.py:B" in done.stderr


def test_two_processes_give_the_verdict_of_one(mine):
    found = []
    for processes in ("1", "2"):
        args = ("--level", "quick", "-n", processes, "-k", "output_size or groups", "--json", f"{processes}.json")
        done = convspec("check", "mine.py:Flipped", "mine.py:Right", *args, cwd=mine)
        assert done.returncode == 1, done.stderr
        found.append(json.loads((mine / f"{processes}.json").read_text()))
    keys = ("clause", "dtype", "backend", "state", "cases", "outputs", "findings")
    one, two = ([{k: c[k] for k in keys} for c in f["cells"]] for f in found)
    assert one == two
    assert found[0]["summary"] == found[1]["summary"]
    assert list(found[0]["summary"]) == ["mine.py:Flipped", "mine.py:Right"]


def test_the_same_seed_asks_the_same_and_another_asks_otherwise(mine):
    def cases(seed):
        convspec("check", "mine.py:Flipped", *QUICK, "-k", "conv2d_sum", "--seed", seed, "--json", "s.json", cwd=mine)
        return [c["findings"] for c in json.loads((mine / "s.json").read_text())["cells"]]

    assert cases("1") == cases("1")


def test_fuzz_prints_its_seed(mine):
    done = convspec("check", "mine.py:RIGHT", *QUICK, "-k", "same_lower", "--fuzz", cwd=mine)
    assert done.returncode == 0
    seed = done.stdout.split("--seed ")[1].split(")")[0]
    assert seed.isdigit()


def test_ctrl_c_keeps_what_was_judged(mine):
    command = [sys.executable, "-m", "convspec.harness.cli", "check", "mine.py:Slow", *QUICK, "--json", "out.json"]
    process = subprocess.Popen(command, cwd=mine, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Interrupted" in out
    cells = results_file.read(mine / "out.json")["cells"]
    states = {c["state"] for c in cells}
    assert {"pass", "not run"} <= states <= {"pass", "not run", "unsupported"}
    assert len(cells) > 300  # the denominator stays


def test_list_shows_the_built_in_backends():
    done = convspec("list")
    assert done.returncode == 0
    for name in ("numpy", "torch", "tensorflow"):
        assert name in done.stdout


def test_spec_prints_a_clause_and_lists_them_all():
    one = convspec("spec", "same-odd-pixel-last")
    assert "MUST" in one.stdout
    assert "bottom" in one.stdout
    every = convspec("spec")
    assert "same-odd-pixel-last" in every.stdout
    assert "max-pool-nan" in every.stdout


def commands(command=main, path=()):
    """Every command with those below it, as words."""
    yield path
    for name, below in (getattr(command, "commands", {}) | loaded(command)).items():
        yield from commands(below, (*path, name))


def loaded(command):
    """Those of a group that are imported when they are asked for."""
    names = command.list_commands(None) if isinstance(command, click.Group) else ()
    return {name: command.get_command(None, name) for name in names}


@pytest.mark.parametrize("command", [*commands()], ids=" ".join)
def test_help_fits_a_screen_of_80_columns_and_shows_an_example(command):
    done = CliRunner().invoke(main, [*command, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) <= 40
    assert [line for line in lines if len(line) > 80 or "\b" in line] == []
    example = done.stdout.index("Example")
    assert "convspec " + (" ".join(command) or "check") in done.stdout[example:].replace("convspec check mine", "")
    told = done.stdout.partition("Commands:")[2]
    assert "..." not in told, "what a command does is cut off: its first sentence is too long"


def test_there_are_that_many_commands():
    assert len([*commands()]) == 16


def test_help_is_quick_and_imports_no_framework():
    code = "import sys, convspec.harness.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "tensorflow", "hypothesis", "pytest", "rich"} & set(done.stdout.split())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_what_is_printed_is_utf_8_whatever_the_locale(mine, encoding):
    """Piped on Windows, say: the signs are in no other encoding, and a script with an umlaut has to run."""
    text = 'class Rude:\n    name = "rude"\n    def max_pool(self, x, **options): raise RuntimeError("b\\u00f6se")\n'
    (mine / "rude.py").write_text(text)
    check = ("check", "rude.py:Rude", *QUICK, "-k", "max_pool_maximum", "--json", "r.json")
    for args, status in ((check, 1), (("show", "r.json"), 0)):
        done = convspec(*args, cwd=mine, env={"PYTHONIOENCODING": encoding}, encoding="utf-8")
        assert done.returncode == status, done.stderr
        assert "✗ rude.py:Rude" in done.stdout
        assert "RuntimeError: böse" in done.stdout
    name = "rude.py:Rude/max-pool-maximum/float32"
    done = convspec(
        "repro", name, "--results", "r.json", cwd=mine, env={"PYTHONIOENCODING": encoding}, encoding="utf-8"
    )
    (mine / "bug.py").write_text(done.stdout, encoding="utf-8")
    assert subprocess.run([sys.executable, "bug.py"], cwd=mine, check=False, capture_output=True).returncode == 1


def test_python_m_is_the_same_command():
    said = [
        subprocess.run([*command, "spec", "same-lower"], capture_output=True, text=True, check=True).stdout
        for command in ([sys.executable, "-m", "convspec"], [Path(sys.executable).parent / "convspec"])
    ]
    assert said[0] == said[1]
    assert "same-lower" in said[0]


@pytest.mark.parametrize(
    "start",
    ["from convspec.__main__ import main; main()", "import runpy; runpy.run_module('convspec', run_name='__main__')"],
)
def test_without_the_extra_the_command_says_which(start):
    code = f"import sys; sys.modules['click'] = None; {start}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "convspec: the command needs click, which is of the extra 'check': pip install 'convspec[check]'"
    )
