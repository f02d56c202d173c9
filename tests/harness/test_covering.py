"""The covering arrays: from their data alone, every two and every three levels that can meet do meet."""

import itertools
import json

import numpy as np
import pytest

from convspec.harness.cases import covering
from convspec.harness.cases.case import CONVOLUTIONS, POOLS
from convspec.harness.cases.formats import FLOATS
from convspec.harness.cases.recipes import arrays
from convspec.harness.cases.strategies import all_windows_have_taps
from convspec.harness.oracle.truth import truths

KINDS = ("convolution", "pooling")
OPS = (*CONVOLUTIONS, *POOLS[:2])
FREE = ("dtype", "layout", "batch")  # no constraint speaks of them


def allowed(kind):
    """Every combination of levels that no constraint forbids, as indices; without the attributes that are free."""
    factors = {name: levels for name, levels in covering.FACTORS[kind].items() if name not in FREE}
    indices = np.indices([len(levels) for levels in factors.values()]).reshape(len(factors), -1)
    keep = np.ones(indices.shape[1], bool)
    for constraint in covering.constraints(kind):
        at = [list(factors).index(field) for field in constraint.fields]
        table = np.zeros([len(factors[field]) for field in constraint.fields], bool)
        for levels in np.ndindex(table.shape):
            row = {field: factors[field][i] for field, i in zip(constraint.fields, levels, strict=True)}
            table[levels] = constraint.allows(row)
        keep &= table[tuple(indices[at])]
    return dict(zip(factors, indices[:, keep], strict=True))


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def possible(kind):
    return allowed(kind)


def met(names, factors, columns):
    """Which combinations of these attributes' levels occur: an array of booleans, one axis for each."""
    seen = np.zeros([len(factors[name]) for name in names], bool)
    seen[tuple(columns[name] for name in names)] = True
    return seen


def can_meet(names, factors, possible):
    bound = [name for name in names if name not in FREE]
    table = met(bound, factors, possible) if bound else np.ones((), bool)
    shape = [1 if name in FREE else len(factors[name]) for name in names]
    return np.broadcast_to(table.reshape(shape), [len(factors[name]) for name in names])


@pytest.mark.parametrize("strength", [2, 3])
def test_every_combination_that_can_occur_does(kind, possible, strength):
    """Pairs of the array for level quick, triples (and so pairs) of the other; the dtype is one of the attributes."""
    told = covering.arrays()
    factors = {name: tuple(levels) for name, levels in told["factors"][kind].items()}
    assert factors == covering.FACTORS[kind]
    rows = np.array([[int(index) for index in row] for row in told["rows"][kind][str(strength)]])
    columns = dict(zip(factors, rows.T, strict=True))
    missing, impossible = [], []
    for names in itertools.combinations(factors, strength):
        can, does = can_meet(names, factors, possible), met(names, factors, columns)
        missing += [(names, levels) for levels in np.argwhere(can & ~does).tolist()]
        impossible += [(names, levels) for levels in np.argwhere(does & ~can).tolist()]
    assert missing == []
    assert impossible == []


def test_the_count_of_combinations_is_that_of_the_definition(kind, possible):
    """Written out once the slow way for three attributes, so that the tables above are not taken on trust."""
    names = ("padding", "h", "kh")
    factors = covering.FACTORS[kind]
    table = can_meet(names, factors, possible)
    never = {("VALID", "one", "even"), ("VALID", "one", "odd")}
    for levels in np.ndindex(table.shape):
        told = tuple(factors[name][i] for name, i in zip(names, levels, strict=True))
        assert table[levels] == (told not in never)


def test_each_triple_that_cannot_occur_has_its_reason(kind, possible):
    """What is left out is left out by a constraint that holds whatever else is chosen, or by several together."""
    factors = covering.FACTORS[kind]
    reasons, together = set(), []
    for names in itertools.combinations(factors, 3):
        for levels in np.argwhere(~can_meet(names, factors, possible)).tolist():
            row = {name: factors[name][i] for name, i in zip(names, levels, strict=True)}
            found = [c.why for c in covering.constraints(kind) if _always_forbids(c, row, factors)]
            reasons |= set(found)
            together += [] if found else [row]
    assert "VALID: a kernel larger than the image gives no output" in reasons
    # VALID over one pixel asks for kernels of 1, and those two for an image of more than one pixel.
    assert all(row == {"padding": "VALID", "h": "one", "w": "one"} for row in together), together
    assert len(together) == 1


