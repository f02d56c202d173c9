"""The command line: `convspec check`, `convspec list`, `convspec spec`.

May import everything of the harness, lazily: `convspec --help` is quick.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from dataclasses import replace
from typing import Any

import click

from .options import no_folder
from .report.commands import files_for_ci

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Lazy(click.Group):
    """The commands of this file, and those that live with what they are about."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C is no verdict, and click would end with the 1 that says "a MUST is broken"."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Names, in the order of the README: what judges, what reads its results, what explains."""
        return ["check", "merge", "show", "diff", "repro", "explain", "mnist", "list", "spec", "deviations"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command; what it needs is imported then."""
        if cmd_name == "deviations":
            from .deviations.commands import deviations

            return deviations
        if cmd_name == "explain":
            from .explain import explain

            return explain
        if cmd_name in ("show", "diff"):
            from .report import commands

            return commands.show if cmd_name == "show" else commands.diff
        if cmd_name == "repro":
            from .report.reproducers.commands import repro

            return repro
        if cmd_name == "mnist":
            from .training.commands import mnist

            return mnist
        return super().get_command(ctx, cmd_name)


@click.group(cls=Lazy, context_settings=CONTEXT)
@click.version_option(package_name="convspec")
def main() -> None:
    """The executable specification of 2-D convolution and max pooling.

    \b
    Examples:
      convspec check torch tensorflow      judge two frameworks, clause by clause
      convspec check path/to/mine.py:NAME  judge your own backend: four methods
      convspec spec same-odd-pixel-last    read the clause that a verdict names
      convspec deviations                  what is known of released frameworks
      convspec explain conv2d --help       port a call: pads, how others write it
      convspec mnist torch tensorflow      train a net beside the reference
      convspec diff old.json new.json      what got better or worse since
    """  # noqa: D301 -- click's mark for lines to be left as they are
    # The signs are in no older encoding, and a script is read as UTF-8 whatever the locale of whoever wrote it.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(encoding="utf-8")


@main.command()
@click.argument("backends", nargs=-1, required=True, metavar="BACKEND...")
@click.option("--level", type=click.Choice(["quick", "standard", "deep"]), default="standard", show_default=True,
              help="How much to ask.")  # fmt: skip
@click.option("--python", "pythons", multiple=True, metavar="[NAME=]PATH",
              help="Python to run all backends in, or those called NAME or BACKEND%NAME; may be repeated.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the results to this file.")
@click.option("--seed", type=int, help="Seed of all cases; the same seed asks the same.")
@click.option("--fuzz", is_flag=True, help="Draw fresh cases; the seed is printed.")
@click.option("-k", "expression", metavar="EXPR", help="Only clauses whose names match: 'same and not pool'.")
@click.option("-n", "processes", type=click.IntRange(1), metavar="N", help="Processes to use.  [default: one a core]")
@click.option("--deviations", multiple=True, type=click.Path(dir_okay=False), metavar="FILE",
              help="More known deviations; may be repeated.")  # fmt: skip
@click.option("--skip-missing", is_flag=True,
              help="Run the rest where a package or device lacks.")  # fmt: skip
