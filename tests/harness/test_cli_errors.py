"""Every error message of the command line is in a test: what is raised for a user is looked for in the tests' text."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
HARNESS = TESTS.parent / "harness"
#: Raised in our own code to be told to a user: each class, and `ValueError` where a command tells it.
TOLD = (
    "UsageError", "BadParameter", "BackendError", "BackendImportError", "UnknownBackend", "DeviceUnavailable",
    "DataError", "DeviationError", "PredicateError", "MergeError", "NothingChosen", "UnknownFinding", "NoReproducer",
    "ValueError", "wrong", "_stop",
)  # fmt: skip
#: What has no user: the sides of the protocol, what a backend is told, and what only our own code can do wrong.
APART = ("process", "oracle", "cases")
#: As many characters of a message in a row are looked for: less would be found by chance.
ENOUGH = 12


def messages():
    """(place, pieces of text) of each error with a text of its own, in the commands and what they call."""
    for path in sorted(HARNESS.rglob("*.py")):
        inside = path.relative_to(HARNESS)
        if inside.parts[0] in APART:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Expr) else None
            if isinstance(call, ast.Call) and name_of(call.func) in TOLD and call.args:
                found = list(pieces(call.args[0]))
                if found:
                    yield f"{inside.as_posix()}:{node.lineno}", found


def name_of(function):
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def pieces(node):
    """The constant parts of a message; those of one that is only handed on are its own writer's."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            text = part.value.strip(" .;,:'`")
            if len(text) >= 8 and not text.startswith("--"):
                yield text


def all_tests():
    """The text of all tests; blanks and the backslashes of patterns aside."""
    texts = (path.read_text(encoding="utf-8") for path in TESTS.rglob("*.py") if path != Path(__file__))
    return plain(" ".join(texts))


def plain(text):
    return re.sub(r"[\s\\\"']+", " ", text)


TEXT = all_tests()
FOUND = dict(messages())


def is_tested(found):
    windows = (plain(piece) for piece in found)
    return any(w[n : n + ENOUGH] in TEXT for w in windows for n in range(max(1, len(w) - ENOUGH + 1)))


@pytest.mark.parametrize("place", FOUND)
def test_a_message_is_in_a_test(place):
    assert is_tested(FOUND[place]), f"harness/{place}: no test has a part of {FOUND[place]}"


def test_this_would_tell_one_that_is_not():
    assert len(FOUND) > 60
    assert not is_tested(["".join(map(chr, range(ord("a"), ord("z"))))])
