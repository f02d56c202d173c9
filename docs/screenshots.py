"""Make docs/pictures: what a run, an explanation and the scoreboard look like; nothing in there is drawn by hand.

    python docs/screenshots.py                 all of them, the run from results/eager.json
    python docs/screenshots.py --only board    some: run, explain, board

`run` is the terminal (docs/picture.py draws it), `explain` the plot of `convspec explain --plot`, `board` the page of
`convspec show --html` in headless Chromium, light and dark. They need the extras `check`, `mnist` and
`page`, and the last playwright (pip install playwright) and a Chromium on PATH. Nothing imports this file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
RESULTS = ROOT / "results" / "eager.json"
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
)  # fmt: skip
#: From a picture to width, height and colour scheme.
VIEWS = {"board": (1280, 900, "light"), "board-dark": (1280, 900, "dark")}


def convspec(*arguments: str) -> None:
    """Run the command; a verdict's exit status 1 is no fault here."""
    done = subprocess.run([sys.executable, "-m", "convspec.harness.cli", *arguments], check=False, capture_output=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"convspec {' '.join(arguments)}: {done.stderr.decode()}")


def run() -> None:
    """The terminal, from the results that are kept: a fresh run is what docs/picture.py makes by itself."""
    picture = ROOT / "docs" / "picture.py"
    subprocess.run([sys.executable, picture, "--results", RESULTS, "--output", PICTURES / "run.svg"], check=True)


def explain() -> None:
    """The stem of a net whose SAME is uneven."""
    words = "conv2d --input 1,8,8,3 --filter 3,3,3,4 --strides 2 --padding SAME --plot"
    convspec("explain", *words.split(), str(PICTURES / "explain.svg"))


def board() -> None:
    """The scoreboard in a browser: no request leaves the machine, and one that tries ends the script."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the other pictures do without

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium on PATH: chromium, chromium-browser and google-chrome were looked for")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "board.html"
        convspec("show", str(RESULTS), "--html", str(page_file))
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        for name, (width, height, scheme) in VIEWS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            asked: list[str] = []
            page.on("request", lambda one, asked=asked: asked.append(one.url))
            page.goto(page_file.as_uri())
            page.wait_for_load_state("networkidle")
            page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
            page.close()
            outside = [url for url in asked if not url.startswith(("file:", "data:"))]
            if outside:
                raise SystemExit(f"the page asks for {outside[0]}")
        browser.close()


def main() -> None:
    """Read the command line, make what is asked for."""
    makers = {"run": run, "explain": explain, "board": board}
    parser = argparse.ArgumentParser(description="Make the pictures of the documents.")
    parser.add_argument("--only", nargs="+", choices=makers, default=[*makers])
    PICTURES.mkdir(exist_ok=True)
    for name in parser.parse_args().only:
        makers[name]()
    sys.stdout.write(f"{PICTURES}: {', '.join(sorted(file.name for file in PICTURES.iterdir()))}\n")


if __name__ == "__main__":
    main()
