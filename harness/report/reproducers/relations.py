"""Relations between calls that a finding may break: the same again, alone and in a batch, one thread and many.

May import `asked` and `checks`. What holds of exact data needs no relation: each call has an answer.
"""

from __future__ import annotations

import ast
import re
from string import Template
from typing import Any

import numpy as np

from convspec.adapters.backend import Contract
from convspec.harness.cases.case import Case
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import arrays, names
from convspec.harness.cases.windows import reads
from convspec.harness.oracle.transforms import probes
from convspec.harness.oracle.truth import truths

from . import checks, literals
from .asked import Asked, valid
from .backend import Array, Call, Language

_SAME = '''\
def bits(results):
    """What results are to the bit."""
    return [as_numpy(result)[0].tobytes() for result in results]


'''

_AGAIN = (
    _SAME
    + '''\
def fault():
    """Whether the same call gives other bits when it is made again."""
    first = call($arguments)
    for _ in range($tries):
        again = call($arguments)
        if bits(again) != bits(first):
            print("expected: the same bits each time")
            print("got:      ", *[as_numpy(result)[0].tolist() for result in (*first, *again)], sep="\\n")
            return True
    print("expected: the same bits each time\\ngot:      the same bits each time")
    return False
'''
)

_BATCH = '''\
def fault():
    """Whether an image has other bits alone than in a batch."""
    for _ in range($tries):
        together = as_numpy(call($arguments)[0])[0]
        for item in range($batch):
            alone = as_numpy(call($alone)[0])[0]
            if alone[0].tobytes() != together[item].tobytes():
                print(f"expected: image {item} alone as in the batch:\\n{together[item]}\\ngot:\\n{alone[0]}")
                print(f"the largest difference is {np.abs(alone[0] - together[item]).max():.3g}")
                return True
    print("expected: each image alone as in the batch\\ngot:      each image alone as in the batch")
    return False
'''

_UNTOUCHED = '''\
def fault():
    """Whether outputs that do not read a pixel notice its value."""
    before = as_numpy(call($before)[0])[0]
    after = as_numpy(call($after)[0])[0]
    changed = (before != after) & ~(np.isnan(before) & np.isnan(after)) & untouched
    print("expected: no output changed of those that do not read the pixel")
    print(f"got:      {changed.sum()} changed, from {before[changed][:5]} to {after[changed][:5]}")
    return bool(changed.any())
'''

_PRINTED = '''\
def fault():
    """Print the results to the bit: what runs this compares them."""
    for _ in range(3):
        for result in call($arguments):
            print(as_numpy(result)[0].tobytes().hex())
    return False
'''

_THREADS = '''\
def threads(number):
    """What a process with so many threads prints; 0: as many as there are cores."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
    environment = {**os.environ, **{name: str(number) for name in names if number}}
    command = [sys.executable, __file__, "--call"]
    return set(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split())


if "--call" not in sys.argv:
    one, many = threads(1), threads(0)
    for _ in range($attempts):
        if one == many:  # it does not show every time
            one, many = one | threads(1), many | threads(0)
    print("expected: the same bits with one thread as with many")
    for name, bits in {"one thread": one, "many threads": many}.items():
        print(f"got:      {name}:", *[np.frombuffer(bytes.fromhex(text)) for text in sorted(bits)], sep="\\n")
    sys.exit(one != many)
'''

_TAPS = '''\
def fault():
    """Whether padding under an infinite weight is read in two ways: as nothing, or as zero times infinity (NaN)."""
    seen = {}
    for name, function, arrays, where_padded in $steps:
        try:
            got = as_numpy(function(*arrays)[0])[0]
        except Exception as error:
            print(f"({name}: {type(error).__name__}: {error})")
            continue
        for nan in np.unique(np.isnan(got[where_padded])):
            seen.setdefault("zero times infinity" if nan else "absent", []).append(name)
    print("expected: padding under an infinite weight is the same everywhere: absent, or zero times infinity")
    for reading, where in seen.items():
        print(f"got:      {reading} in {'; '.join(where)}")
    return len(seen) > 1
'''


