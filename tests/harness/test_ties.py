"""The tie between text and checks: every MUST has a check, every check a clause, every name its slug."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import convspec.conformance
from convspec.harness.cases.formats import FLOATS, INTEGERS
from convspec.harness.cases.invalid import CHANGES
from convspec.harness.judge import SIDE_EFFECTS
from convspec.harness.training import judge
from convspec.spec import clauses

REFERENCE_TESTS = Path(__file__).parents[1] / "reference"


def conformance_tests():
    for module in pkgutil.iter_modules(convspec.conformance.__path__):
        loaded = importlib.import_module(f"convspec.conformance.{module.name}")
        for name, function in vars(loaded).items():
            if name.startswith("test_"):
                yield name, [m for m in getattr(function, "pytestmark", []) if m.name == "clause"]


CONFORMANCE = list(conformance_tests())


def cited_by_reference_tests():
    """Slugs in `@pytest.mark.clause("...")` or `@clause("...")` of tests/reference, read without running them."""
    for path in REFERENCE_TESTS.glob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("clause"):
                        yield ast.literal_eval(mark.args[0])


def test_every_must_clause_has_a_check():
    checked = {mark.args[0] for _, marks in CONFORMANCE for mark in marks}
    asked = {"backend": checked, "reference": set(cited_by_reference_tests()), "training": set(judge.CLAUSES)}
    missing = [c.slug for c in clauses().values() if c.level == "MUST" and c.slug not in asked[c.scope]]
    assert missing == []


def test_should_and_may_clauses_of_backends_have_checks_too():
    checked = {mark.args[0] for _, marks in CONFORMANCE for mark in marks}
    assert [c.slug for c in clauses().values() if c.scope == "backend" and c.slug not in checked] == []


@pytest.mark.parametrize(("name", "marks"), CONFORMANCE)
def test_each_check_cites_one_clause_and_is_named_after_it(name, marks):
    (mark,) = marks
    assert mark.args[0] in clauses()
    assert clauses()[mark.args[0]].scope == "backend"
    assert name.removeprefix("test_").split("__")[0].replace("_", "-") == mark.args[0]
    assert set(mark.kwargs["dtypes"]) <= {*FLOATS, *INTEGERS, "all"}


def test_reference_tests_cite_clauses_that_exist():
    assert set(cited_by_reference_tests()) <= set(clauses())


def test_facts_and_invalid_calls_belong_to_clauses():
    assert set(SIDE_EFFECTS) <= set(clauses())
    assert {change.clause for change in CHANGES.values()} <= set(clauses())
    errors = {c.slug for c in clauses().values() if c.topic == "errors" and c.scope == "backend"}
    assert errors - {change.clause for change in CHANGES.values()} == {"errors-leave-no-trace"}
