"""For every clause a wrong backend that its check catches and no other does, or the reason why there can be none.

Two checks ask everything together, whatever clause it is of: that they catch a backend as well counts for nothing.
"""

import json
from itertools import product
from pathlib import Path

import pytest

from convspec.harness.check import Check
from convspec.harness.verdict import Cell
from convspec.spec import clause, clauses
from mutants import ZOO
from mutants.suite import CELLS, functions_of
from mutants.test_detection import judge_of

MATRIX = json.loads((Path(__file__).resolve().parent / "matrix.json").read_text(encoding="utf-8"))
UMBRELLAS = {"attributes-combine", "tail-sizes"}

#: MUST clause: a wrong backend that its check alone catches, at level quick or standard. The findings of the two
#: clauses about memory are made in whatever check the call is made; there, all findings are of that clause.
ALONE = {
    "accumulate-at-least-float32": "LongHalvesInBfloat16",
    "accumulate-gradients-at-least-float32": "GradientHalvesInBfloat16",
    "algorithm-declared": "WinogradWhenLarge",
    "attributes-combine": "OnePixel",
    "batch-items-independent": "BatchSharesChannel",
    "bias-added": "BiasInBfloat16",
    "calls-are-independent": "KeptByHead",
    "consistency-of-padding-taps": "PaddingInconsistent",
    "conv2d-cross-correlation": "SparseImageFlips",
    "conv2d-empty-output": "NegativeSizeKept",
    "conv2d-filter-gradient": "SparseFilterGradientFlipped",
    "conv2d-gradient-adjoint": "SevenLosesLastColumn",
    "conv2d-gradient-dilations": "UndilatedOnly",
    "conv2d-gradient-empty": "EmptyBatchGradient",
    "conv2d-gradient-explicit-padding": "PadsSwappedOnly",
    "conv2d-gradient-groups": "GroupsReversedOnly",
    "conv2d-gradient-nan": "NanGradientDropped",
    "conv2d-gradient-padding": "GradientThreeRowsPadded",
    "conv2d-gradient-strides": "PointStridesOnly",
    "conv2d-gradient-unread-pixels": "UnreadGetsNeighbours",
    "conv2d-infinity": "InfMinusInfIsZero",
    "conv2d-input-gradient": "SparseInputGradientTwice",
    "conv2d-nan": "NanIsZeroOnly",
    "conv2d-overflow": "OverflowsEarly",
    "conv2d-sum": "BatchEvenSameOnly",
    "convolution-activation-pooling": "PoolAfterRelu",
    "depthwise": "TallTailZeroOnly",
    "deterministic": "TunedAtThird",
    "effective-kernel": "SparseImageReach",
    "effective-precision": "Tf32WhenAlignedOnly",
    "effective-precision-gradients": "FilterGradientTermLostOnly",
    "empty-batch": "EmptyBatchOfOne",
    "error-bound": "RunningSums",
    "error-bound-gradients": "SmallGradientsLost",
    "error-channel-mismatch": "FilterBroadcast",
    "error-dilations-positive": "DilationZeroIsOne",
    "error-dtype-mismatch": "MixedTypesPromoted",
    "error-gradient-shape": "GradientBroadcast",
    "error-groups-divide": "ShortLastGroup",
    "error-ksize-positive": "KsizeZeroIsOne",
    "error-negative-padding": "NegativePaddingCrops",
    "error-rank": "RankThreeTaken",
    "error-strides-positive": "NegativeStrideIsPositive",
    "error-unknown-padding": "UnknownPaddingIsValid",
    "errors-leave-no-trace": "RefusedCallLeavesRest",
    "exact-on-lattice": "GroupedFloat16Sums",
    "explicit-padding": "Float64DilatedExplicit",
    "full-precision-inputs": "WholeNumbersInSixteenBits",
    "gradient-type-and-shape": "GradientsSwappedWhenAlike",
    "fused-block": "BlockBiasAfterRelu",
    "fused-block-empty-batch": "BlockOfNothingNotPooled",
    "fused-block-gradient": "BlockReluPassesZero",
    "groups": "GroupedTallStrideOnly",
    "inputs-unchanged": "GradientWritesInput",
    "large-sums": "LongPositiveSums",
    "layout-nhwc-hwio": "FortranIsNchwOnly",
    "locality": "OrderByLargest",
    "max-pool-all-minus-infinity": "LowestOnly",
    "max-pool-argmax-first": "ArgmaxLast",
    "max-pool-channels-independent": "TallChannelAlone",
    "max-pool-dilation": "PoolDilationAtMostTwoOnly",
    "max-pool-empty-batch": "PoolEmptyBatch",
    "max-pool-empty-output": "PoolEmptyOutputOfOne",
    "max-pool-explicit-padding": "PoolPadSidesSwappedOnly",
    "max-pool-gradient-dilation": "DilatedPoolGradientFloat16",
    "max-pool-gradient-empty": "EmptyPoolGradient",
    "max-pool-gradient-first-maximum": "NearTiesAreTies",
    "max-pool-gradient-nan": "NanGetsNothing",
    "max-pool-gradient-no-valid-tap": "NoElementToFirst",
    "max-pool-gradient-overlaps-add": "OverlapsInBfloat16",
    "max-pool-gradient-padding": "PoolGradientMoved",
    "max-pool-infinity": "LargestOnly",
    "max-pool-integers": "NegativeTwiceIsNothing",
    "max-pool-maximum": "NearTiesOnly",
    "max-pool-nan": "NanDroppedOnly",
    "max-pool-no-valid-tap": "NoElementIsNearest",
    "max-pool-overlapping-windows": "OverlapLastRow",
    "max-pool-padding-never-wins": "PoolWidthTailOnly",
    "max-pool-window-larger-than-input": "LargeWindowFirstRowOnly",
    "memory-layouts": "StridedNonContiguous",
    "no-input-channels": "NoChannelsNoFilters",
    "no-tap-lost": "DilationThreeLosesColumn",
    "output-depth": "NoFilterOneChannel",
    "padding-contributes-nothing": "ZeroPointPadding",
    "per-axis-attributes": "OneTapStridesExchanged",
    "pointwise-is-matrix-product": "PointwiseTileOfEight",
    "result-owns-its-memory": "PoolView",
    "same-lower": "SameLowerIsSame",
    "same-minimal-padding": "PointPoolPadsStride",
    "same-odd-pixel-last": "OneTapOddPixelFirst",
    "same-output-size": "PoolRowUnderStride",
    "same-stride-one-keeps-size": "ElevenPadsFour",
    "same-total-padding": "OneTapPadsWholeKernel",
    "same-with-dilation": "DilationFourPadsThree",
    "size-formula": "AlikePadsHalved",
    "stride-skips-pixels": "SingleElementSqueezedOnly",
    "tail-sizes": "BlocksExchanged",
    "valid-output-size": "OneTapValidSize",
    "weight-sharing": "PaddedByHand",
}

