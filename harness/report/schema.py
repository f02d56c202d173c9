"""The form of the documents, as JSON Schemas beside this file: `convspec check --json` and `convspec mnist --json`.

May import the standard library; jsonschema, an extra of the tests, only where a document is validated in full. A file
that a command reads is checked by `fault`, which needs nothing: a message is better than a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

#: The schema of each format.
SCHEMAS = {"convspec-results": "results.schema.json", "convspec-training": "training.schema.json"}

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip


class DocumentError(ValueError):
    """A document that is not of its form; the message says where, and what is wrong there."""


@cache
def schema(form: str) -> dict[str, Any]:
    """Return the JSON Schema of a format.

    Examples
    --------
    >>> schema("convspec-results")["properties"]["version"]["const"]
    2
    """
    text = resources.files(__package__).joinpath(SCHEMAS[form]).read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validate(document: Any) -> None:
    """Check a document against the schema of its format, by jsonschema (extra `test`).

    Raises
    ------
    DocumentError
        It is not of that form; the message lists the first faults.
    ImportError
        jsonschema is not installed.
    """
    import jsonschema  # noqa: PLC0415 - nothing but the tests needs it

    form = _form(document)
    found = sorted(jsonschema.Draft202012Validator(schema(form)).iter_errors(document), key=lambda e: str(e.path))
    if found:
        lines = [f"{'/'.join(map(str, error.absolute_path)) or 'document'}: {error.message}" for error in found[:5]]
        raise DocumentError("\n".join(lines))


def fault(document: Any) -> str:
    """Return the first fault of a document, or nothing: types, names and choices alone, without jsonschema.

    Examples
    --------
    >>> fault({"format": "convspec-results", "version": 2})
    'document: there is no convspec'
    >>> fault([])
    'document: no format that convspec knows'
    """
    try:
        whole = schema(_form(document))
    except DocumentError as error:
        return str(error)
    return next(_faults(document, whole, whole, ""), "")


def _form(document: Any) -> str:
    form = document.get("format") if isinstance(document, dict) else None
    if not isinstance(form, str) or form not in SCHEMAS:
        raise DocumentError("document: no format that convspec knows")
    return form


def _faults(value: Any, part: dict[str, Any], whole: dict[str, Any], path: str) -> Iterator[str]:
    """Walk a document beside its schema. What is a choice of forms (anyOf) is left to `validate`."""
    if "$ref" in part:
        part = whole["$defs"][part["$ref"].rsplit("/", 1)[1]]
    here = path or "document"
    choices = part.get("enum", [part["const"]] if "const" in part else None)
    if choices is not None and value not in choices:
        yield f"{here}: {value!r:.80} is none of {', '.join(map(repr, choices))}"
    names = part.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(_is(value, name) for name in names):
        yield f"{here}: {value!r:.80} is not of type {' or '.join(names)}"
        return
    if isinstance(value, dict):
        yield from (f"{here}: there is no {name}" for name in part.get("required", ()) if name not in value)
        more = part.get("additionalProperties", True)
        for name, inner in value.items():
            below = part.get("properties", {}).get(name, more)
            if below is False:
                yield f"{here}: {name} is not known"
            elif isinstance(below, dict):
                yield from _faults(inner, below, whole, f"{path}/{name}".lstrip("/"))
    elif isinstance(value, list) and isinstance(part.get("items"), dict):
        for number, inner in enumerate(value):
            yield from _faults(inner, part["items"], whole, f"{path}/{number}".lstrip("/"))


def _is(value: Any, name: str) -> bool:
    """Whether a value is of a type of JSON; True is no number there."""
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
