"""The forms of the results files, from their JSON Schemas: each object a table of its keys.

Imports the standard library alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .links import ROOT

Schema = dict[str, Any]
FILES = {
    "reference/results-file.md": (
        "results.schema.json",
        "The results file",
        "What `convspec check --json` and `convspec merge --json` write. "
        "[How to read one](../how-to/results.md) says what to do with it.",
    ),
    "reference/training-file.md": (
        "training.schema.json",
        "The results file of convspec mnist",
        "What `convspec mnist --json` writes. [How to train in lockstep](../how-to/mnist.md) says what it means.",
    ),
}


def pages() -> dict[str, str]:
    """A page a schema."""
    return {page: _page(*told) for page, told in FILES.items()}


def _page(file: str, title: str, what: str) -> str:
    schema = json.loads((ROOT / "harness" / "report" / file).read_text(encoding="utf-8"))
    head = f"# {title}\n\n{what} Made from the JSON Schema `harness/report/{file}`, which tests hold it to."
    parts = [head, "## The document", _table(schema)]
    for name, one in schema.get("$defs", {}).items():
        parts += [f"## {name} {{#{name}}}", one.get("description", ""), _table(one) or f"Type: {_type(one)}."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(schema: Schema) -> str:
    rows = list(_rows(schema, ""))
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows]) if rows else ""


def _rows(schema: Schema, above: str) -> Iterator[str]:
    """The keys of an object, and those of the objects in it, with dots between."""
    required = schema.get("required", [])
    for name, one in schema.get("properties", {}).items():
        may = "" if name in required else " (may be absent)"
        yield f"| `{above}{name}` | {_type(one)} | {_meaning(one)}{may} |"
        yield from _rows(one, f"{above}{name}.")
        yield from _rows(one.get("items", {}), f"{above}{name}[].")


def _meaning(schema: Schema) -> str:
    return " ".join(schema.get("description", "").split()).replace("|", "\\|")


def _type(schema: Schema) -> str:  # noqa: PLR0911 - one for each form
    """The type of a value, in words.

    >>> _type({"type": ["string", "null"]}), _type({"type": "array", "items": {"$ref": "#/$defs/cell"}})
    ('string or null', 'list of [cell](#cell)')
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(_type(one) for one in schema[key])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        items = schema.get("items")
        return f"list of {_type(items)}" if isinstance(items, dict) and items else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return kind if isinstance(kind, str) else " or ".join(kind)
