"""The hooks of mkdocs: pages that have their one place elsewhere in the repository, brought in while the site is built.

A page is a path below docs/ and its Markdown; nothing is written into the tree. `docs/made/` makes them, a file a kind.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from made import book, commands, deviations, findings, measured, schemas
from made.links import ROOT
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

MAKERS = (book.pages, commands.pages, deviations.pages, findings.pages, measured.pages, schemas.pages)
#: Sphinx's roles in docstrings, which Markdown shows as text: the name in them is kept.
ROLE = re.compile(r":(?:class|data|exc|func|meth|mod):(?=<code)")
#: The packages as they are installed, for mkdocstrings: it reads files, and knows nothing of mapped folders.
PACKAGES = Path(tempfile.gettempdir()) / "unused"


def on_startup(**_: object) -> None:
    """Lay the packages out as an installation would, where docstrings are looked for first."""
    global PACKAGES  # noqa: PLW0603 - one build, one folder
    PACKAGES = Path(tempfile.mkdtemp(prefix="convspec-docs-"))
    mapped = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-dir"]
    for package, folder in mapped.items():
        shutil.copytree(ROOT / folder, PACKAGES.joinpath(*package.split(".")), dirs_exist_ok=True)
    sys.path.insert(0, str(PACKAGES))


def on_shutdown() -> None:
    """Leave nothing behind."""
    sys.path.remove(str(PACKAGES))
    shutil.rmtree(PACKAGES)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for maker in MAKERS:
        for path, text in maker().items():
            files.append(File.generated(config, path, content=text))
    return files


def on_page_content(html: str, **_: object) -> str:
    """Drop what a docstring says to Sphinx alone."""
    return ROLE.sub("", html)
