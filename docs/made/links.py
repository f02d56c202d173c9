"""Links of a Markdown file that is shown elsewhere than where it lies: to the page that shows their target, or to none.

Imports the standard library alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: Files and folders of the repository, and the pages that show them.
SHOWN = {
    "adapters/deviations": "findings/index.md",
    "benchmarks": "measured/index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "harness/process/PROTOCOL.md": "reference/protocol.md",
    "harness/report/results.schema.json": "reference/results-file.md",
    "harness/report/training.schema.json": "reference/training-file.md",
    "README.md": "index.md",
    "results": "measured/results.md",
    "results/README.md": "measured/results.md",
    "spec": "specification/index.md",
}
LINK = re.compile(r"(?<!!)\[(?P<label>[^\]]+)\]\((?P<target>[^)\s]+)\)")


def shown(path: str) -> str | None:
    """The page that shows a file of the repository.

    >>> shown("spec/conv2d.md"), shown("benchmarks/speed.md"), shown("tox.ini")
    ('specification/conv2d.md', 'measured/speed.md', None)
    """
    folder, _, name = path.rpartition("/")
    if name.endswith(".md") and folder == "spec":
        return f"specification/{name}"
    if name.endswith(".md") and folder == "benchmarks":
        return f"measured/{name}"
    return SHOWN.get(path.rstrip("/"))


def relinked(text: str, source: str, page: str) -> str:
    """The text of a file of the repository with its links as they are from a page of the site.

    A link to a file that no page shows becomes its label; that the file exists is for the tests of the documents.

    >>> relinked("[a](conv2d.md#conv2d-sum), [b](../tox.ini), [c](#here)", "spec/max_pool.md", "findings/torch.md")
    '[a](../specification/conv2d.md#conv2d-sum), b, [c](#here)'
    """

    def moved(match: re.Match[str]) -> str:
        target, hash_, anchor = match["target"].partition("#")
        if not target or "://" in target:
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / path).exists():
            raise FileNotFoundError(f"{source} links to {target}, which is not there")
        found = shown(path)
        if found is None:
            return match["label"]
        return f"[{match['label']}]({posixpath.relpath(found, posixpath.dirname(page) or '.')}{hash_}{anchor})"

    return LINK.sub(moved, text)


def read(source: str, page: str) -> str:
    """A file of the repository, as a page of the site."""
    return relinked((ROOT / source).read_text(encoding="utf-8"), source, page)
