"""The conformance suite as plain functions, for judging backends in this process."""

import importlib
import inspect


def checks():
    """Every conformance test that needs one backend only: (slug, dtypes, function), in the order of the modules."""
    for name in ("geometry", "conv2d", "max_pool", "gradients", "state", "numerics", "errors", "network"):
        module = importlib.import_module(f"convspec.conformance.test_{name}")
        for function in list(vars(module).values()):
            marks = [m for m in getattr(function, "pytestmark", []) if m.name == "clause"]
            if marks and "single_threaded" not in inspect.signature(function).parameters:
                yield marks[0].args[0], marks[0].kwargs["dtypes"], function


CHECKS = list(checks())
CELLS = list(dict.fromkeys((slug, dtype) for slug, dtypes, _ in CHECKS for dtype in dtypes))
#: Clauses whose relation keeps what it saw from case to case, so that each backend needs the check to itself.
WITH_MEMORY = ("consistency-of-padding-taps", "padding-under-nonfinite-weight")


def functions_of(slug, dtype):
    """The tests of one cell, in order."""
    return [function for checked, dtypes, function in CHECKS if checked == slug and dtype in dtypes]
