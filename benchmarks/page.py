"""Measure how long the scoreboard takes to make and to open: 5,000 clause x dtype rows x 20 backends.

    python benchmarks/page.py [ROUNDS] [--markdown FILE]

The verdicts are made up, and so are the clauses: 1,000 of five dtypes each, as results have them, and 5,000 of one
dtype each, which is five times as many rows of the table. Each page is opened from disk in headless Chromium, with an
empty profile. *Table ready* is the second frame after the load event: the script of the page has run, the table is on
the screen, and a click or a key is answered.
Needs the extras `page` and `test`, `pip install playwright`, and Chromium on PATH.
"""

import argparse
import dataclasses
import datetime
import itertools
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from worker import machine

from convspec.harness.report.page import page
from convspec.harness.report.results import document
from convspec.harness.verdict import Cell, Finding, State
from convspec.spec import PROFILES, clauses

ROWS, BACKENDS, LIMIT = 5000, 20, 2.0
DTYPES = ("float32", "float64", "float16", "bfloat16", "all")
SHARES = {State.PASS: 88, State.DEVIATION: 5, State.UNSUPPORTED: 4, State.FAIL: 2, State.NOT_RUN: 1}
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync")  # fmt: skip
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
FRAMES = """addEventListener("load", () => requestAnimationFrame(() => requestAnimationFrame(
  () => { window.shown = performance.now(); })));"""
TIMES = """() => {
  const [visit] = performance.getEntriesByType("navigation"), paints = performance.getEntriesByType("paint");
  return {ready: window.shown, load: visit.loadEventEnd, paint: Math.min(...paints.map(p => p.startTime)),
          elements: document.querySelectorAll("*").length};
}"""


def text(number):
    """So many clauses, with the words of the specification's own."""
    own = [clause for clause in clauses().values() if clause.scope == "backend"]
    profiles = itertools.cycle(PROFILES[:8])
    return {
        f"clause-{n:04d}": dataclasses.replace(own[n % len(own)], slug=f"clause-{n:04d}", profile=next(profiles))
        for n in range(number)
    }


def results(made, dtypes):
    """A document of every clause, dtype and backend, with findings as a run has them."""
    draw = random.Random(0)
    names = [f"backend-{n:02d}" for n in range(BACKENDS)]
    cells = []
    for slug, dtype, name in itertools.product(made, dtypes, names):
        (state,) = draw.choices(list(SHARES), SHARES.values())
        finding = Finding(
            slug, "value", "3 of 12 elements of y are wrong.", call="conv2d(x, w)", expected="4", got="-6"
        )
        wrong = {State.FAIL: [finding], State.DEVIATION: [dataclasses.replace(finding, deviation="known")]}
        counts = {"cases": draw.randrange(200), "outputs": draw.randrange(20_000), "seconds": draw.random()}
        cells.append(
            Cell(slug, made[slug].level, dtype, name, state, findings=wrong.get(state, []), **counts).to_dict()
        )
    of_each = {name: {} for name in names}
    return document([], {}, level="standard", seed=0) | {"cells": cells, "summary": of_each, "deviations": of_each}


def opened(file, rounds):
    """What `TIMES` says of each visit, and Chromium's version."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, CHROMIUM)))
    rows = []
    with sync_playwright() as playwright:
        for _ in range(rounds):
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.add_init_script(FRAMES)
            tab.goto(file.as_uri(), wait_until="load")
            tab.wait_for_function("window.shown")
            assert tab.evaluate("document.querySelector('#_table').getAttribute('role')") == "grid"
            rows.append(tab.evaluate(TIMES))
            version = browser.version
            browser.close()
    return rows, version


def measured(rounds):
    """A row of the table for each page, and Chromium's version."""
    rows, version = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for number, dtypes in ((ROWS // len(DTYPES), DTYPES), (ROWS, ("float32",))):
            made = text(number)
            found = results(made, dtypes)
            start = time.perf_counter()
            html = page([found], made)
            seconds = time.perf_counter() - start
            file = Path(folder) / "page.html"
            file.write_text(html, encoding="utf-8")
            times, version = opened(file, rounds)
            ready, load, paint = (sorted(t[key] / 1e3 for t in times) for key in ("ready", "load", "paint"))
            half = rounds // 2
            rows.append(
                (
                    f"{number:,} clauses x {len(dtypes)} dtypes x {BACKENDS} backends",
                    f"{file.stat().st_size / 1e6:.1f} MB",
                    f"{times[0]['elements']:,}",
                    f"{seconds:.1f} s",
                    f"{paint[half]:.2f} s",
                    f"{load[half]:.2f} s",
                    f"{ready[half]:.2f} s",
                    f"{ready[0]:.2f} to {ready[-1]:.2f} s",
                    "yes" if ready[half] < LIMIT else "NO",
                )
            )
    return rows, version


def main():
    """Measure, print, and write the record where asked; exit with 1 where a page takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    parser.add_argument("--markdown", metavar="FILE")
    given = parser.parse_args()
    before = os.getloadavg()[0]
    rows, version = measured(given.rounds)
    said = "\n".join(
        [
            "# The scoreboard: how long it takes to open",
            "",
            f"{datetime.datetime.now(tz=datetime.UTC).date()}; {machine()}, load {before:.1f} before and"
            f" {os.getloadavg()[0]:.1f} after; Python {platform.python_version()}, Chromium {version}, headless.",
            "Rerun: `python benchmarks/page.py --markdown benchmarks/page.md`.",
            "",
            "| page, 100,000 verdicts | size | elements | made in | paint | load | ready | fastest, slowest | < 2 s |",
            "|---|---|---|---|---|---|---|---|---|",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            f"Medians of {given.rounds} visits, each in a browser of its own, from the start of the navigation to the",
            "first paint, to the end of the load event, and to *ready*, the second frame after it: the script of the",
            "page has run, the table is on the screen, and a click or a key is answered. The table is in the HTML; its",
            "bodies are laid out when they come into sight, and what a click opens is parsed when it is asked for.",
            "The second page has five times the rows: most of it are the words of 5,000 clauses.",
            "",
        ]
    )
    print(said)
    if given.markdown:
        Path(given.markdown).write_text(said, encoding="utf-8")
    sys.exit(any(row[-1] == "NO" for row in rows))


if __name__ == "__main__":
    main()
