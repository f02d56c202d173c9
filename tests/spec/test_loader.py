"""The loader reads sections in form, and refuses every other with a message that names file and line."""

import ast
import dataclasses
import doctest
import inspect
import sys

import pytest

from convspec import spec

GOOD = """# A topic

Introduction, with a word like MUST that belongs to no clause.

## some-clause

**MUST** (profile: core; checked on: backend). Every answer MUST be right,
also on a second line.

**Formula.** `a = b`

    c = d

**Why.** Because.

**Example.** One:

```python
>>> 1 + 1
2
## not-a-heading
**Systems.** not a part
```

**Systems.** All agree.

A second paragraph of it.

## other-2

**MAY** (profile: special-values; checked on: reference). It MAY be.

**Formula.** f

**Why.** w

**Example.** e

**Systems.** s
"""


def test_reads_every_part():
    first, second = spec.parse(GOOD, "topic")
    assert (first.slug, first.level, first.topic, first.profile, first.scope) == (
        "some-clause",
        "MUST",
        "topic",
        "core",
        "backend",
    )
    assert first.statement == "Every answer MUST be right, also on a second line."
    assert first.formula == "`a = b`\n\n    c = d"
    assert first.why == "Because."
    assert first.example.startswith("One:\n\n```python\n>>> 1 + 1")
    assert first.example.endswith("not a part\n```")
    assert first.systems == "All agree.\n\nA second paragraph of it."
    assert first.text.startswith("## some-clause\n\n**MUST**")
    assert first.text.endswith("paragraph of it.\n")
    assert "other-2" not in first.text
    assert (second.slug, second.level, second.profile, second.scope) == (
        "other-2",
        "MAY",
        "special-values",
        "reference",
    )
    assert second.systems == "s"


def test_a_clause_is_frozen():
    first = spec.parse(GOOD, "topic")[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.level = "MAY"


#: What is replaced in the second section by what, on which line after its heading the error is found, and how it reads.
BAD = {
    "slug in capitals": ("## other-2", "## Other-2", 0, "slug 'Other-2' is not in kebab-case"),
    "slug with a space": ("## other-2", "## other 2", 0, "slug 'other 2' is not in kebab-case"),
    "slug with a double dash": ("## other-2", "## other--2", 0, "not in kebab-case"),
    "slug twice": ("## other-2", "## some-clause", 0, "slug 'some-clause' is taken: line 5 has it too"),
    "part missing": ("**Why.** w\n", "", 0, r"other-2: no part \*\*Why\.\*\*"),
    "last part missing": ("**Systems.** s\n", "", 0, r"other-2: no part \*\*Systems\.\*\*"),
    "part empty": ("**Why.** w", "**Why.**", 6, "other-2: the Why is empty"),
    "part twice": (
        "**Why.** w",
        "**Why.** w\n\n**Why.** v",
        0,
        "other-2: parts are Formula, Why, Why, Example, Systems",
    ),
    "parts out of order": (
        "**Why.** w\n\n**Example.** e",
        "**Example.** e\n\n**Why.** w",
        0,
        "parts are Formula, Example",
    ),
    "level unknown": ("**MAY** (", "**OUGHT** (", 0, "unknown level 'OUGHT'; known: MUST, SHOULD, MAY"),
    "profile unknown": ("profile: special-values", "profile: special", 0, "unknown profile 'special'; known: core"),
    "scope unknown": ("on: reference", "on: nobody", 0, "unknown scope 'nobody'; known: backend, reference"),
    "level's word absent": ("It MAY be.", "It may be.", 0, "other-2: the statement does not use the word MAY"),
    "another level's word": ("It MAY be.", "It MUST be.", 0, "other-2: the statement does not use the word MAY"),
    "level's word within a word": ("It MAY be.", "It MAYBE is.", 0, "the statement does not use the word MAY"),
    "no opening": ("**MAY** (profile", "MAY (profile", 0, "does not open with one paragraph of the form"),
    "two opening paragraphs": ("It MAY be.", "It MAY be.\n\nMore.", 0, "does not open with one paragraph"),
    "no statement": (" It MAY be.", "", 0, "does not open with one paragraph"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_with_file_and_line(name):
    old, new, offset, message = BAD[name]
    assert GOOD.count(old) == 1
    line = GOOD.splitlines().index("## other-2") + 1 + offset
    with pytest.raises(spec.SpecError, match=rf"^topic\.md:{line}: .*{message}"):
        spec.parse(GOOD.replace(old, new), "topic")


def test_an_opening_that_is_missing_altogether():
    text = "## a\n\n**Formula.** f\n\n**Why.** w\n\n**Example.** e\n\n**Systems.** s\n"
    with pytest.raises(spec.SpecError, match=r"topic\.md:1: a: the statement is empty"):
        spec.parse(text, "topic")


def test_the_same_slug_in_two_files(monkeypatch, tmp_path):
    for topic in ("one", "two"):
        (tmp_path / f"{topic}.md").write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(spec, "TOPICS", ("one", "two"))
    monkeypatch.setattr(spec.resources, "files", lambda package: tmp_path)
    spec._load.cache_clear()
    try:
        with pytest.raises(spec.SpecError, match=r"two\.md:5: slug 'some-clause' is taken: one\.md has it too"):
            spec.clauses()
    finally:
        monkeypatch.undo()
        spec._load.cache_clear()


def test_clause_by_slug():
    assert spec.clause("same-odd-pixel-last") is spec.clauses()["same-odd-pixel-last"]


def test_unknown_slug_offers_the_closest():
    with pytest.raises(spec.UnknownClause) as caught:
        spec.clause("max-pool-nans")
    assert isinstance(caught.value, KeyError)
    assert caught.value.closest[0] == "max-pool-nan"
    assert str(caught.value).startswith("unknown clause 'max-pool-nans'; closest: max-pool-nan")
    with pytest.raises(spec.UnknownClause, match="lists all"):
        spec.clause("zzzzzzzz")


def test_what_clauses_returns_may_be_changed_without_harm():
    spec.clauses().clear()
    assert spec.clauses()


def test_imports_the_standard_library_alone():
    tree = ast.parse(inspect.getsource(spec))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_docstring_examples():
    result = doctest.testmod(spec)
    assert result.attempted >= 4
    assert result.failed == 0
