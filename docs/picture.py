"""Draw docs/pictures/run.svg, the picture of a run in the README, from a results file or from a fresh run.

    python docs/picture.py                          runs `convspec check torch tensorflow --level quick`
    python docs/picture.py -k "same or nan"         the same for some clauses only: a shorter table
    python docs/picture.py --results results.json   draws what `convspec check ... --json results.json` wrote

The picture shows what the terminal shows, cut to the lines that fit a page: the first ones (the table and the
first failures) and the last ones (the verdict). May import convspec.harness.report and rich; nothing imports it.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from convspec.harness.report import terminal

OUTPUT = Path(__file__).parent / "pictures" / "run.svg"


def fresh_results(command: list[str]) -> dict[str, Any]:
    """Run a `convspec check` and read the results that it wrote; exit statuses 0 and 1 are both verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.json"
        status = subprocess.run([*command, "--json", str(path)], check=False).returncode
        if status not in (0, 1):
            raise SystemExit(f"{' '.join(command)} could not run: exit status {status}")
        return read(path)


def read(path: Path) -> dict[str, Any]:
    """Read a results file."""
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def terminal_lines(results: dict[str, Any], width: int) -> list[Text]:
    """Render the report as a terminal of that width would, one styled line each."""
    screen = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=width)
    with screen.capture() as shown:
        terminal.render(results, screen)
    return [Text.from_ansi(line) for line in shown.get().splitlines()]


def cut(lines: list[Text], first: int, last: int) -> list[Text]:
    """Keep the first and the last lines, with a line between that says how many were left out."""
    left_out = len(lines) - first - last
    if left_out <= 1:
        return lines
    gap = Text(f"   ... {left_out} more lines ...", style="dim italic")
    return [*lines[:first], gap, *lines[len(lines) - last :]]


def svg(lines: list[Text], width: int, title: str) -> str:
    """Draw the lines in a window; the same lines give the same file."""
    paper = Console(file=io.StringIO(), record=True, width=width, force_terminal=True, color_system="truecolor")
    for line in lines:
        paper.print(line, no_wrap=True, overflow="crop")
    picture = paper.export_svg(title=title, theme=MONOKAI, unique_id="run")
    # Rich has the font loaded from a server; the picture stands alone and takes the reader's monospace.
    return re.sub(r"\s*@font-face \{.*?\}", "", picture, flags=re.DOTALL)


def main() -> None:
    """Read the command line, draw, write."""
    parser = argparse.ArgumentParser(description="Draw the README's picture of a run.")
    parser.add_argument("backends", nargs="*", default=["torch", "tensorflow"], help="what a fresh run checks")
    parser.add_argument("-k", metavar="EXPR", help="only the clauses whose slug matches, as `convspec check -k`")
    parser.add_argument("--results", type=Path, help="a results file to draw instead of a fresh run")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--width", type=int, default=110, help="columns")
    parser.add_argument("--first", type=int, default=56, help="lines kept at the top")
    parser.add_argument("--last", type=int, default=8, help="lines kept at the bottom")
    options = parser.parse_args()
    command = ["convspec", "check", *options.backends, "--level", "quick", *(["-k", options.k] if options.k else [])]
    results = read(options.results) if options.results else fresh_results(command)
    lines = cut(terminal_lines(results, options.width), options.first, options.last)
    # A results file may come from any command: then the title claims none.
    picture = svg(lines, options.width, title="convspec check" if options.results else shlex.join(command))
    options.output.write_text(picture, encoding="utf-8")
    sys.stdout.write(f"{options.output}: {len(lines)} lines\n")


if __name__ == "__main__":
    main()
