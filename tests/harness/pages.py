"""Documents for the tests of the page: made by hand, with every state, odd texts, and a case that can be drawn."""

import copy
import json
from dataclasses import replace

from reported import ENTRY, FINDING, KNOWN, cell, run_of

from convspec.harness.cases.case import Case
from convspec.harness.report.results import counts

EVIL = '</script><img src=x onerror="window.planted=1"><b>\'\u2028&amp;'
CASE = Case("conv2d", (1, 3, 4, 1), (2, 3), filters=1, padding="SAME", dilations=(1, 1), recipe="integers")
WRONG = replace(
    FINDING, clause="conv2d-sum", message="3 of 12 elements of y are wrong, the worst at [0, 2, 1, 0].",
    call=CASE.describe(), case=json.loads(json.dumps(CASE.to_dict())), expected="4", got="-6",
    error="off by 10, where the answer is exact (bound 0)", diagnosis="the last tap is dropped",
    taps="output [0, 2, 1, 0]: tap (0, 2) is missing; tap (1, 0) is doubled",
)  # fmt: skip
ERRORS = [100, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 2]
UPSTREAM = "https://github.com/pytorch/pytorch/issues/56998"


def known(backend="mine"):
    """A declared deviation with an upstream address."""
    return {backend: {"mine-leaks": ENTRY | {"url": UPSTREAM}}}


def board(names=("mine", "torch")):
    """Some backends in every state, in several dtypes; one entry is known of each."""
    cells = []
    for name in names:
        own = {"backend": name}
        cells += [
            cell(**own, errors=ERRORS, precision={"y": 24.1}, seconds=0.5, outputs=1000),
            cell("conv2d-sum", "fail", **own, findings=[WRONG], errors=ERRORS),
            cell("conv2d-sum", **own, dtype="float64"),
            cell("groups", "crash", **own),
            cell("locality", "deviation", **own, witnesses={"mine-leaks": "reproduced"}, findings=[KNOWN]),
            cell("max-pool-nan", "unsupported", **own, reason="it has no max_pool"),
            cell("same-lower", "not run", **own),
            cell("batch-invariance", "fail", **own, level="SHOULD"),
        ]
    return run_of(*cells, entries={name: known(name)[name] for name in names})


def apart():
    """Three backends, one of which alone breaks a clause."""
    names = ("mine", "torch", "numpy")
    broken = cell("conv2d-sum", "fail", backend="torch", findings=[WRONG])
    return run_of(*(cell(backend=n) for n in names), broken, *(cell("conv2d-sum", backend=n) for n in names[::2]))


def evil():
    """A backend that writes markup wherever it can."""
    said = replace(WRONG, message=EVIL, call=EVIL, expected=EVIL, got=EVIL, stderr=EVIL, diagnosis=EVIL, error=EVIL)
    entry = ENTRY | {"reason": EVIL, "url": "javascript:alert(1)", "place": EVIL}
    made = run_of(
        cell("conv2d-sum", "fail", backend=EVIL, findings=[said]),
        cell("groups", "unsupported", backend=EVIL, reason=EVIL),
        cell("locality", "deviation", backend=EVIL, witnesses={"mine-leaks": "reproduced"}),
        cell("same-lower", backend=EVIL, reading=EVIL),
        entries={EVIL: {"mine-leaks": entry}},
    )
    made["backends"][EVIL] |= {"versions": {EVIL: EVIL}, "device": EVIL}
    return made


def earlier():
    """The same backends a month before, when one clause was right and another wrong."""
    old = copy.deepcopy(board())
    old["date"] = "2026-01-05T12:00:00+00:00"
    for one in old["cells"]:
        if one["clause"] == "conv2d-sum":
            one |= {"state": "pass", "findings": []}
        if one["clause"] == "size-formula":
            one["state"] = "unsupported"
    for name in old["summary"]:
        old["summary"][name] |= counts(old["cells"], name)
    return old
