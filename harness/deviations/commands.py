"""`convspec deviations`: list what is known, check a file, draft entries from a run's results.

May import the entries, the reports' reader and, to check witnesses, the run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .draft import help_text

FILE = click.Path(exists=True, dir_okay=False)


@click.group(invoke_without_command=True, help=f"Known deviations: list, check or draft them.\n\n{help_text()}")
@click.pass_context
def deviations(context: click.Context) -> None:
    """List, where no command follows."""
    if context.invoked_subcommand is None:
        context.invoke(listed, files=(), backend=None)


@deviations.command(name="list")
@click.argument("files", nargs=-1, type=FILE, metavar="[FILE...]")
@click.option("--backend", help="Only those of this backend.")
def listed(files: tuple[str, ...], backend: str | None) -> None:
    """List the deviations that convspec ships, and those of FILEs.

    \b
    Example:  convspec deviations list --backend torch

    \b
    Exit status:  0  they are listed
                  2  none is known of that backend, or a FILE is malformed
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from rich.console import Console  # noqa: PLC0415 - --help is quick
    from rich.text import Text  # noqa: PLC0415

    from convspec.harness.report.text import visible  # noqa: PLC0415

    entries = _known(files)
    if backend is not None:
        entries = _those_of({backend}, entries)
    console = Console(emoji=False, markup=False, soft_wrap=True)
    for entry in entries:
        modes = "" if entry.modes == ("*",) else f"  modes {', '.join(entry.modes)}"
        console.print(Text(visible(entry.id), style="bold").append(f"  {entry.kind}", style="yellow"))
        cpu = f"  cpu {', '.join(entry.cpu)}" if entry.cpu else ""
        about = visible(f"{entry.backend} {entry.versions}{modes}{cpu}  {entry.clause}")
        console.print(f"    {about}", highlight=False, style="dim")
        console.print(f"    {visible(entry.reason)}", highlight=False)
        if entry.url:
            console.print(f"    {visible(entry.url)}")
    console.print(f"{len(entries)} deviations", highlight=False)


@deviations.command()
@click.argument("files", nargs=-1, type=FILE, metavar="[FILE...]")
@click.option("--backend", "backends", multiple=True, help="Ask this backend the witnesses; may be repeated.")
def check(files: tuple[str, ...], backends: tuple[str, ...]) -> None:
    """Check that entries are well formed and do not overlap.

    With --backend, also that their witnesses still show them.

    \b
    Example:  convspec deviations check mine.toml --backend torch
    """  # noqa: D301 -- click's mark for lines to be left as they are
    entries = _known(files)
    click.echo(f"{len(entries)} deviations are well formed" + (f": those of {', '.join(files)} too" if files else ""))
    if not backends:
        return
    from convspec.adapters.registry import Label  # noqa: PLC0415
    from convspec.harness.run import Run, run  # noqa: PLC0415

    names = {Label.of(name).backend for name in backends}
    slugs = sorted({e.clause for e in _those_of(names, entries)})
    sys.exit(run(Run(backends, "quick", expression=" or ".join(slugs), deviations=files)))


@deviations.command()
@click.argument("results", type=FILE)
def draft(results: str) -> None:
    """Write an entry for each undeclared finding of a run.

    RESULTS is a file of `convspec check --json`; the entries go to the terminal.

    \b
    Example:  convspec check mine.py:Mine --json r.json
              convspec deviations draft r.json > mine.toml
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from convspec.harness.report.results import read  # noqa: PLC0415

    from .draft import drafts  # noqa: PLC0415

    try:
        data: dict[str, Any] = read(results)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    written = list(drafts(data))
    click.echo("\n".join(written), nl=False)
    click.echo(f"{len(written)} drafts from {Path(results).name}: give each a reason and the least `where`", err=True)


def _those_of(backends: set[str], entries: list[Any]) -> list[Any]:
    """The entries of these backends; a usage error where there is none of any of them."""
    found = [e for e in entries if e.backend in backends]
    if not found:
        named, known = (", ".join(sorted(names)) for names in (backends, {e.backend for e in entries}))
        raise click.UsageError(f"no deviation of {named} is known; there are some of {known}")
    return found


def _known(files: tuple[str, ...]) -> list[Any]:
    from .files import DeviationError, known  # noqa: PLC0415

    try:
        return known(files)
    except DeviationError as error:
        click.echo(f"convspec: {error}", err=True)
        sys.exit(2)
