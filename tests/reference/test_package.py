"""The light library stays light, says its version once, and its examples run."""

import doctest
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import convspec

MODULES = (
    "arguments",
    "blocks",
    "conv2d",
    "correlate",
    "definition",
    "explain",
    "geometry",
    "max_pool",
    "network",
    "pitfalls",
    "porting",
    "training",
)
OPERATIONS = ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp", "max_pool_with_argmax")
HEAVY = (
    "click",
    "hypothesis",
    "importlib.metadata",
    "ml_dtypes",
    "onnx",
    "pytest",
    "rich",
    "scipy",
    "tensorflow",
    "torch",
)

PROGRAM = """
import sys, numpy
before = set(sys.modules)
import convspec, convspec.reference.definition, convspec.reference.network, convspec.reference.training
x = numpy.ones((1, 4, 4, 1), numpy.float32)
convspec.conv2d_vjp(x, x[0, :2, :2, :, None], x, padding="SAME")
convspec.max_pool_vjp(x, x, ksize=2, strides=1, padding="SAME")
str(convspec.explain_max_pool(x.shape, ksize=2, strides=1, padding="SAME"))
print(*sorted(set(sys.modules) - before))
"""


def test_importing_and_using_convspec_imports_numpy_alone():
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert "convspec.reference.conv2d" in out
    assert not [name for name in out if name.split(".")[0] in HEAVY or name in HEAVY]
    own = {name for name in out if name.split(".")[0] == "convspec"}
    assert own == {"convspec", "convspec.reference", *(f"convspec.reference.{name}" for name in MODULES)}


def test_version_is_that_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert convspec.__version__ == project["version"]


def test_public_names():
    assert set(convspec.__all__) == {*OPERATIONS, "Explanation", "explain_conv2d", "explain_max_pool"}
    for name in convspec.__all__:
        assert getattr(convspec, name).__module__.startswith("convspec.reference.")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"convspec.reference.{name}")
    failed, _ = doctest.testmod(module, extraglobs={"np": np})
    assert failed == 0


def test_every_public_function_has_an_example():
    for name in ("conv2d", "definition", "explain", "max_pool", "network", "geometry"):
        module = importlib.import_module(f"convspec.reference.{name}")
        for public in convspec.__all__:
            function = getattr(module, public, None)
            if callable(function) and not isinstance(function, type):
                assert ">>>" in function.__doc__, (name, public)


def test_fast_form_and_definition_have_the_same_signatures():
    import inspect

    from convspec.reference import definition

    for name in OPERATIONS:
        assert inspect.signature(getattr(convspec, name)) == inspect.signature(getattr(definition, name))
