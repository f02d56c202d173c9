"""What a worker says of calls that end: results, refusals, exceptions, inputs that were changed or handed back."""

import os
import sys
import time

import numpy as np
import pytest

from convspec.harness.process.layouts import LAYOUTS
from convspec.harness.process.protocol import ProtocolError, Request
from convspec.harness.process.remote import RemoteBackend

# Each public method takes one array and returns what its name says.
ODD = """
import ctypes, os, sys, threading, warnings
import numpy as np
from convspec.adapters import Unsupported as Theirs

class Unsupported(Exception):
    pass

class Rude(Exception):
    def __str__(self):
        raise RuntimeError("no")

class Tensor:
    def __array__(self, dtype=None, copy=None):
        return np.zeros(3)

class Odd:
    name = "odd"
    version = "1.2"
    device = "cpu"
    contract = {"tf32": True}
    dtypes = ("float32",)
    calls = 0

    def good(self, x, **options): return x + 1
    def echo(self, x, **options): self.seen = options; return np.array([len(repr(options))], np.int64)
    def seen_as(self, x, *, expected): return np.array([repr(self.seen) == expected])
    def layout(self, x): return np.array([*x.strides, x.ctypes.data % 64, x.flags.writeable], np.int64)
    def prints(self, x):
        print("CVS1 to stdout"); sys.stdout.flush()
        os.write(1, b"raw to fd 1")
        os.system("echo from a child")
        ctypes.CDLL(None).puts(b"from C")
        return x + 1
    def reads(self, x): return np.array([len(sys.stdin.read()) + len(os.read(0, 10))])
    def floods(self, x):
        for _ in range(300):
            sys.stderr.write("flood " * 10_000)
        return x + 1
    def max_pool(self, x, *, what):
        return {"list": [1.0], "none": None, "tensor": Tensor(), "scalar": np.float32(1), "float": 1.0,
                "complex": x.astype(complex), "object": x.astype(object), "text": x.astype(str),
                "swapped": x.astype(">f4"), "masked": np.ma.array(x), "pair": (x + 1, x + 2),
                "huge": np.broadcast_to(x[0], (10**12,) + x.shape[1:]), "wrong dtype": x.astype(np.float64) + 1,
                "rank 0": np.array(5.0), "strided": (x + 1)[::-1, ..., ::2], "empty": x[:0] + 1}[what]
    def conv2d_vjp(self, x, *, what):
        return {"pair": (x + 1, x + 2), "list": [x + 1, x + 2], "one": x + 1, "three": (x, x, x),
                "half": (x + 1, None), "nothing": ()}[what]
    def mutates(self, x): x[...] = 9; return x + 1
    def one_bit(self, x): x.view(np.uint32).flat[-1] ^= 1; return x + 1
    def reshapes(self, x):
        with warnings.catch_warnings(action="ignore"):  # NumPy 2.5 deprecates it
            y = x + 1; x.shape = (-1,); return y
    def outside(self, x):
        # one element past the last of a strided or offset view: a gap, or a guard
        ctypes.memset(x.ctypes.data + sum((n - 1) * s for n, s in zip(x.shape, x.strides)) + x.itemsize, 1, 1)
        return x + 1
    def mutates_and_raises(self, x): x[...] = 9; raise ValueError("too late")
    def alias(self, x): return x
    def alias_of_part(self, x): return x[..., :1]
    def keeps(self, x):
        self.kept = getattr(self, "kept", x + 0); self.kept += 1
        return self.kept
    def forgets(self, x): return np.empty_like(x)
    def forgets_more(self, x): return np.empty((1, 300, 300, 7), np.float32)
    def malloc(self, x):
        libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p
        return np.frombuffer(ctypes.string_at(libc.malloc(200), 200), np.uint8).copy()
    def refuses(self, x): raise Theirs("not here")
    def refuses_too(self, x): raise Unsupported("nor here")
    def raises(self, x): raise ValueError("bad " * 2000)
    def not_text(self, x): raise ValueError("\\udcff\\ud800 caf\\u00e9")
    def rude(self, x): raise Rude
    def leaves(self, x): sys.exit(7)
    def interrupts(self, x): raise KeyboardInterrupt
    def stops(self, x): raise StopIteration
    def recurses(self, x): return self.recurses(x)
    def wants_all_memory(self, x): return np.empty(10**17)
    def warns(self, x):
        warnings.warn("mind the gap")
        np.float32(1) / np.zeros(1, np.float32)
        return x + 1
    def turns_warnings_into_errors(self, x):
        warnings.simplefilter("error"); np.seterr(all="raise")
        return x + 1
    def forks(self, x):
        if os.fork() == 0:
            return x - 1
        os.wait()
        return x + 1
    def bf16(self, x): return x
    def conv2d(self, x, w, *, bias=None): return x + w + (0 if bias is None else bias)
    _private = good
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    path = tmp_path_factory.mktemp("backend") / "odd.py"
    path.write_text(ODD)
    with RemoteBackend(f"{path}:Odd", env={"PYTHONWARNINGS": "error"}) as backend:
        yield backend
        assert backend.restarts == 0, "one of the calls of this file ended the worker"


X = np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1)


def ask(backend, op, layout="C", x=X, **options):
    return backend.call(Request(op, (x,), (layout,), options))


def test_hello_tells_who_answers(odd):
    hello = odd.hello
    assert (hello["name"], hello["device"], hello["dtypes"]) == ("odd", "cpu", ["float32"])
    assert hello["versions"]["odd"] == "1.2"
    assert hello["versions"]["numpy"] == np.__version__
    assert hello["contract"] == {"accumulate": None, "tf32": True, "flush_subnormals": False, "algorithm": "direct"}
    assert hello["methods"] == ["conv2d", "conv2d_vjp", "max_pool"]
    assert hello["missing"] == ["max_pool_vjp"]
    assert hello["accepts_bias"] is True
    assert hello["argmax"] is False


def test_a_plain_call(odd):
    answer = ask(odd, "good")
    assert (answer.status, answer.error, answer.what, answer.mutated, answer.aliases) == ("ok", None, None, (), ())
    np.testing.assert_array_equal(answer.arrays[0], X + 1)
    assert 0 < answer.seconds < 5


def test_options_arrive_with_their_types(odd):
    options = {
        "strides": (1, 2),
        "padding": ((0, 1), (2, 3)),
        "list": [1, (2,)],
        "none": None,
        "text": "SAME \u00e9",
        "f": 0.5,
    }
    assert ask(odd, "echo", **options).status == "ok"
    assert ask(odd, "seen_as", expected=repr(options)).arrays[0].item() is True


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_arrives_as_such_with_equal_values(odd, layout):
    np.testing.assert_array_equal(ask(odd, "good", layout).arrays[0], X + 1)
    *strides, start, writable = ask(odd, "layout", layout).arrays[0].tolist()
    assert (layout == "negative") == any(step < 0 for step in strides)
    assert (layout == "offset") == (start == 4) or layout not in ("offset", "C")
    assert writable == (layout != "readonly")


@pytest.mark.parametrize("op", ["prints", "floods", "warns", "turns_warnings_into_errors", "forks"])
def test_noise_changes_nothing(odd, op):
    for _ in range(2):
        answer = ask(odd, op)
        assert (answer.status, answer.error) == ("ok", None)
        np.testing.assert_array_equal(answer.arrays[0], X + 1)


def test_stdin_is_empty(odd):
    assert ask(odd, "reads").arrays[0].item() == 0


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("list", "list"),
        ("none", "NoneType"),
        ("tensor", "Tensor"),
        ("scalar", "float32"),
        ("float", "float"),
        ("complex", "ndarray of complex128"),
        ("object", "ndarray of object"),
        ("text", "ndarray of <U32"),
        ("swapped", "ndarray of >f4"),
        ("masked", "MaskedArray"),
        ("pair", "tuple"),
        ("huge", "ndarray of float32 and shape (1000000000000, 2, 3, 1), too large to send"),
    ],
)
def test_results_that_are_no_arrays(odd, given, what):
    answer = ask(odd, "max_pool", what=given)
    assert (answer.status, answer.arrays, answer.what) == ("ok", (), what)


def test_results_of_other_types_and_shapes_arrive_as_they_are(odd):
    (wide,) = ask(odd, "max_pool", what="wrong dtype").arrays
    assert wide.dtype == np.float64
    assert ask(odd, "max_pool", what="rank 0").arrays[0].shape == ()
    assert ask(odd, "max_pool", what="empty").arrays[0].shape == (0, 2, 3, 1)
    np.testing.assert_array_equal(ask(odd, "max_pool", what="strided").arrays[0], (X + 1)[::-1, ..., ::2])


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("pair", None),
        ("list", None),
        ("one", "ndarray"),
        ("three", "tuple of (ndarray, ndarray, ndarray)"),
        ("half", "tuple of (ndarray, NoneType)"),
        ("nothing", "tuple of ()"),
    ],
)
def test_pairs(odd, given, what):
    answer = ask(odd, "conv2d_vjp", what=given)
    assert (answer.status, answer.what, len(answer.arrays)) == ("ok", what, 0 if what else 2)


@pytest.mark.parametrize("op", ["mutates", "one_bit", "reshapes"])
def test_changed_inputs_are_reported(odd, op):
    assert ask(odd, op).mutated == (0,)


@pytest.mark.parametrize("layout", ["strided", "offset"])
def test_writes_outside_the_view_are_reported(odd, layout):
    answer = ask(odd, "outside", layout)
    assert (answer.status, answer.mutated) == ("ok", (0,))


def test_an_exception_does_not_hide_a_mutation(odd):
    answer = ask(odd, "mutates_and_raises")
    assert (answer.status, answer.mutated, answer.error) == ("error", (0,), "ValueError: too late")


def test_writing_to_a_read_only_input_is_the_backends_error(odd):
    answer = ask(odd, "mutates", "readonly")
    assert (answer.status, answer.mutated) == ("error", ())
    assert "read-only" in answer.error


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("op", ["alias", "alias_of_part"])
def test_results_that_are_the_input_are_reported(odd, op, layout):
    assert ask(odd, op, layout).aliases == (0,)


def test_a_result_that_is_overwritten_later_was_copied_at_once(odd):
    first = ask(odd, "keeps").arrays[0]
    second = ask(odd, "keeps").arrays[0]
    np.testing.assert_array_equal(second, first + 1)


@pytest.mark.parametrize("op", ["forgets", "forgets_more"])
def test_memory_that_was_never_written_is_poison(odd, op):
    for _ in range(5):
        (got,) = ask(odd, op).arrays
        fouled = np.isnan(got) | (np.abs(got) > 1e30)
        # From malloc it is fouled by glibc alone; elsewhere the system may hand out zeros.
        assert fouled.mean() > (0.9 if op == "forgets" or sys.platform == "linux" else -1)


@pytest.mark.skipif(sys.platform != "linux", reason="MALLOC_PERTURB_ is glibc's")
def test_malloc_gives_fouled_memory(odd):
    (got,) = ask(odd, "malloc").arrays
    assert (got == 0x7F).mean() > 0.9


@pytest.mark.parametrize(("op", "reason"), [("refuses", "not here"), ("refuses_too", "nor here")])
def test_unsupported_by_class_or_by_name(odd, op, reason):
    answer = ask(odd, op)
    assert (answer.status, answer.error) == ("unsupported", reason)


@pytest.mark.parametrize(
    ("op", "start"),
    [
        ("raises", "ValueError: bad bad"),
        ("not_text", "ValueError: \\udcff\\ud800 caf\u00e9"),
        ("rude", "Rude: (its message cannot be had: RuntimeError)"),
        ("leaves", "SystemExit: 7"),
        ("interrupts", "KeyboardInterrupt: "),
        ("stops", "StopIteration: "),
        ("recurses", "RecursionError: "),
        ("wants_all_memory", "MemoryError: Unable to allocate"),
    ],
)
def test_exceptions_are_errors(odd, op, start):
    answer = ask(odd, op)
    assert answer.status == "error"
    assert answer.error.startswith(start)
    assert len(answer.error) < 2100
    if op == "raises":
        assert "odd.py" in answer.stderr
        assert "in raises" in answer.stderr


def test_an_unexpected_keyword_is_the_backends_error(odd):
    answer = ask(odd, "one_bit", padding="SAME")
    assert answer.error.startswith("TypeError: ")
    assert "padding" in answer.error


@pytest.mark.parametrize("op", ["max_pool_vjp", "_private", "__init__", "name", "calls"])
def test_methods_that_are_not_there(odd, op):
    answer = ask(odd, op)
    assert (answer.status, answer.error) == ("missing", f"the backend has no method {op}")


def test_bias_travels_as_the_third_array(odd):
    answer = odd.call(Request("conv2d", (X, X, X), ("C", "F", "strided"), {}))
    np.testing.assert_array_equal(answer.arrays[0], 3 * X)
    assert odd.call(Request("conv2d", (X, X), ("C", "F"), {})).arrays[0].tolist() == (2 * X).tolist()


def test_bfloat16_round_trip(odd):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    x = np.array([1.5, np.nan, -np.inf, 3e38], bfloat16)
    for layout in LAYOUTS:
        (got,) = ask(odd, "bf16", layout, x=x).arrays
        assert got.dtype == bfloat16
        assert got.tobytes() == x.tobytes()


@pytest.mark.parametrize("dtype", ["float64", "float16", "bool", "int8", "uint64", "int32"])
def test_other_dtypes_round_trip(odd, dtype):
    x = np.arange(5).astype(dtype)
    assert ask(odd, "bf16", "F", x=x).arrays[0].tobytes() == x.tobytes()


def test_unsendable_requests_leave_the_worker_alone(odd):
    with pytest.raises(ProtocolError, match="complex64"):
        ask(odd, "good", x=X.astype(np.complex64))
    with pytest.raises(ProtocolError, match="set"):
        ask(odd, "good", what={1})
    with pytest.raises(ProtocolError, match="layouts"):
        odd.call(Request("good", (X,), (), {}))
    assert ask(odd, "good").status == "ok"


def test_large_arrays_do_not_deadlock(odd):
    x = np.arange(6_000_000, dtype=np.float32).reshape(1, -1, 1, 1)
    started = time.monotonic()
    (got,) = ask(odd, "good", x=x).arrays
    np.testing.assert_array_equal(got, x + 1)
    assert time.monotonic() - started < 20


def test_a_small_call_is_quick(odd):
    seconds = []
    for _ in range(200):
        started = time.perf_counter()
        ask(odd, "good")
        seconds.append(time.perf_counter() - started)
    # Far above what benchmarks say: a guard against waits that slipped in, by the least, which load does not lengthen.
    assert min(seconds) < 5e-3


def test_where_an_exception_was_raised_names_no_place_of_this_machine(tmp_path):
    """What goes into a results file: convspec's own files by the package, those of compilers by their name alone."""
    compiled = tmp_path / "compiled_by_me" / "cabd.py"
    compiled.parent.mkdir()
    compiled.write_text("def call():\n    raise ValueError('no')\n")
    mine = tmp_path / "mine.py"
    mine.write_text(f"""
import runpy
from convspec.reference import geometry
class Mine:
    def max_pool(self, x): runpy.run_path({str(compiled)!r})["call"]()
    def conv2d(self, x): raise ValueError(f'File "{{geometry.__file__}}", line 1')
""")
    with RemoteBackend(f"{mine}:Mine") as backend:
        raised, told = ask(backend, "max_pool"), ask(backend, "conv2d")
    assert raised.stderr == "cabd.py:2 in call"
    assert told.error == f'ValueError: File "convspec{os.sep}reference{os.sep}geometry.py", line 1'
