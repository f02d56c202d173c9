"""The documents are true: each block of docs/*.md and of the README is run, or read, or listed here with its reason.

A page is one session, in a folder of its own. A block with a title is written to that file, a diff with a title
changes it; `console` is run and must print what is shown, where `...` stands for anything and white space does not
count; `pycon` is a doctest, `python` without a title a script; TOML, YAML and JSON are read.
"""

import doctest
import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in DOCS.rglob("*.md"))]
FENCE = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^```$', re.M | re.S)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: Pages whose commands need PyTorch, or another package that is not everywhere.
FRAMEWORKS = {"docs/how-to/gpu.md"}

INSTALLS = "installs packages"
NEEDS = "needs both frameworks, and minutes"
TUTORIAL = "the tutorial has one that is run"
NODE = "the examples' own tests run it, where there is node"
WORKER = "examples/javascript/worker.mjs"
#: Blocks that are not run, by page and first line.
NOT_RUN = {
    ("README.md", "$ python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox run -e check"): INSTALLS,
    ("README.md", "$ python3 -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox run"): INSTALLS,
    ("README.md", "$ pytest --pyargs convspec.conformance --backend torch:cpu -k same"): TUTORIAL,
    ("README.md", "$ convspec mnist torch tensorflow --plot pictures"): NEEDS,
    ("README.md", "$ .venv/bin/tox run-parallel -e py311-torch213-cpu,py311-tf217-cpu,py313-tf221-cpu"): INSTALLS,
    ("docs/index.md", 'pip install "convspec[check,torch,tensorflow]"'): INSTALLS,
    ("docs/tutorial.md", "python3 -m venv .venv"): INSTALLS,
    ("docs/how-to/gpu.md", "convspec check torch:cuda tensorflow:gpu"): "needs a GPU",
    ("docs/how-to/interpreter.md", 'python3.11 -m venv old && old/bin/pip install "torch==2.5.*" numpy'): INSTALLS,
    ("docs/how-to/interpreter.md", "tox run-parallel -e py311-torch213-cpu,py311-tf217-cpu,py313-tf221-cpu"): INSTALLS,
    ("docs/how-to/mnist.md", "$ convspec mnist numpy --net A --steps 8 --batch 8"): "takes a minute",
    ("docs/how-to/mnist.md", "convspec mnist torch tensorflow --plot pictures --json mnist.json"): NEEDS,
    ("docs/how-to/other-language.md", f'convspec check "command:node {WORKER}" --level quick'): NODE,
    ("docs/how-to/other-language.md", f"python -m convspec.harness.process.conformance -- node {WORKER}"): NODE,
    ("docs/reference/pytest.md", "pytest --pyargs convspec.conformance --backend torch:cpu -k same"): TUTORIAL,
}  # fmt: skip
#: Blocks of the README that have a test of their own.
ELSEWHERE = {
    (">>> import convspec", "pycon"): "tests/test_frame.py::test_library_examples_are_true",
    ('"""mine.py: valid windows by NumPy\'s strides."""', "python"):
        "tests/test_frame.py::test_example_backend_has_real_methods_and_the_right_values",
    ("python3 -m venv .venv", "bash"):
        "tests/test_examples.py::test_from_an_empty_folder_to_a_verdict_in_five_commands",
    ("$ convspec explain conv2d --input 1,224,224,3 --filter 7,7,3,64 --strides 2 --padding SAME", "console"):
        "tests/harness/test_explain.py::test_the_example_of_the_readme_is_what_is_printed",
}  # fmt: skip


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    title: str
    body: str

    @property
    def first(self):
        return self.body.splitlines()[0]

    @property
    def reason(self):
        elsewhere = ELSEWHERE.get((self.first, self.language)) if self.page == "README.md" else None
        return NOT_RUN.get((self.page, self.first)) or elsewhere


def blocks(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(page, text[: m.start()].count("\n") + 1, m["language"], m["title"] or "", m["body"])
        for m in FENCE.finditer(text)
    ]


EVERY = [block for page in PAGES for block in blocks(page)]


class Session:
    """One page, in one folder: its files, the names of its doctests, the exit status of its last command."""

    def __init__(self, folder):
        self.folder = folder
        self.names = {}
        self.status = 0
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GITHUB_", "COV_"))}
        ours = {"COLUMNS": "88", "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = kept | ours | {"PATH": path}
        (folder / "results").symlink_to(ROOT / "results")

    def take(self, block):
        if block.language in ("toml", "yaml", "json"):
            read(block)
        if block.language == "diff":
            self.change(block)
        elif block.title:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.body, encoding="utf-8")
        elif block.language in ("console", "pycon", "python"):
            getattr(self, block.language)(block)

    def change(self, block):
        """What a diff says, each hunk exactly once."""
        file = self.folder / block.title
        text = file.read_text(encoding="utf-8")
        for hunk in re.split(r"^@@.*\n", block.body, flags=re.M):
            lines = hunk.splitlines()
            before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
            after = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("-"))
            assert not lines or text.count(before) == 1, f"{block.page}:{block.line}: {text.count(before)} of\n{before}"
            text = text.replace(before, after) if lines else text
        file.write_text(text, encoding="utf-8")

    def shell(self, command):
        line = f"(exit {self.status}); {command}"
        told = subprocess.run(
            ["bash", "-c", line], cwd=self.folder, env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=600, check=False,
        )  # fmt: skip
        self.status = told.returncode
        return re.sub(r"^\d+/\d+ (judged|runs done).*\n", "", told.stdout, flags=re.M)

    def console(self, block):
        for part in re.split(r"^\$ ", block.body, flags=re.M)[1:]:
            command, want = part.split("\n", 1)
            got = self.shell(command)
            shown = f"{block.page}:{block.line}: $ {command}\n--- shown\n{want}--- printed\n{got}"
            if not doctest.OutputChecker().check_output(want, got, FLAGS):
                pytest.fail(shown, pytrace=False)

    def pycon(self, block):
        parsed = doctest.DocTestParser().get_doctest(block.body, self.names, block.page, block.page, block.line)
        told = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        assert runner.run(parsed, out=told.append, clear_globs=False).failed == 0, "".join(told)
        self.names |= parsed.globs

    def python(self, block):
        done = subprocess.run(
            [sys.executable, "-c", block.body], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block.page}:{block.line}: {done.stderr}"


def read(block):
    if block.language == "toml":
        tomllib.loads(block.body)
    elif block.language == "json":
        json.loads(block.body)
    else:
        assert pytest.importorskip("yaml").safe_load(block.body)


def marked(page):
    return pytest.param(page, marks=[pytest.mark.frameworks] if page in FRAMEWORKS else [])


@pytest.mark.skipif(sys.platform == "win32", reason="the commands are those of a POSIX shell")
@pytest.mark.parametrize("page", [marked(page) for page in PAGES if any(not b.reason for b in blocks(page))])
def test_a_page_does_what_it_shows(page, tmp_path):
    session = Session(tmp_path)
    for block in blocks(page):
        if not block.reason:
            session.take(block)


def test_what_is_not_run_is_there_and_every_block_of_commands_is_run_or_listed():
    keys = {(block.page, block.first) for block in EVERY}
    assert set(NOT_RUN) <= keys
    assert set(ELSEWHERE) <= {(b.first, b.language) for b in EVERY if b.page == "README.md"}
    runs = {"console", "pycon", "python", "toml", "yaml", "json", "diff"}
    unlisted = [f"{b.page}:{b.line}: {b.language}" for b in EVERY if not b.reason and b.language not in {*runs, "text"}]
    assert not unlisted, "neither run nor listed in NOT_RUN"


def test_tests_that_run_the_readmes_blocks_exist():
    for test in ELSEWHERE.values():
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_most_blocks_are_run():
    run = [block for block in EVERY if not block.reason and block.language != "text"]
    assert len(run) > 2 * len(NOT_RUN)


def test_no_page_names_a_machine():
    for page in PAGES:
        assert not re.search(r"/home/|/tmp/|/work/|localhost", (ROOT / page).read_text(encoding="utf-8")), page