class Relations:
    """The lines of a relation that a clause asks for: its calls, the check, and the last lines where it has its own."""

    def __init__(self, language: Language, finding: dict[str, Any], contract: Contract, tries: int) -> None:
        self.language, self.finding, self.contract, self.tries = language, finding, contract, tries

    def of(self, case: Case) -> tuple[list[Call], list[str], list[str]]:
        """Calls, check and ending for the clause of the finding."""
        clause = self.finding["clause"]
        if clause == "deterministic":
            return self._one(case, _AGAIN, tries=max(self.tries, 3))
        if clause == "batch-invariance":
            alone = ", ".join(f"{name}[item : item + 1]" if name == "x" else name for name in names(case))
            return self._one(case, _BATCH, tries=self.tries, batch=case.x[0], alone=alone)
        if clause == "thread-invariance":
            calls, lines, _ = self._one(case, _PRINTED)
            return calls, lines, Template(_THREADS).substitute(attempts=4 if self.tries > 1 else 0).splitlines()
        if clause in ("locality", "algorithm-declared"):
            return self._untouched(case)
        if clause == "consistency-of-padding-taps":
            return self._taps(case)
        several = self._sequence(case)
        return [a.call for a in several], checks.answers(several), []

    def _one(self, case: Case, template: str, **fill: Any) -> tuple[list[Call], list[str], list[str]]:
        data = arrays(case)
        call = Call(case.op, data, case.options, case)
        return [call], Template(template).substitute(fill | {"arguments": call.arguments}).splitlines(), []

    def _untouched(self, case: Case) -> tuple[list[Call], list[str], list[str]]:
        data = arrays(case)
        if self.finding["clause"] == "algorithm-declared":
            probe = probes(case, data)[0 if "one pixel" in self.finding["message"] else 1]
            changed, untouched = probe.data["x"], probe.untouched
        else:
            rng = np.random.default_rng(case.seed)
            row, column = int(rng.integers(case.x[1])), int(rng.integers(case.x[2]))
            changed = data["x"].copy()
            changed[:, row, column] = -2 * changed[:, row, column] + 1
            read = np.outer(*[(reads(case, axis) == at).any(axis=1) for axis, at in ((0, row), (1, column))])
            untouched = np.broadcast_to(~read[None, :, :, None], case.y)
        before = Call(case.op, data, case.options, case)
        other = data | {"x": changed}
        after = Call(case.op, other, case.options, case, "_after")
        mask = literals.as_numpy(self.language.native("y", untouched).astype(np.uint8))
        lines = Template(_UNTOUCHED).substitute(before=before.arguments, after=after.arguments).splitlines()
        return [before, after], [literals.wrapped(f"untouched = {mask}.astype(bool)"), "", "", *lines], []

    def _taps(self, case: Case) -> tuple[list[Call], list[str], list[str]]:
        calls, masks, steps = [], [], []
        for number, one in enumerate([case, *others(case, self.finding["message"])]):
            suffix = f"_{number}" if number else ""
            call = Call(one.op, arrays(one), one.options, one, suffix)
            padded = self.language.native("y", telling(one)).astype(np.uint8)
            masks.append(literals.wrapped(f"padded{suffix} = {literals.as_numpy(padded)}.astype(bool)"))
            name = f"{list(one.x)} with {list(one.w)}, {one.dtype}"
            steps.append(f"({name!r}, call{suffix}, [{call.arguments}], padded{suffix})")
            calls.append(call)
        listed = "[\n        " + ",\n        ".join(steps) + ",\n    ]"
        comment = "# The outputs whose infinite weight lies on padding."
        return calls, [comment, *masks, "", "", *Template(_TAPS).substitute(steps=listed).splitlines()], []

    def _sequence(self, case: Case) -> list[Asked]:
        """Calls with an answer each, in the order in which the clause makes them."""

        def ask(one: Case, suffix: str, data: Any = None) -> Asked:
            return valid(one, self.language, self.finding, self.contract, suffix, data)

        clause, data = self.finding["clause"], arrays(case)
        first = ask(case, "")
        if clause in ("batch-items-independent",):
            items = range(case.x[0])
            alone = case.but(x=(1, *case.x[1:]))
            return [first, *(ask(alone, f"_{n}", data | {"x": data["x"][n : n + 1]}) for n in items)]
        if clause == "weight-sharing":
            rows, columns = case.strides
            moved = np.pad(data["x"], ((0, 0), (rows, 0), (columns, 0), (0, 0)))
            return [first, ask(case.but(x=moved.shape), "_moved", data | {"x": moved})]
        if clause == "conv2d-gradient-adjoint":
            forward = {name: data[name] for name in ("x", "w")}
            return [ask(case.but(op="conv2d"), "_forward", forward), first]
        if clause == "calls-are-independent":
            second = case.but(seed=case.seed + 1)
            other = case.but(x=(case.x[0], case.x[1] + 1, case.x[2] + 2, case.x[3]))
            rest = [ask(second, "_2"), ask(other, "_3")]
            if case.op.endswith("_vjp"):
                forward = {name: a for name, a in arrays(second).items() if name != "dy"}
                rest.append(ask(case.but(op=case.op.removesuffix("_vjp")), "_4", forward))
            return [first, *rest, ask(case, "_again")]
        if clause == "convolution-activation-pooling":
            hidden = np.maximum(truths(case, data)[0].value, 0).astype(case.dtype)
            pool = Case("max_pool", hidden.shape, (2, 2), strides=(2, 2), padding="SAME", dtype=case.dtype)
            return [first, ask(pool, "_pool", {"x": hidden})]
        return [first]


