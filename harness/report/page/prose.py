r"""The specification's Markdown as data that a page builds text from, and data as JSON that a page may hold.

May import the standard library only. Nothing here becomes markup: a token says what it is, the page makes an element.
"""

from __future__ import annotations

import json
import re
from typing import Any

Token = list[str]

_INLINE = re.compile(
    r"(?P<ticks>`+)(?P<code>.+?)(?P=ticks)"
    r"|\[(?P<label>[^\]]+)\]\((?P<url>[^)\s]+)\)"
    r"|\*\*(?P<strong>[^*]+)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]*[^*\s])?)\*(?![\w*])"
)
#: What may not stand in a `<script>`, and what JavaScript once took for the end of a line.
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def inline(text: str) -> list[Token]:
    """Cut a paragraph into tokens: ["t", text], ["c", code], ["b", bold], ["i", italic], ["a", text, address].

    Examples
    --------
    >>> inline("Images MUST be `[N, H]`, *always*.")
    [['t', 'Images MUST be '], ['c', '[N, H]'], ['t', ', '], ['i', 'always'], ['t', '.']]
    >>> inline("see [`groups`](conv2d.md#groups) in [conv2d.md](conv2d.md)")
    [['t', 'see '], ['a', 'groups', '#groups'], ['t', ' in '], ['i', 'conv2d.md']]
    """
    found: list[Token] = []
    at, text = 0, " ".join(text.split())
    for match in _INLINE.finditer(text):
        if match.start() > at:
            found.append(["t", text[at : match.start()]])
        at = match.end()
        if match["code"]:
            found.append(["c", match["code"].strip()])
        elif match["label"]:
            found.append(_link(match["label"].strip("`"), match["url"]))
        else:
            found.append(["b", match["strong"]] if match["strong"] else ["i", match["emphasis"]])
    return [*found, ["t", text[at:]]] if at < len(text) else found


def _link(label: str, url: str) -> Token:
    """A link that goes out, or to another clause; a file of the specification is named, for the page has no files."""
    if url.startswith(("https://", "http://")):
        return ["a", label, url]
    _, sign, slug = url.partition("#")
    return ["a", label, f"#{slug}"] if sign else ["i", label]


def blocks(markdown: str) -> list[list[Any]]:
    r"""Cut a part of a clause into blocks: ["p", tokens], ["pre", text], ["li", tokens].

    Examples
    --------
    >>> blocks("So:\n\n```python\nf(1)\n```\n\n- one\n- two")
    [['p', [['t', 'So:']]], ['pre', 'f(1)'], ['li', [['t', 'one']]], ['li', [['t', 'two']]]]
    """
    found: list[list[Any]] = []
    for fence in re.split(r"^(```.*?^```)$", markdown, flags=re.MULTILINE | re.DOTALL):
        if fence.startswith("```"):
            found.append(["pre", "\n".join(fence.splitlines()[1:-1])])
            continue
        for part in re.split(r"\n\s*\n", fence):
            found.extend(_block(part.strip("\n")))
    return found


def _block(part: str) -> list[list[Any]]:
    """One paragraph: code where all of it is indented, or is a table; items where it is a list."""
    lines = part.splitlines()
    if not part.strip():
        return []
    if all(line.startswith("    ") for line in lines):
        return [["pre", "\n".join(line[4:] for line in lines)]]
    if all(line.startswith("|") for line in lines):
        return [["pre", part]]
    if lines[0].startswith("- "):
        return [["li", inline(item)] for item in re.split(r"^- ", part, flags=re.MULTILINE) if item.strip()]
    return [["p", inline(part)]]


def embedded(data: Any) -> str:
    r"""Return data as JSON that may stand in a `<script>` of HTML, whatever texts it holds.

    Examples
    --------
    >>> embedded(["</script><b>"])
    '["\\u003c/script\\u003e\\u003cb\\u003e"]'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Halves of characters, which a backend's text may have, are no UTF-8: JSON has escapes for them.
    text = re.sub("[\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return re.sub("[<>&\u2028\u2029]", lambda found: _ESCAPED[found[0]], text)


def printable(text: str) -> str:
    r"""Return a text that UTF-8 and HTML can hold: halves of characters and controls become escapes.

    Examples
    --------
    >>> printable("a\x00\ud800b")
    'a\\x00\\ud800b'
    """
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]", lambda found: ascii(found[0])[1:-1], text)