@click.option("--no-deviations", is_flag=True, help="Judge as if no deviation were known.")
@files_for_ci
def check(
    backends: tuple[str, ...],
    level: str,
    pythons: tuple[str, ...],
    json_file: str | None,
    seed: int | None,
    fuzz: bool,
    expression: str | None,
    processes: int | None,
    deviations: tuple[str, ...],
    no_deviations: bool,
    skip_missing: bool,
    junit: str | None,
    markdown: str | None,
    badge: str | None,
    html: str | None,
) -> None:
    """Judge BACKENDs against every clause of the specification.

    \b
    A BACKEND is
      torch  torch:cuda  tensorflow@xla   a built-in, name[:device][@mode]
      "torch@*"  "torch:cuda@*"           every mode of a device; mind the quotes
      module:NAME  path/to/file.py:NAME   an object or class with four methods
      "command:node path/to/worker.mjs"   a program of the worker protocol
      torch%old  torch%new                each in a Python that --python names

    \b
    Example:  convspec check torch tensorflow --level quick -k same

    \b
    Exit status:  0  no MUST clause is broken
                  1  one failed, or crashed or hung the backend, beyond what is
                     declared as known; or what is declared does not hold
                  2  it could not run: an unknown backend, a missing device, ...
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from .report.ci import Files
    from .run import Run, run

    if fuzz and seed is not None:
        raise click.UsageError("--fuzz draws a seed, --seed gives one: use one of them")
    if json_file and (fault := no_folder("--json", json_file)):
        raise click.UsageError(fault)
    files = Files(junit, markdown, badge, html)
    if fault := files.fault(json_file):
        raise click.UsageError(fault)
    chosen = int.from_bytes(os.urandom(3), "big") if fuzz else seed
    asked = Run(tuple(dict.fromkeys(backends)), level, json_file, chosen, fuzz, expression, processes)
    asked = replace(asked, pythons=pythons, skip_missing=skip_missing, files=files)
    sys.exit(run(replace(asked, deviations=deviations, no_deviations=no_deviations)))


@main.command(name="list")
def list_backends() -> None:
    """Show the backends, devices and versions that are here.

    \b
    Example:  convspec list
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from rich.console import Console
    from rich.table import Table

    from convspec.adapters.devices import found

    console = Console(emoji=False)
    with console.status("asking each framework for its devices ..."):
        entries = found()
    table = Table("backend", "version", "devices", title="What `convspec check` can judge here", title_justify="left")
    modes = Table("mode", "what it is", title="Modes, the first of each the default", title_justify="left")
    for entry in entries:
        table.add_row(*_listed(entry))
        modes.add_section()
        for mode, row in entry.modes.items():
            only = f" ({' and '.join(row.devices)} only)" if row.devices else ""
            modes.add_row(f"{entry.name}@{mode}", f"{row.what}{only}")
    console.print(table)
    console.print(modes)
    console.print("A device and a mode together: name:device@mode. Every mode of a device: 'name:device@*', in quotes.")
    console.print("Anything else: package.module:NAME or path/to/file.py:NAME, with the four methods of a backend.")


def _listed(entry: Any) -> tuple[str, str, str]:
    from rich.markup import escape

    devices = "\n".join(
        f"{device.name}: {'yes' if device.available else 'no'}{f' ({device.how})' if device.how else ''}"
        for device in entry.devices
    )
    return entry.name, entry.version or "-", escape(devices or entry.why_not or "-")  # [torch] is no markup


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False), metavar="FILE...")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the joined results to this file.")
@click.option(
    "--html", type=click.Path(dir_okay=False), metavar="FILE", help="Write the scoreboard, a page of one file."
)
@click.option("--only-differing", is_flag=True, help="Show only clauses on which the backends differ.")
def merge(files: tuple[str, ...], json_file: str | None, html: str | None, only_differing: bool) -> None:
    """Join results files into one table.

    Versions, devices and modes stand side by side. A FILE is of `convspec check --json`.

    \b
    Example:  convspec merge results/*.json --json all.json --html page.html

    \b
    Exit status:  0  no MUST clause is broken in any of them
                  1  one is, or a declared deviation is stale
                  2  a file is no results file, or of another version
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from .report import merge as joining
    from .report import results, terminal
    from .report.ci import Files
    from .run import make_console

    page = Files(html=html)
    if fault := (json_file and no_folder("--json", json_file)) or page.fault(json_file):
        raise click.UsageError(fault)
    try:
        document = joining.merge(files)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    terminal.render(document, make_console(), only_differing=only_differing, file=json_file)
    wrong = results.save(document, json_file)
    if json_file and not wrong:
        click.echo(f"Results: {json_file}")
    if wrong := [*wrong, *page.write(document)]:
        raise click.UsageError("; ".join(wrong))
    if page.said():
        click.echo(f"Written: {page.said()}")
    sys.exit(1 if results.broken_musts(document) or results.stale(document) else 0)


@main.command()
@click.argument("slug", required=False)
def spec(slug: str | None) -> None:
    """Print one clause of the specification, or list them all.

    \b
    Example:  convspec spec same-odd-pixel-last
    """  # noqa: D301 -- click's mark for lines to be left as they are
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.table import Table

    from convspec.spec import UnknownClause, clause, clauses

    console = Console(emoji=False)
    if slug:
        try:
            console.print(Markdown(clause(slug).text))
        except UnknownClause as error:
            raise click.UsageError(str(error)) from None
        return
    table = Table("clause", "level", "profile", "checked on", title=f"{len(clauses())} clauses", title_justify="left")
    topic = None
    for entry in clauses().values():
        if entry.topic != topic:
            topic = entry.topic
            table.add_section()
        table.add_row(entry.slug, entry.level, entry.profile, entry.scope)
    console.print(table)


if __name__ == "__main__":
    main()
