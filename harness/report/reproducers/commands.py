"""`convspec repro`: a script that shows a finding, an issue that has it, or the list of what can be shown.

May import the deviations and the reports, when the command is called: `--help` is quick.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from convspec.harness.report.findings import Named

FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@click.argument("name", required=False, metavar="[ID]")
@click.option("--results", "results_file", type=FILE, metavar="FILE", help="Findings of this file, of `check --json`.")
@click.option("--deviations", "files", multiple=True, type=FILE, metavar="FILE",
              help="More known deviations, beside those that ship; may be repeated.")  # fmt: skip
@click.option("--issue", "as_issue", is_flag=True, help="Markdown for an issue instead: versions, script, clause.")
@click.option("--list", "listing", is_flag=True, help="List what there is a script for: ids, and what each shows.")
def repro(name: str | None, results_file: str | None, files: tuple[str, ...], as_issue: bool, listing: bool) -> None:
    """Write a script that shows a finding without convspec.

    It is in the backend's own language, has its data in it, prints expected and got, and exits 1 while the fault is
    there and 0 once it is gone. ID is a deviation's id or, with --results, BACKEND/CLAUSE/DTYPE; the eight characters
    that --list shows do too.

    \b
    Example:  convspec repro torch-no-channels-no-filters > bug.py; python bug.py
              convspec repro torch/conv2d-sum/float32 --results r.json --issue

    \b
    Exit status:  0  it is written
                  2  there is no such finding, or no script for it and why
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from convspec.harness.report import reproduce  # noqa: PLC0415
    from convspec.harness.report.findings import UnknownFinding, find  # noqa: PLC0415

    if (name is None) == (not listing):
        raise click.UsageError("name one finding, or ask for the --list of them")
    known = _known(results_file, files)
    if name is None:
        _list(known)
        return
    try:
        found = find(name, known)
        written = (reproduce.issue if as_issue else reproduce.script)(found.finding, found.backend)
    except (UnknownFinding, reproduce.NoReproducer) as error:
        _stop(str(error))
    click.echo(written, nl=False)


def _known(results_file: str | None, files: tuple[str, ...]) -> list[Named]:
    """What can be asked for: the findings of a results file, and deviations."""
    from convspec.harness.deviations import DeviationError, known  # noqa: PLC0415
    from convspec.harness.report.findings import deviations, in_results  # noqa: PLC0415
    from convspec.harness.report.results import read  # noqa: PLC0415

    try:
        entries = known(files)
        found = in_results(read(results_file), entries) if results_file else []
    except (DeviationError, ValueError) as error:
        _stop(str(error))
    return [*found, *deviations(entries)] if files or not results_file else found


def _list(known: list[Named]) -> None:
    for one in known:
        click.echo(f"{one.short}  {one.name}  ({one.finding['kind']})  {one.finding['message']}".rstrip())
    click.echo(f"{len(known)} findings", err=True)


def _stop(message: str) -> NoReturn:
    click.echo(f"convspec: {message}", err=True)
    sys.exit(2)
