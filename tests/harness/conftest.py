"""What the browser's tests need: Chromium, pages on disk, a visit that may not complain, axe-core; or why not."""

import shutil
import subprocess

import pages
import pytest
from browsing import ARGUMENTS, CHROMIUM, Watched
from reported import committed

from convspec.harness.report.page import page

AXE = "axe-core@4"


@pytest.fixture(scope="session")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser's tests need `pip install playwright`")
    if CHROMIUM is None:
        pytest.skip("Chromium is not on PATH")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Pages on disk, made once."""
    folder = tmp_path_factory.mktemp("pages")
    documents = {
        "board": [pages.board(), pages.earlier()],
        "apart": [pages.apart()],
        "evil": [pages.evil()],
        "many": [pages.board(tuple(f"framework@mode-{n}" for n in range(20)))],
        "real": [max(committed(), key=lambda document: len(document["summary"]))],
    }
    for name, found in documents.items():
        (folder / f"{name}.html").write_text(page(found), encoding="utf-8")
    (folder / "book.html").write_text(page([pages.board()], book="../"), encoding="utf-8")
    return folder


@pytest.fixture
def visit(chromium, files):
    """Open a page; when the test is over, it must have complained of nothing."""
    contexts, watched = [], []

    def opened(name="board", fragment="", **options):
        contexts.append(
            chromium.new_context(viewport=options.pop("viewport", {"width": 1280, "height": 900}), **options)
        )
        watched.append(Watched(contexts[-1], files / f"{name}.html"))
        return watched[-1].go(fragment)

    opened.watched = watched
    yield opened
    complaints = [said for one in watched for said in one.said]
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory):
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core comes from npm, which is not on PATH")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", AXE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    source = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not source.exists():
        pytest.skip(f"npm could not install {AXE}: {done.stderr.strip().splitlines()[-1:]}")
    return source.read_text(encoding="utf-8")