def telling(case: Case) -> Array:
    """The outputs whose infinite weight lies on padding: NaN by one reading, a number by the other."""
    data = arrays(case)
    absent = truths(case, data)[0].value
    multiplied = truths(case, data, padding_taps="multiply")[0].value
    return np.asarray(np.isnan(multiplied) & ~np.isnan(absent))


_CALL = re.compile(
    r"conv2d\(x\[(?P<x>[\d, ]+)\], w\[(?P<w>[\d, ]+)\], (?P<options>.*)\)  # (?P<dtype>\w+), (?P<recipe>[\w-]+)"
    r"(, (?P<layout>\w+) memory)?, seed (?P<seed>\d+)$"
)


def others(case: Case, message: str) -> list[Case]:
    """Calls that may read padding in another way: the one that a finding names, or small ones of each type."""
    found = _CALL.search(message)
    if found:
        return [_case(found)]
    small = [
        Case("conv2d", x, (3, 3), filters=f, padding="SAME", dtype=dtype, recipe="inf-in-w", seed=seed)
        for dtype in FLOATS
        for x, f in (((1, 2, 3, 1), 1), ((1, 4, 4, 8), 2))
        for seed in range(20)
    ]
    kept: dict[tuple[str, int], Case] = {}
    for one in small:
        if (one.dtype, one.filters) not in kept and telling(one).any():
            kept[one.dtype, one.filters] = one
    return [one for one in kept.values() if one != case]


def _case(found: re.Match[str]) -> Case:
    """The case that `Case.describe` wrote."""
    x, w = (tuple(int(n) for n in found[key].split(",")) for key in ("x", "w"))
    written = ast.parse(f"dict({found['options']})", mode="eval").body
    assert isinstance(written, ast.Call)
    options: dict[str, Any] = {str(one.arg): ast.literal_eval(one.value) for one in written.keywords}
    seed = int(found["seed"])
    return Case(
        "conv2d",
        (x[0], x[1], x[2], x[3]),
        (w[0], w[1]),
        filters=w[3],
        dtype=found["dtype"],
        recipe=found["recipe"],
        seed=seed,
        **options,
    )
