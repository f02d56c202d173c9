"""Call the public functions with random bad arguments; each must be refused with a message that names the argument.

    python benchmarks/bad_arguments.py [CALLS] [SEED]

A call starts good and gets one argument broken. It counts as refused when it raises ValueError or TypeError and the
message begins with the argument's name. The tests run the same generator with fewer calls.
"""

import fractions
import sys
import time
from collections import Counter

import numpy as np

import convspec

HUGE = (10**12, 10**30, 10**5000, -(10**30), 2**31, 2**63, 2**64)


class Unprintable:
    """A stranger whose repr fails."""

    def __repr__(self):
        raise RuntimeError("no repr")


def _choice(random, options):
    return options[int(random.integers(len(options)))]


def _not_an_integer(random):
    """Scalars that are no integers at all."""
    return _choice(
        random,
        (
            True, False, 1.0, 2.5, float("nan"), float("inf"), 1j, None, "2", b"2", "", np.float32(1), np.bool_(True),
            np.float64("nan"), np.array(1.5), np.array(True), np.array("1"), object(), Unprintable(), {}, {1, 2},
            fractions.Fraction(2), slice(2), range, np.dtype("f4"), np.datetime64("2020-01-01"),
        ),
    )  # fmt: skip


def _not_positive(random):
    """Integers that are no sizes, and everything that is no integer."""
    integers = (0, -1, -int(random.integers(1, 1000)), np.int64(0), np.int8(-3), np.array(0), *HUGE)
    return _choice(random, integers) if random.random() < 0.5 else _not_an_integer(random)


def _bad_pair(random):
    """What strides, dilations and ksize refuse."""
    kind = int(random.integers(6))
    if kind == 0:
        return _not_positive(random)
    if kind == 1:  # a wrong number of entries
        return (1,) * _choice(random, (0, 1, 3, 5, 6, 100))
    if kind == 2:
        arrays = (np.array([1.0, 2.0]), np.array([[1, 1]]), np.zeros(2, int), np.ones(5, int), np.ones(0))
        return _choice(random, arrays)
    if kind == 3:
        return _choice(random, (((1, 1), (1, 1)), (1, (1, 1)), [[1], [1]], ("1", "1"), "11", b"11", (np.float32(1), 1)))
    entries = [1, 1] if kind == 4 else [1, 2, 2, 1]
    at = int(random.integers(len(entries)))
    over = len(entries) == 4 and at in (0, 3)  # batch or channels
    entries[at] = _choice(random, (2, 3, 0, -1, 1.0, True, None, 10**30)) if over else _not_positive(random)
    return entries if random.random() < 0.5 else tuple(entries)


def _bad_side(random):
    return _choice(random, (-1, -(10**9), np.int32(-2), *HUGE)) if random.random() < 0.5 else _not_an_integer(random)


def _bad_padding(random):
    """What padding refuses."""
    kind = int(random.integers(5))
    if kind == 0:
        return _choice(
            random, ("", "SAMEE", "same ", "full", "reflect", "VALID\n", "ＳＡＭＥ", "same_upper", np.str_("no"))
        )
    if kind == 1:
        return _choice(random, (None, 0, 1, 1.5, True, b"SAME", object(), Unprintable(), {"SAME"}, {}, np.zeros(())))
    if kind == 2:
        sides = [[0, 0], [1, 1]]
        sides[int(random.integers(2))][int(random.integers(2))] = _bad_side(random)
        return sides if random.random() < 0.5 else tuple(map(tuple, sides))
    if kind == 3:
        return _choice(
            random,
            (
                (), (1, 1), ((1, 1),), ((1, 1),) * 3, ((0, 0), (1, 1), (1, 1), (0, 0)), ((1,), (1,)), ((1, 1), 1),
                ((1, 1, 1), (1, 1, 1)), [[], []], ["SAME", "VALID"], [["a", "b"], ["c", "d"]], np.zeros((2, 2)), "11",
                np.full((2, 2), -1), np.zeros((2, 3), int), (None, None), ((1, 1), {1, 2}), [1, 1, 1, 1],
            ),
        )  # fmt: skip
    return ((2**31 - 1, 2**31 - 1), (2**31 - 1, 2**31 - 1))  # a result that no machine holds


def _bad_array(random, good, *, integers, exact_shape):
    """What x, w, bias and dy refuse: no array, wrong rank, wrong type; and a wrong shape where there is a right one."""
    kind = int(random.integers(5 if exact_shape else 4))
    if kind == 0:
        return _choice(
            random,
            (
                None, 1.5, "array", good.tolist(), [[1, [2]]], {}, object(), Unprintable(), b"abc", (good,),
                np.float32(1), memoryview(b"abcd"), range(4), np.ma.masked_array(good), lambda: 0, type(good),
            ),
        )  # fmt: skip
    if kind == 1:
        rank = _choice(random, [rank for rank in range(7) if rank != good.ndim])
        return np.ones((1,) * rank, good.dtype)
    if kind == 2:
        return np.zeros(
            good.shape, _choice(random, ("c8", "c16", "?", "O", "S1", "U1", "M8[s]", "m8[s]", "g", "i4,f4"))
        )
    if kind == 3:
        return good.astype(good.dtype.newbyteorder()) if integers or random.random() < 0.3 else good.astype("i4")
    shape = list(good.shape)
    shape[int(random.integers(len(shape)))] += _choice(random, (1, 2, 7))
    return np.ones(shape, good.dtype)


