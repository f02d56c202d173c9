"""`convspec show` and `convspec diff`: results files read again.

May import the reports and, to print a training run, `training.report`; when they are called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from convspec.harness.verdict import State

FILE = click.Path(exists=True, dir_okay=False)

Command = Callable[..., Any]


def files_for_ci(command: Command) -> Command:
    """Add the options that `convspec check` and `convspec show` share."""
    path = click.Path(dir_okay=False)
    options = (
        click.option("--junit", type=path, metavar="FILE", help="Write JUnit XML."),
        click.option("--markdown", type=click.Path(dir_okay=False, allow_dash=True), metavar="FILE",
                     help="Write Markdown; '-' is stdout."),
        click.option("--badge", type=path, metavar="FILE", help="Write a badge, SVG: how many cells pass."),
        click.option("--html", type=path, metavar="FILE", help="Write the scoreboard, a page of one file."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("named", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--backend", "backends", multiple=True, help="Only this backend; may be repeated.")
@click.option("--clause", "slugs", multiple=True, metavar="SLUG", help="Only this clause; may be repeated.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([str(state) for state in State]),
    help="Only this state; may be repeated.",
)
@files_for_ci
def show(
    named: tuple[str, ...],
    backends: tuple[str, ...],
    slugs: tuple[str, ...],
    states: tuple[str, ...],
    junit: str | None,
    markdown: str | None,
    badge: str | None,
    html: str | None,
) -> None:
    """Print a results file again, or write it for CI or as a page.

    FILE is of `convspec check --json` or of `convspec mnist --json`. Of several, for --html, the newest is shown;
    the others are its history.

    \b
    Example:  convspec show results.json --backend torch --state fail
              convspec show results.json --junit junit.xml --badge convspec.svg
              convspec show old.json new.json --html page.html

    \b
    Exit status:  0  it is shown, whatever it says
                  2  FILE is no such file, or nothing in it is chosen
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from convspec.harness.run import make_console  # noqa: PLC0415 - --help is quick
    from convspec.spec import UnknownClause, clause  # noqa: PLC0415

    from . import choosing, ci  # noqa: PLC0415

    files = ci.Files(junit, markdown, badge, html)
    if fault := files.fault():
        raise click.UsageError(fault)
    try:
        for slug in slugs:
            clause(slug)
        file, document, earlier = _newest(named, html)
    except (UnknownClause, ValueError) as error:
        raise click.UsageError(str(error)) from None
    try:
        document = choosing.only(document, backends, slugs, states)
    except choosing.NothingChosen as error:
        raise click.UsageError(f"{file}: {error}") from None
    if not files.to_stdout:
        _render(document, make_console(), file)
    if wrong := files.write(document, earlier):
        raise click.UsageError("; ".join(wrong))
    if files.said():
        click.echo(f"Written: {files.said()}", err=files.to_stdout)


def _newest(named: Sequence[str], html: str | None) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Read the files: the newest and its name, and the others, which are for a page alone."""
    from . import rows  # noqa: PLC0415

    if len(named) > 1 and not html:
        raise ValueError("several files are the history of a page: give --html, or one file")
    found = [(file, rows.read(file)) for file in named]
    for file, document in found:
        if html and rows.is_training(document):
            raise ValueError(f"{file}: it is of `convspec mnist`; --html shows results of `convspec check`")
    if len(found) > 1:
        from .page.history import ordered  # noqa: PLC0415

        newest = ordered([document for _, document in found])[-1]
    else:
        newest = found[0][1]
    file = next(file for file, document in found if document is newest)
    return file, newest, [document for _, document in found if document is not newest]


def _render(document: dict[str, Any], console: Any, file: str) -> None:
    from convspec.harness.training import report  # noqa: PLC0415

    from . import rows, terminal  # noqa: PLC0415

    if rows.is_training(document):
        report.render(document, console)
    else:
        terminal.render(document, console, file=file)


@click.command()
@click.argument("old", type=FILE)
@click.argument("new", type=FILE)
def diff(old: str, new: str) -> None:
    """Compare two results files: what got better or worse.

    States are compared, clause by clause and dtype by dtype; of the effective bits, changes of more than 0.5 are told.

    \b
    Example:  convspec diff results/main.json results.json

    \b
    Exit status:  0  no MUST clause came to be broken (in what both files have)
                  1  one did: it fails or crashes, and did not before
                  2  a file is no results file, or they share no cell
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from convspec.harness.run import make_console  # noqa: PLC0415 - --help is quick

    from . import diff as comparing  # noqa: PLC0415
    from . import rows  # noqa: PLC0415

    try:
        documents = [rows.read(file, known=False) for file in (old, new)]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    try:
        found = comparing.diff(*documents)
    except ValueError as error:
        raise click.UsageError(f"{old} and {new}: {error}") from None
    console = make_console()
    for line in comparing.lines(found):
        console.print(line, soft_wrap=True)
    sys.exit(1 if found.decides else 0)
