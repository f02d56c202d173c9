"""The examples in the harness's docstrings are true."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import convspec.harness

#: Not to be imported by itself: it runs in another interpreter, on what it is given there.
SCRIPTS = {"convspec.harness.process.launch"}
MODULES = [
    module.name
    for module in pkgutil.walk_packages(convspec.harness.__path__, "convspec.harness.")
    if module.name not in SCRIPTS
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0
