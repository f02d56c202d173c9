"""The site builds without a warning, clauses and findings have their anchors, no link is dead, nothing is loaded."""

import doctest
import importlib
import json
import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from convspec.harness.deviations import shipped
from convspec.spec import TOPICS, clauses

ROOT = Path(__file__).parents[2]
#: What a browser fetches by itself: the element, and its attribute.
LOADS = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("object", "data")}


class Page(HTMLParser):
    """What a page is reached by, points to and loads."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        self.loads += [value for key, value in attrs if (tag, key) in LOADS and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site: the folder CONVSPEC_SITE where it is built already, or a build of its own."""
    if built := os.environ.get("CONVSPEC_SITE"):
        return Path(built)
    pytest.importorskip("mkdocs", reason="the site is built in `tox run -e docs`")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@cache
def page(file):
    return Page(file)


def test_every_clause_is_where_its_address_says(site):
    for clause in clauses().values():
        file, anchor = clause.address.split("#")
        assert anchor in page(site / file).ids, clause.address


def test_every_finding_has_its_anchor_and_its_script(site):
    for entry in shipped():
        file = site / "findings" / f"{entry.backend}.html"
        assert entry.id in page(file).ids, entry.id
        assert f"convspec repro {entry.id}" in file.read_text(encoding="utf-8")


def test_the_scoreboard_links_each_verdict_to_its_clause(site):
    file = site / "findings" / "scoreboard.html"
    [text] = re.findall(r'<script [^>]*id="_data"[^>]*>(.*?)</script>', file.read_text(encoding="utf-8"), re.S)
    rows = json.loads(text)["clauses"]
    assert len(rows) > 100
    for slug, *_, address in rows:
        place, anchor = address.split("#")
        assert anchor == slug
        assert anchor in page((file.parent / place).resolve()).ids
    assert "scoreboard.html" in page(site / "findings" / "index.html").links


def test_every_clause_names_its_check_and_who_deviates(site):
    sections = {}
    for topic in TOPICS:
        text = (site / "specification" / f"{topic}.html").read_text(encoding="utf-8")
        sections |= dict(re.findall(r'<h2 id="([\w-]+)">(.*?)(?=<h2 |</article>)', text, re.S))
    assert "test_same_odd_pixel_last" in sections["same-odd-pixel-last"]
    assert "profile core" in sections["same-odd-pixel-last"]
    assert "findings/tensorflow.html#" in sections["max-pool-nan"]
    for slug, section in sections.items():
        if slug in clauses():
            assert "checked by" in section, slug
            assert f">{clauses()[slug].level}</span>" in section, slug


def test_every_page_is_built_and_no_link_is_dead(site):
    files = sorted(site.rglob("*.html"))
    assert len(files) > 40
    dead = []
    for file in files:
        for link in page(file).links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert parts.scheme == "https", f"{file.name}: {link}"
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            missing = not target.is_file() or (anchor and target.suffix == ".html" and anchor not in page(target).ids)
            if missing and file.name != "404.html":
                dead.append(f"{file.relative_to(site)}: {link}")
    assert not dead, "\n".join(dead)


def test_nothing_is_loaded_from_outside(site):
    for file in sorted(site.rglob("*.html")):
        assert [one for one in page(file).loads if "//" in one] == [], file
    for file in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", file.read_text(encoding="utf-8")), file


def test_pictures_load_nothing_either():
    for file in (ROOT / "docs" / "pictures").glob("*.svg"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?:href|src|url\()\W*https?:", text), file


def test_the_search_finds_every_clause_without_a_server(site):
    index = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert index.startswith("var __index = ")
    assert [slug for slug in clauses() if f"#{slug}" not in index] == []


def test_every_command_is_in_the_reference(site):
    click = pytest.importorskip("click")
    from convspec.harness.cli import main

    anchors = page(site / "reference" / "command-line.html").ids
    for name in main.list_commands(click.Context(main)):
        assert f"convspec-{name}" in anchors


def test_examples_of_what_makes_the_pages(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    for file in (ROOT / "docs" / "made").glob("[a-z]*.py"):
        assert doctest.testmod(importlib.import_module(f"made.{file.stem}")).failed == 0, file.name