#: MUST clauses without one, and why.
SHARED = {
    "conv2d-dtype-preserved": "every check looks at the dtype of each answer; this one asks what others ask too",
    "max-pool-type-unchanged": "every check looks at the dtype of each answer; this one asks pools that others ask too",
}


def test_every_must_clause_has_its_mutant_or_a_reason():
    musts = {c.slug for c in clauses().values() if c.level == "MUST" and c.scope == "backend"}
    assert set(ALONE) | set(SHARED) == musts
    assert not set(ALONE) & set(SHARED)
    assert set(ALONE.values()) <= set(ZOO)
    assert len(set(ALONE.values())) == len(ALONE)


def is_alone(slug, found):
    """Whether one clause, umbrellas aside, is behind all findings of MUST clauses: (check, dtype, clause) each."""
    found = [f for f in found if clause(f[2]).level == "MUST"]
    others = UMBRELLAS - {slug}
    return any({f[which] for f in found} - others == {slug} for which in (0, 2))


def test_alone_means_one_check_or_one_clause():
    assert is_alone("groups", [("groups", "float32", "groups"), ("tail-sizes", "float32", "tail-sizes")])
    assert is_alone("inputs-unchanged", [("groups", "float32", "inputs-unchanged")])
    assert not is_alone("groups", [("groups", "float32", "groups"), ("depthwise", "float32", "depthwise")])
    assert not is_alone("groups", [("tail-sizes", "float32", "tail-sizes")])


@pytest.mark.zoo
@pytest.mark.parametrize("slug", sorted(ALONE))
def test_clause_catches_its_mutant(slug):
    dtypes = [dtype for checked, dtype in CELLS if checked == slug]
    for level, dtype in product(("quick", "standard"), dtypes):  # the narrowest take the draws of the default level
        with judge_of(ALONE[slug], level) as judge:
            cell = Cell(slug, clause(slug).level, dtype, "local")
            for function in functions_of(slug, dtype):
                function(Check(judge, cell, level=level, seed=20))
            if any(finding.clause == slug for finding in cell.findings):
                return
    pytest.fail(f"{ALONE[slug]} ({ZOO[ALONE[slug]].zoo.what}) passes {slug}")


@pytest.mark.zoo
@pytest.mark.parametrize("slug", sorted(s for s, name in ALONE.items() if name in MATRIX))
def test_no_other_check_catches_it(slug):
    found = MATRIX[ALONE[slug]]  # at quick: where its own check needs `standard`, an umbrella may be all there is
    nobody = all(f[0] in UMBRELLAS for f in found)
    assert nobody or is_alone(slug, found), sorted({f[0] for f in found} - {slug} - UMBRELLAS)
