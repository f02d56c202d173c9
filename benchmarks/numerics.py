"""Measure the numeric checks: what they detect, how often they are wrong, and how precise the frameworks are.

    python benchmarks/numerics.py detection            faults emulated in NumPy, put to the recipes
    python benchmarks/numerics.py alarms [OUTPUTS]     right outputs of the frameworks: none may be blamed
    python benchmarks/numerics.py bits                 effective bits of each framework, type and operation
    python benchmarks/numerics.py all [--markdown FILE]

`alarms` takes 10^9 outputs unless told otherwise, some minutes. Set OMP_NUM_THREADS=1 to have the times compare. Needs
the extras check, torch and tensorflow; a framework that is not there is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from convspec.adapters import registry
from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.measured import measured
from convspec.harness.cases.recipes import arrays, names, of_random_sign
from convspec.harness.judge import OUTPUTS
from convspec.harness.oracle.bounds import accumulator_of, compare
from convspec.harness.oracle.precision import Sample
from convspec.harness.oracle.readings import correct
from convspec.harness.oracle.readings.rounding import round_bits
from convspec.harness.oracle.truth import truths

FRAMEWORKS = ("numpy", "torch", "tensorflow")
Array = Any

# ---- detection ----------------------------------------------------------------------------------------------------

#: (kernel, channels): 27 to 4608 products in a sum.
DEPTHS = {27: ((3, 3), 3), 144: ((3, 3), 16), 576: ((3, 3), 64), 1600: ((5, 5), 64), 4608: ((3, 3), 512)}
TRIALS = 60


def two_terms(a: Array) -> Array:
    """The two bfloat16 numbers that an input is split in by emulations with three products."""
    high = round_bits(a, 8)
    return high + round_bits(a - high, 8)


class Fault(correct.Correct):
    """A right backend but for one thing, in every operation."""

    inputs: Callable[[Array], Array] = staticmethod(lambda a: a)

    def widen(self, op, x):
        return type(self).inputs(super().widen(op, x))


class Tf32(Fault):
    what = "inputs rounded to TF32"
    inputs = staticmethod(lambda a: round_bits(a, 11))


class Bfloat16(Fault):
    what = "inputs rounded to bfloat16"
    inputs = staticmethod(lambda a: round_bits(a, 8))


class TwoTerms(Fault):
    what = "inputs split in two bfloat16 terms (three products)"
    inputs = staticmethod(two_terms)


class LostTap(Fault):
    """One tap of one channel, in every sum of the operation, is left out."""

    what = "a tap is dropped"

    def forward(self, x, w, win, dtype):
        w = w.copy()
        w[0, 0, w.shape[2] // 2] = 0
        return super().forward(x, w, win, dtype)

    def input_gradient(self, x, w, dy, win, dtype):
        w = w.copy()
        w[0, 0, :, w.shape[3] // 2] = 0
        return super().input_gradient(x, w, dy, win, dtype)

    def filter_gradient(self, x, w, dy, win, dtype):
        dy = dy.copy()
        dy[0, 0, 0] = 0
        return super().filter_gradient(x, w, dy, win, dtype)


class NarrowSums(Fault):
    what = "float16 data summed in float16"

    def sum_type(self, op, dtype):  # noqa: ARG002 - of every operation
        return dtype

    def product(self, op, a, b):  # noqa: ARG002 - of every operation
        """One product after the other, as a narrow accumulator adds them."""
        total = np.zeros((*a.shape[:-1], b.shape[1]), a.dtype)
        for k in range(len(b)):
            total = (total + (a[..., k, None] * b[k]).astype(a.dtype)).astype(a.dtype)
        return total


#: Fault, dtype, the recipes that are to see it, the depths.
ASKED = (
    (Tf32, "float32", ("odd", "odd-w", "odd-dy"), tuple(DEPTHS)),
    (Bfloat16, "float32", ("odd", "odd-w", "odd-dy"), tuple(DEPTHS)),
    (TwoTerms, "float32", ("odd-wide", "odd-wide-w", "odd-wide-dy"), tuple(DEPTHS)),
    (LostTap, "float32", ("integers",), tuple(DEPTHS)),
    (NarrowSums, "float16", ("odd", "odd-w", "odd-dy", "cancel"), (27, 144, 576, 1600)),
)


def cases_of(depth: int, dtype: str, recipe: str, seed: int) -> Iterator[tuple[str, Case]]:
    """One case for each result, with about ten elements of that many products: (result, case)."""
    kernel, channels = DEPTHS[depth]
    h, w = kernel
    plain: dict[str, Any] = {"dtype": dtype, "recipe": recipe, "seed": seed}
    yield "y", Case("conv2d", (1, h, w + 1, channels), kernel, filters=5, **plain)
    # Inner pixels meet every tap of every filter: 3 of them a row, all that is read by all taps.
    yield "dx", Case("conv2d_vjp", (1, 2 * h - 1, 2 * w + 1, 3), kernel, filters=channels, **plain)
    side = max(1, round((depth / 2) ** 0.5))
    yield "dw", Case("conv2d_vjp", (2, side, -(-depth // (2 * side)), 2), (1, 1), filters=5, **plain)


def detected(fault: type[Fault], case: Case, name: str) -> bool:
    """Whether ten elements of that result with the most products show the fault."""
    backend, data = fault(), arrays(case)
    got = getattr(backend, case.op)(*(data[n] for n in names(case)), **case.options)
    results = dict(zip(OUTPUTS[case.op], got if isinstance(got, tuple) else (got,), strict=True))
    for truth in truths(case, data):
        if truth.name != name:
            continue
        order = np.argsort(-truth.terms.count, axis=None, kind="stable")[:10]
        spared = truth.value.copy().astype(results[name].dtype)
        spared.flat[order] = results[name].flat[order]
        random_sign = of_random_sign(case)
        rest = compare(truth.value.astype(results[name].dtype), truth, case.dtype, random_sign=random_sign)
        assert rest is None, "the true value, rounded, is right"
        return compare(spared, truth, case.dtype, random_sign=random_sign) is not None
    raise AssertionError(name)


def detection() -> list[str]:
    """Detection within ten outputs: the share of seeds in which at least one recipe of those asked saw the fault."""
    lines = ["| fault | type | recipes | result | " + " | ".join(f"n = {n}" for n in DEPTHS) + " |"]
    lines.append("|---|---|---|---|" + "---:|" * len(DEPTHS))
    for fault, dtype, recipes, depths in ASKED:
        rates: dict[str, dict[int, float]] = defaultdict(dict)
        for depth in depths:
            seen: dict[str, int] = defaultdict(int)
            trials = TRIALS if depth < 1600 else TRIALS // 4
            for seed in range(trials):
                by_result: dict[str, bool] = defaultdict(bool)
                for recipe in recipes:
                    for name, case in cases_of(depth, dtype, recipe, seed):
                        by_result[name] |= by_result[name] or detected(fault, case, name)
                for name, found in by_result.items():
                    seen[name] += found
            for name in ("y", "dx", "dw"):
                rates[name][depth] = seen[name] / trials
            progress(f"{fault.what}, n = {depth}: " + ", ".join(f"{k} {v[depth]:.2f}" for k, v in rates.items()))
        for name, by_depth in rates.items():
            row = " | ".join(f"{by_depth[n]:.2f}" if n in by_depth else "" for n in DEPTHS)
            lines.append(f"| {fault.what} | {dtype} | {', '.join(recipes)} | {name} | {row} |")
    return [*lines, "", *one_in_a_thousand()]


def one_in_a_thousand() -> list[str]:
    """A fault in one output of a thousand, within 10^4 outputs."""
    seen = 0
    for seed in range(TRIALS):
        case = Case("conv2d", (1, 52, 52, 2), (3, 3), filters=4, dtype="float32", recipe="integers", seed=seed)
        data = arrays(case)
        (truth,) = truths(case, data)
        y = truth.value.astype(np.float32)
        hit = np.random.default_rng(seed).random(y.shape) < 1e-3
        seen += compare(np.where(hit, y * np.float32(1 + 2.0**-10), y), truth, "float32") is not None
    progress(f"one output of a thousand: {seen / TRIALS:.2f}")
    what = "One output of a thousand, off by a thousandth of itself"
    return [f"{what}: seen in {seen} of {TRIALS} trials of 10^4 outputs each."]


# ---- false alarms -------------------------------------------------------------------------------------------------

#: (x, kernel, filters, padding): 1 to 4900 products; small ones give most outputs, long ones the hardest.
LAYERS: tuple[tuple[Any, ...], ...] = (
    ((4, 200, 208, 1), (1, 1), 8, "VALID"),
    ((2, 180, 190, 1), (3, 3), 16, "SAME"),
    ((2, 150, 160, 3), (3, 3), 16, "SAME"),
    ((4, 120, 128, 6), (2, 2), 24, "VALID"),
    ((2, 112, 112, 16), (3, 3), 32, "SAME"),
    ((1, 112, 112, 4), (5, 5), 32, "SAME"),
    ((4, 60, 62, 64), (1, 1), 64, "VALID"),
    ((2, 56, 56, 64), (3, 3), 64, "SAME"),
    ((1, 28, 30, 256), (3, 3), 64, "SAME"),
    ((1, 40, 42, 100), (7, 7), 16, "VALID"),
)
#: How often each is asked in one round, so that short sums do not take all outputs, nor long ones all the time.
TIMES = (6, 6, 6, 6, 2, 2, 2, 1, 1, 1)


def backends() -> dict[str, Any]:
    """Those of the frameworks that are installed."""
    found = {}
    for name in FRAMEWORKS:
        with contextlib.suppress(ImportError, registry.BackendError):
            found[name] = registry.load(name)
    return found


def alarms(outputs: int) -> list[str]:
    """Right outputs judged by the bound, by an element's statistical bound and by T: how many were blamed."""
    found, started = backends(), time.perf_counter()
    asked: dict[tuple[str, str, str], int] = defaultdict(int)
    blamed: dict[tuple[str, str, str], int] = defaultdict(int)
    tested: dict[tuple[str, str], int] = defaultdict(int)
    worse: dict[tuple[str, str], int] = defaultdict(int)
    highest: dict[tuple[str, str], float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    total = seed = said = 0
    while total < outputs:
        seed += 1
        for (x, kernel, filters, padding), times in zip(LAYERS, TIMES, strict=True):
            for turn in range(times):
                dtype = "float64" if (seed + turn) % 3 == 0 else "float32"
                recipe = "positive" if (seed + turn) % 4 == 3 else "statistical"
                case = Case("conv2d", x, kernel, filters=filters, padding=padding, dtype=dtype, recipe=recipe,
                            seed=seed * 100 + turn)  # fmt: skip
                begun = time.perf_counter()
                data = arrays(case)
                (truth,) = truths(case, data)
                seconds["oracle"] += time.perf_counter() - begun
                for name, backend in found.items():
                    begun = time.perf_counter()
                    got = backend.conv2d(data["x"], data["w"], **case.options)
                    seconds[name] += time.perf_counter() - begun
                    begun = time.perf_counter()
                    wrong = compare(got, truth, dtype, random_sign=of_random_sign(case))
                    asked[name, dtype, recipe] += got.size
                    blamed[name, dtype, recipe] += wrong.wrong if wrong else 0
                    if recipe == "statistical":
                        sample = Sample("y", dtype, Contract())
                        sample.add(case, truth, got)
                        tested[name, dtype] += 1
                        worse[name, dtype] += bool(sample.outside)
                        highest[name, dtype] = max(highest[name, dtype], sample.ordinary[0].against_contract ** 0.5)
                    seconds["comparison"] += time.perf_counter() - begun
                    total += got.size
        if total // 10_000_000 > said:
            said = total // 10_000_000
            progress(f"{total:,} outputs, {sum(blamed.values())} blamed, {time.perf_counter() - started:.0f} s")
        if total >= outputs:
            break
    lines = [
        "| backend | type | data | outputs | blamed | T tests | failed | largest T |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for (name, dtype, recipe), count in sorted(asked.items()):
        t = (name, dtype)
        tests = f"{tested[t]} | {worse[t]} | {highest[t]:.3f}" if recipe == "statistical" else " | | "
        lines.append(f"| {name} | {dtype} | {recipe} | {count:,} | {blamed[name, dtype, recipe]} | {tests} |")
    spent = ", ".join(f"{what} {s:.0f} s" for what, s in sorted(seconds.items(), key=lambda kv: -kv[1]))
    lines += ["", f"{total:,} outputs in {time.perf_counter() - started:.0f} s ({spent}); "
              f"{sum(blamed.values())} outputs and {sum(worse.values())} T tests blamed."]  # fmt: skip
    return lines


# ---- effective bits -----------------------------------------------------------------------------------------------


def bits() -> list[str]:
    """Effective bits of the frameworks, by type and operation, and the arithmetic where it is not what is declared."""
    lines = ["| backend | type | y | dx | dw | behaves like |", "|---|---|---:|---:|---:|---|"]
    for name, backend in backends().items():
        contract = Contract.of(backend)
        for dtype in ("float64", "float32", "float16", "bfloat16"):
            samples = {result: Sample(result, dtype, contract) for result in ("y", "dx", "dw")}
            narrow = dtype != accumulator_of(dtype, contract).name
            for op in ("conv2d", "conv2d_vjp"):
                for case in measured(op, dtype, "standard", narrow=narrow):
                    data = arrays(case)
                    with np.errstate(all="ignore"):
                        try:
                            got = getattr(backend, op)(*(data[n] for n in names(case)), **case.options)
                        except Exception as error:  # a type that it does not take
                            progress(f"{name} {dtype}: {str(error).splitlines()[0][:80]}")
                            break
                    for truth, result in zip(
                        truths(case, data), got if isinstance(got, tuple) else (got,), strict=True
                    ):
                        samples[truth.name].add(case, truth, result)
            values = " | ".join(f"{s.bits:.1f}" if s.elements else "" for s in samples.values())
            said = "; ".join(filter(None, (s.verdict() for s in samples.values())))
            lines.append(f"| {name} | {dtype} | {values} | {said} |")
            progress(lines[-1])
    return lines


# ---- the page -----------------------------------------------------------------------------------------------------


def progress(text: str) -> None:
    """Say how far it is, beside the results."""
    print(f"  {text}", file=sys.stderr, flush=True)


def versions() -> str:
    """What all this was measured with."""
    found = [f"Python {platform.python_version()}", f"NumPy {np.__version__}"]
    for module in ("torch", "tensorflow"):
        with contextlib.suppress(ImportError):
            found.append(f"{module} {__import__(module).__version__}")
    switch = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "unset")
    return f"{', '.join(found)}; {os.cpu_count()} cores, TF_ENABLE_ONEDNN_OPTS {switch}"


TITLES = {"detection": "Detection", "alarms": "False alarms", "bits": "Effective bits"}
WORDS = {
    "detection": """\
The share of trials in which ten outputs of about `n` products each, of one of the recipes named, show the fault. The
fault is in all three operations; y, dx and dw are counted by themselves.""",
    "alarms": """\
Right outputs of the forward map, `n` from 1 to 4900, judged by the bound of an element (on data of random sign by the
statistical one where it is smaller) and, a call at a time, by T.""",
    "bits": """\
A right accumulator of float32 has 24 bits and a little more, since few add strictly one term after the other; of
float16 and bfloat16 data no more than its 24 can be seen.""",
}
HEAD = """\
# Numerics

What the numeric checks see, and whom they blame. Written by

    OMP_NUM_THREADS=1 TF_ENABLE_ONEDNN_OPTS=1 python benchmarks/numerics.py all --markdown benchmarks/numerics.md

on {date}: {versions}."""


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=(*TITLES, "all"))
    parser.add_argument("outputs", nargs="?", type=float, default=1e9, help="of `alarms`")
    parser.add_argument("--markdown", type=Path, help="write the page instead of printing it")
    asked = parser.parse_args()
    run = {"detection": detection, "alarms": lambda: alarms(int(asked.outputs)), "bits": bits}
    page = [HEAD.format(date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}", versions=versions())]
    for part, measure in run.items():
        if asked.part in (part, "all"):
            started = time.perf_counter()
            lines = measure()
            page += ["", f"## {TITLES[part]}", "", WORDS[part], "", *lines]
            page += ["", f"Took {time.perf_counter() - started:.0f} s."]
    text = "\n".join(page) + "\n"
    if asked.markdown:
        asked.markdown.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
