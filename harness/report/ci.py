"""What CI reads or keeps: JUnit XML, a step's summary, a badge, the scoreboard, and annotations of GitHub.

May import the writers, each with a file of its own, and the standard library. From the run itself, or later from its
results file: the same words.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from convspec.harness.options import no_folder, no_jinja2, same_file, unwritten

from . import badge, junit, markdown
from .rows import causes, stale

#: GitHub shows ten of a kind a step, and drops the others without a word.
MOST_ANNOTATIONS = 10


@dataclass(frozen=True)
class Files:
    """Where to write what CI reads; None: it was not asked for."""

    junit: str | None = None
    markdown: str | None = None
    badge: str | None = None
    html: str | None = None

    @property
    def to_stdout(self) -> bool:
        """Whether the Markdown goes to stdout, so that nothing else may."""
        return self.markdown == "-"

    def fault(self, json_file: str | None = None) -> str:
        """Say what keeps them from being written, before any work; or nothing. The results go to `json_file`."""
        for option, file in self._asked():
            if option == "--html" and (missing := no_jinja2()):
                return f"--html {file}: {missing}"
            if file == "-" and option != "--markdown":
                return f"{option} -: only --markdown writes to stdout; name a file"
            if file != "-" and (wrong := no_folder(option, file)):
                return wrong
        named = [("--json", json_file or "-"), *self._asked()]
        return same_file((option, file) for option, file in named if file != "-")

    def _asked(self) -> list[tuple[str, str]]:
        named = (("--junit", self.junit), ("--markdown", self.markdown), ("--badge", self.badge), ("--html", self.html))
        return [(option, file) for option, file in named if file is not None]

    def write(self, document: dict[str, Any], earlier: Sequence[dict[str, Any]] = ()) -> list[str]:
        """Write each that was asked for, and return what went wrong, a line each: one does not keep another.

        `earlier` are older documents of the same backends, for the page's history.
        """
        writers: dict[str, Callable[[dict[str, Any], str], None]] = {
            "--junit": _junit,
            "--markdown": _markdown,
            "--badge": _badge,
            "--html": partial(_html, earlier),
        }
        wrong = []
        for option, file in self._asked():
            try:
                writers[option](document, file)
            except OSError as error:
                wrong.append(unwritten(option, file, error))
        return wrong

    def said(self) -> str:
        """Name the files that were written."""
        return ", ".join(file for _, file in self._asked() if file != "-")


def _junit(document: dict[str, Any], file: str) -> None:
    Path(file).write_text(junit.junit(document), encoding="utf-8")


def _badge(document: dict[str, Any], file: str) -> None:
    Path(file).write_text(badge.badge(document), encoding="utf-8")


def _html(earlier: Sequence[dict[str, Any]], document: dict[str, Any], file: str) -> None:
    from .page import page  # noqa: PLC0415 - Jinja2 is an extra

    Path(file).write_text(page([*earlier, document]), encoding="utf-8")


def _markdown(document: dict[str, Any], file: str) -> None:
    """To stdout, to a file, or at the end of GitHub's summary of the step, which several commands share."""
    if file == "-":
        sys.stdout.flush()
        sys.stdout.buffer.write(as_utf8(markdown.markdown(document)).encode("utf-8"))  # whatever the console's own is
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if not is_step_summary(path):
        path.write_text(as_utf8(markdown.markdown(document)), encoding="utf-8")
        return
    there = path.stat().st_size if path.exists() else 0
    with path.open("a", encoding="utf-8") as end:
        end.write(as_utf8(markdown.markdown(document, markdown.MOST_BYTES - there)))


def as_utf8(text: str) -> str:
    """Return a text that UTF-8 can hold: what a backend wrote may have halves of characters."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def is_step_summary(path: Path, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a file is the summary that GitHub gave the step."""
    named = environment.get("GITHUB_STEP_SUMMARY")
    return bool(named) and path.resolve() == Path(named or "").resolve()


# ----------------------------------------------------------------------------------------------- annotations


def on_github(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this runs in GitHub's CI, which reads annotations from what is printed."""
    return environment.get("GITHUB_ACTIONS") == "true"


def workflow_commands(document: dict[str, Any]) -> Iterator[str]:
    """Workflow commands: an error for each broken MUST and stale deviation, a warning for each broken SHOULD."""
    found = list(causes(document))
    errors = [(f"{c.backend}: {c.clause} ({', '.join(c.on)})", c.text) for c in found if c.must]
    errors += [("known deviation", line) for line in stale(document)]
    warnings = [(f"{c.backend}: {c.clause} ({', '.join(c.on)})", c.text) for c in found if not c.must]
    for kind, all_of_them in (("error", errors), ("warning", warnings)):
        shown = all_of_them if len(all_of_them) <= MOST_ANNOTATIONS else all_of_them[: MOST_ANNOTATIONS - 1]
        yield from (annotation(kind, title, text) for title, text in shown)
        if more := len(all_of_them) - len(shown):
            yield annotation(kind, "convspec", f"and {more} more, which the log and the results file have")


def annotation(kind: str, title: str, text: str) -> str:
    r"""Return one workflow command, on one line whatever the texts hold.

    Examples
    --------
    >>> annotation("error", "mine: locality", "50% off\nhere")
    '::error title=mine%3A locality::50%25 off%0Ahere'
    """
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    name = title.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return as_utf8(f"::{kind} title={name}::{escaped}")
