"""What third parties import: the contract, the exceptions, and which methods are missing."""

import doctest
import importlib

import pytest

from convspec.adapters import METHODS, BackendError, Contract, DeviceUnavailable, Unsupported, missing_methods


class Forward:
    name = "forward"
    conv2d_vjp = None  # an attribute that cannot be called is no method

    def conv2d(self):
        pass

    def max_pool(self):
        pass


@pytest.mark.parametrize("backend", [Forward, Forward()], ids=["class", "object"])
def test_missing_methods_are_those_that_cannot_be_called(backend):
    assert missing_methods(backend) == ("conv2d_vjp", "max_pool_vjp")


def test_an_object_without_any_method_lacks_all():
    assert missing_methods(object()) == METHODS


def test_unsupported_is_no_failure_to_load():
    assert not issubclass(Unsupported, BackendError)
    assert issubclass(DeviceUnavailable, BackendError)


def test_no_contract_is_the_default_one():
    assert Contract.of(object()) == Contract(None, False, False, "direct")


@pytest.mark.parametrize(
    "declared", [Contract(tf32=True, accumulate="float16"), {"tf32": True, "accumulate": "float16"}]
)
def test_a_contract_may_be_a_contract_or_a_dict(declared):
    backend = type("Declares", (), {"contract": declared})()
    assert Contract.of(backend) == Contract(accumulate="float16", tf32=True)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"tf23": True}, "contract: unknown key 'tf23'; known: accumulate, tf32, flush_subnormals, algorithm"),
        ({"accumulate": "Float32"}, "accumulate is 'Float32'; it must be one of None, 'float64', 'float32', 'float16'"),
        ({"tf32": 1}, "tf32 is 1; it must be one of False, True"),
        ({"algorithm": "magic"}, "algorithm is 'magic'; it must be one of 'direct', 'winograd', 'fft'"),
        (["tf32"], "it is a list; it must be a convspec.adapters.Contract or a dict"),
    ],
)
def test_a_contract_that_means_nothing_is_refused(declared, message):
    with pytest.raises(BackendError) as error:
        Contract.of(type("Declares", (), {"contract": declared})())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "module", ["backend", "padding", "registry", "numpy_backend", "torch_backend", "tensorflow_backend"]
)
def test_the_examples_run_without_a_framework(module):
    results = doctest.testmod(importlib.import_module(f"convspec.adapters.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