def _good(random):
    """A function with good arguments."""
    groups = int(random.integers(1, 3))
    x = random.standard_normal((1, int(random.integers(4, 7)), int(random.integers(4, 7)), 2 * groups))
    x = x.astype(_choice(random, ("f2", "f4", "f8")))
    where = {"strides": int(random.integers(1, 3)), "padding": _choice(random, ("SAME", "VALID", ((0, 1), (1, 0))))}
    where["dilations"] = int(random.integers(1, 3))
    name = _choice(random, ("conv2d", "conv2d_vjp", "max_pool", "max_pool_vjp", "max_pool_with_argmax"))
    if name.startswith("conv"):
        w = np.ones((2, 2, 2, 3 * groups), x.dtype)
        arguments = {"x": x, "w": w, **where, "groups": groups}
        if name == "conv2d":
            arguments["bias"] = np.ones(3 * groups, x.dtype)
        else:
            arguments["dy"] = convspec.conv2d(x, w, **where, groups=groups)
    else:
        arguments = {"x": x, "ksize": _choice(random, (2, (2, 1), [1, 1, 2, 1])), **where}
        if name == "max_pool_vjp":
            arguments["dy"] = convspec.max_pool(**arguments)
    return name, arguments


def bad_call(random):
    """(function name, arguments, the argument that is broken)."""
    name, arguments = _good(random)
    broken = _choice(random, sorted(arguments))
    good = arguments[broken]
    if broken == "padding":
        arguments[broken] = _bad_padding(random)
    elif broken in ("strides", "dilations", "ksize"):
        arguments[broken] = _bad_pair(random)
    elif broken == "groups":
        arguments[broken] = _choice(random, (_not_positive(random), 5, 64, (1,), [1], (1, 1), np.array([1, 2]), 10**30))
    elif broken == "w" and random.random() < 0.3:
        arguments[broken] = _choice(
            random,
            (
                np.ones((2, 2, good.shape[2] + 1, good.shape[3]), good.dtype),
                np.ones((0, 2, *good.shape[2:]), good.dtype),
                np.ones((2, 0, *good.shape[2:]), good.dtype),
                good.astype("f4" if good.dtype == "f8" else "f8"),
            ),
        )
    else:
        pool = broken == "x" and "ksize" in arguments
        arguments[broken] = _bad_array(
            random, good, integers=pool or broken == "dy", exact_shape=broken in ("bias", "dy")
        )
        if broken == "bias" and arguments[broken] is None:  # which is how to say that there is none
            arguments[broken] = 0
    return name, arguments, broken


def outcome(name, arguments, broken):
    """'refused', or what happened instead."""
    try:
        getattr(convspec, name)(**arguments)
    except (ValueError, TypeError) as error:
        message = str(error)
        if message.startswith(broken) and not message[len(broken) : len(broken) + 1].isalnum():
            return "refused"
        return f"{type(error).__name__} does not begin with {broken}: {message}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "accepted"


def run(calls, seed):
    """Outcomes of that many calls, counted; and the first of each other outcome."""
    random = np.random.default_rng(seed)
    counts, examples = Counter(), {}
    for _ in range(calls):
        name, arguments, broken = bad_call(random)
        result = outcome(name, arguments, broken)
        counts[name, broken, result == "refused"] += 1
        if result != "refused":
            examples.setdefault((name, broken, result[:60]), (result, arguments[broken]))
    return counts, examples


def main():
    """Print the table and fail when any call was not refused."""
    calls, seed = (int(text) for text in (*sys.argv[1:], *("100000", "0")[len(sys.argv) - 1 :]))
    start = time.perf_counter()
    counts, examples = run(calls, seed)
    for name in sorted({key[0] for key in counts}):
        refused = {broken: count for (n, broken, good), count in sorted(counts.items()) if n == name and good}
        print(f"{name:22s}", ", ".join(f"{broken} {count}" for broken, count in refused.items()))
    missed = sum(count for (_, _, good), count in counts.items() if not good)
    print(f"{calls} bad calls (seed {seed}), {calls - missed} refused by name, {missed} not, "
          f"{time.perf_counter() - start:.0f} s")  # fmt: skip
    for (name, broken, _), (result, _value) in list(examples.items())[:20]:
        print(f"  {name} {broken}: {result}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
