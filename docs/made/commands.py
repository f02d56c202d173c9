"""The command line, from click: each command with its usage, its options as a table, its examples and exit statuses.

May import the command line, and click.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from convspec.harness.cli import main

HEAD = """# The command line

Made from the commands' own help, which `convspec COMMAND --help` prints.

"""


def pages() -> dict[str, str]:
    """One page: a section a command."""
    return {"reference/command-line.md": HEAD + "\n".join(_section(path, one) for path, one in commands())}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand, with the words that call it.

    >>> [path for path, _ in commands()][:3]
    ['convspec', 'convspec check', 'convspec merge']
    """
    yield from _below("convspec", main)


def _below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path)
        for name in command.list_commands(context):
            one = command.get_command(context, name)
            if one is not None:
                yield from _below(f"{path} {name}", one)


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    level = "##" if path.count(" ") < 2 else "###"
    heading = f"{level} {path} {{#{path.replace(' ', '-')}}}"
    parts = [heading, f"```text\n{usage}\n```", *_text(command.help or ""), _options(command, context)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _text(told: str) -> Iterator[str]:
    """Paragraphs as they are; those that click leaves unwrapped, and what is indented, as text."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(told))
    for paragraph in paragraphs:
        whole = paragraph.removeprefix("\b\n").replace("\n\b\n", "\n\n")
        laid_out = whole != paragraph or any(line.startswith(" ") for line in whole.splitlines())
        yield f"```text\n{whole}\n```" if laid_out else " ".join(whole.split())


def _options(command: click.Command, context: click.Context) -> str:
    rows = []
    for parameter in command.params:
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record:
            name, what = record
            rows.append(f"| <code>{_cell(name)}</code> | {_cell(_emphasis(what))} |")
    return "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "&#124;")


def _emphasis(text: str) -> str:
    """What Markdown would read as markup is code.

    >>> _emphasis("NAME=PATH: for the backend NAME, or for each written BACKEND%NAME.  [default: 1]")
    'NAME=PATH: for the backend NAME, or for each written BACKEND%NAME.  (default: 1)'
    """
    return re.sub(r"\[([a-z ]+: [^\]]*|required|x>=\d+)\]", r"(\1)", text).replace("*", "\\*").replace("<", "&lt;")
