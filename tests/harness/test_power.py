"""What a run could have caught: readings told apart, those out of reach, cases that could tell nothing."""

import pytest
from local import LocalBackend

from convspec.adapters import Contract, Unsupported
from convspec.harness.cases.case import Case
from convspec.harness.cases.recipes import arrays
from convspec.harness.check import Check
from convspec.harness.judge import Judge, Question
from convspec.harness.oracle.readings import known, told_in
from convspec.harness.oracle.readings.correct import Correct
from convspec.harness.oracle.truth import truths
from convspec.harness.oracle.vacuous import vacuous
from convspec.harness.power import Power
from convspec.harness.report.results import power as summed
from convspec.harness.report.terminal import power_lines
from convspec.harness.verdict import Cell

SAME = Case("conv2d", (1, 4, 5, 1), (2, 2), filters=1, padding="SAME", recipe="impulse-w")
VALID = SAME.but(padding="VALID")


def put(case, power, backend=None, clause="conv2d-sum"):
    judge = Judge(LocalBackend(backend or Correct(), "right"))
    cell = Cell(clause, "MUST", case.dtype, "right")
    Check(judge, cell, level="quick", seed=1, power=power).each([case])
    return cell


def test_a_case_tells_what_it_would_have_failed():
    told = put(SAME, Power()).told
    assert {"OddPixelFirst", "TrueConvolution"} <= set(told)
    assert "OddPixelFirst" not in put(VALID, Power()).told
    assert "FloorsInSame" not in told


def test_a_reading_is_asked_only_until_it_is_told():
    power = Power()
    first, second = put(SAME, power), put(SAME.but(seed=1), power)
    assert "OddPixelFirst" in first.told
    assert "OddPixelFirst" not in second.told


class NoGroups(Correct):
    def conv2d(self, x, w, *, groups, **options):
        if groups > 1:
            raise Unsupported("no groups here")
        return super().conv2d(x, w, groups=groups, **options)


def test_what_the_backend_refuses_is_out_of_reach():
    grouped = Case("conv2d", (1, 4, 5, 6), (2, 2), filters=9, groups=3)
    assert put(grouped, Power()).told
    cell = put(grouped, Power(), NoGroups())
    assert not cell.told
    assert set(cell.reach.values()) == {"no groups here"}
    cell.conclude()
    told = summed([cell.to_dict()], "right", known())
    assert told["known"] == len(told["out_of_reach"]) + len(told["undistinguished"])
    assert "out of reach: no groups here" in "\n".join(str(line) for line in power_lines(told))


def test_what_the_contract_allows_is_out_of_reach():
    odd = Case("conv2d", (1, 4, 5, 3), (3, 3), filters=2, recipe="odd")
    assert "Tf32Inputs" in put(odd, Power()).told
    cell = put(odd, Power(Contract(tf32=True)))
    assert "Tf32Inputs" not in cell.told
    assert cell.reach["Tf32Inputs"] == "the declared contract allows it"


def test_a_reading_waits_for_the_cell_where_it_is_told():
    power = Power(cells=[("same-odd-pixel-last", "float32")])
    power.left["OddPixelFirst"].cells = frozenset({("same-odd-pixel-last", "float32")})
    assert "OddPixelFirst" not in put(SAME, power).told
    assert "OddPixelFirst" in put(SAME, power, clause="same-odd-pixel-last").told


def test_a_reading_that_its_cell_does_not_tell_is_asked_everywhere_after():
    power = Power()
    power.left["OddPixelFirst"].cells = frozenset({("locality", "float32")})
    assert "OddPixelFirst" not in put(VALID, power, clause="locality").told
    assert "OddPixelFirst" in put(SAME, power).told


@pytest.mark.parametrize(
    ("case", "clause", "nothing"),
    [
        (SAME, "conv2d-sum", False),
        (Case("conv2d", (1, 1, 1, 1), (1, 1), filters=1), "conv2d-sum", True),
        (Case("conv2d", (1, 3, 4, 0), (2, 2), filters=1), "no-input-channels", False),
        (Case("conv2d", (1, 3, 4, 1), (1, 1), filters=1, strides=(3, 1)), "conv2d-cross-correlation", True),
        (Case("conv2d", (1, 3, 4, 1), (1, 1), filters=1, strides=(3, 1)), "conv2d-sum", False),
        (Case("conv2d", (1, 3, 4, 1), (2, 2), filters=1, recipe="minus-zero"), "conv2d-sum", True),
        (Case("max_pool", (1, 3, 4, 1), (2, 2), recipe="signed-zeros"), "max-pool-maximum", True),
        (Case("max_pool", (0, 3, 4, 1), (2, 2), recipe="distinct"), "max-pool-empty-batch", False),
    ],
)
def test_vacuous_cases(case, clause, nothing):
    data = arrays(case)
    assert vacuous(case, data, truths(case, data), clause) is nothing


def test_vacuous_cases_are_counted():
    assert put(Case("conv2d", (1, 1, 1, 1), (1, 1), filters=1), None).vacuous == 1
    assert Judge(LocalBackend(Correct(), "right")).against_truth(SAME, Question("conv2d-sum")).vacuous is False


def test_where_a_reading_is_told_its_recorded_call_fits():
    """A reading that waits for a cell of another type than its recorded call's would wait in vain."""
    for name, cells in told_in().items():
        types = [call["dtype"] for call in known()[name].zoo.witness]
        types = {t for dtype in types for t in ((dtype,) if isinstance(dtype, str) else dtype)}
        assert {dtype for _, dtype in cells} <= types | {"all"}, name