def _always_forbids(constraint, row, factors):
    if not set(constraint.fields) & set(row):
        return False
    others = [f for f in constraint.fields if f not in row]
    choices = itertools.product(*(factors[f] for f in others))
    return not any(constraint.allows(row | dict(zip(others, c, strict=True))) for c in choices)


def test_a_constraint_forbids_on_an_axis_what_has_no_case_and_nothing_else(kind):
    """Of all levels of one axis together: a constraint speaks exactly where no sizes and paddings can be found."""
    factors, names = covering.FACTORS[kind], covering.AXES[0]
    row = {name: levels[-1] for name, levels in factors.items()} | {"w": "large", "kw": "odd", "groups": "one"}
    if kind == "pooling":
        del row["groups"]
    forbidden = 0
    for levels in itertools.product(factors["padding"], *(factors[name] for name in names)):
        told = row | dict(zip(("padding", *names), levels, strict=True))
        allows = all(c.allows(told) for c in covering.constraints(kind))
        for turn in range(6):
            assert (covering.realised(told, turn) is not None) == allows, (told, turn)
        forbidden += not allows
    assert forbidden > 0


@pytest.mark.parametrize("level", ["quick", "standard", "deep"])
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_cases_are_distinct_sound_and_never_symmetric(dtype, op, level):
    cases = list(covering.cases(dtype, op, level))
    assert len(cases) == len({c.but(seed=0, recipe="") for c in cases})
    for case in cases:
        assert case.op == op
        assert case.dtype == dtype
        assert min(case.y) > 0
        assert case.x[1] != case.x[2] or case.kernel[0] != case.kernel[1]
        assert case.is_convolution or all_windows_have_taps(case)


@pytest.mark.parametrize("dtype", FLOATS)
def test_no_case_is_vacuous(dtype):
    """Each has an answer with something in it; a single product in a single output is none."""
    for case in (c for op in OPS for c in covering.cases(dtype, op, "standard")):
        found = truths(case, arrays(case))
        assert all(np.any(truth.value) for truth in found), case.describe()
        assert case.taps > 1 or found[0].value.size > 1, case.describe()


def test_levels_mean_what_they_say():
    """Read back from the cases themselves: each level of each attribute is one of the array's rows."""
    rows = covering.rows("convolution", 3)
    for turn, row in enumerate(rows):
        case = covering.realised(row, turn)
        assert case.strides == (int(row["sh"]), int(row["sw"]))
        assert case.dilations == (int(row["dh"]), int(row["dw"]))
        assert case.x[0] == int(row["batch"])
        for size, kernel, at in (("h", "kh", 0), ("w", "kw", 1)):
            n, k = case.x[1 + at], case.kernel[at]
            assert row[size] == ("one" if n == 1 else "small" if n < 8 else "large")
            assert n < 8 or n > 16
            assert row[kernel] == ("one" if k == 1 else "odd" if k % 2 else "even")
        for what, n in (("channels", case.x[3]), ("filters", case.filters)):
            assert row[what] == ("one" if n == 1 else "wide" if n > 8 else "few")
        assert row["groups"] == ("one" if case.groups == 1 else "depthwise" if case.groups == case.x[3] else "several")
        if row["padding"] in ("SAME", "VALID"):
            assert case.padding == row["padding"]
        else:
            assert all((a == b) == (row["padding"] == "symmetric") for a, b in case.padding)


def test_the_arrays_are_those_that_the_library_makes():
    """With the library of the recorded version the small arrays are made anew; the large take half a minute."""
    if covering.library() != covering.arrays()["made_with"]:
        pytest.skip(f"made with {covering.arrays()['made_with']}; here is {covering.library()}")
    for kind in KINDS:
        assert covering.make(kind, 2) == covering.arrays()["rows"][kind]["2"]


def test_the_file_is_written_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(covering, "make", lambda kind, strength: covering.arrays()["rows"][kind][str(strength)])
    monkeypatch.setattr(covering, "library", lambda: covering.arrays()["made_with"])
    monkeypatch.setattr(covering, "__file__", str(tmp_path / "covering.py"))
    covering.main()
    assert json.loads((tmp_path / covering.FILE).read_text(encoding="utf-8")) == covering.arrays()
