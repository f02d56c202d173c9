"""Bugs that frameworks had, or have: the situation of each as one small case or several, told of the clause it broke.

May import this folder only. The facts are from the threads named. Where a thread gives its shapes they are used, or
*reduced* (fewer images, filters, pixels or channels); where it gives none, the smallest that would show it is *chosen*.
"""

from __future__ import annotations

from collections.abc import Iterator

from .case import Case
from .past_bug import ONE, PastBug, back, conv, pool
from .past_bugs_forward import CONVOLUTION, EMPTY, GEOMETRY

#: Clauses about empty batches and outputs without an element, which a backend may refuse by their text.
MAY_REFUSE = frozenset({"empty-batch", "conv2d-empty-output", "max-pool-empty-output", "conv2d-gradient-empty"})

LAYOUT = (
    PastBug(
        "pytorch/pytorch#82060",
        "One input channel, weights channels last, image not: wrong on the CPU.",
        "memory-layouts",
        (conv((1, 20, 21, 1), (3, 3), 64, padding=ONE), conv((1, 20, 21, 1), (3, 3), 64, padding=ONE, layout="F")),
        "reduced",
    ),
    PastBug(
        "pytorch/pytorch#77299",
        "An image channels last: another result on the GPU than of its contiguous copy.",
        "memory-layouts",
        (conv((1, 7, 7, 3), (3, 3), 5), conv((1, 7, 7, 3), (3, 3), 5, layout="F")),
    ),
    PastBug(
        "pytorch/pytorch#180984",
        "A view of one channel of two: the other channel's values were read.",
        "memory-layouts",
        (conv((1, 1, 2, 1), (1, 1), 1, layout="strided"),),
    ),
    PastBug(
        "pytorch/pytorch#192212",
        "Weights that are a slice of a larger array were read as if they were packed.",
        "memory-layouts",
        (conv((2, 4, 5, 128), (3, 3), 3, layout="strided"),),
        "reduced",
    ),
    PastBug(
        "pytorch/pytorch#55781",
        "The same on ARM: whole blocks of the result differ.",
        "memory-layouts",
        (conv((1, 9, 10, 3), (3, 3), 4, layout="strided"), conv((1, 9, 10, 3), (3, 3), 4, layout="negative")),
        "chosen",
    ),
    PastBug(
        "pytorch/pytorch#78247",
        "Weights with a stride of 0 ended the process.",
        "memory-layouts",
        (conv((2, 16, 16, 3), (3, 11), 1, layout="broadcast"), conv((2, 16, 16, 3), (3, 11), 2, layout="broadcast")),
    ),
)

GRADIENTS = (
    PastBug(
        "torch/DEPRECATED-torch7-distro#20",
        "5x5 taps at stride 2 over 32 pixels: a gradient of 31 pixels, the unread ones left out.",
        "gradient-type-and-shape",
        (back((1, 32, 32, 1), (5, 5), 1, strides=(2, 2)),),
    ),
    PastBug(
        "pytorch/pytorch#25101",
        "Stride 3 with padding 1: wrong gradients of the image in some rows.",
        "conv2d-input-gradient",
        (back((1, 32, 32, 9), (5, 5), 3, strides=(3, 3), padding=ONE),),
    ),
    PastBug(
        "pytorch/pytorch#13008",
        "The gradient function refused what the forward one computes, with a dilation of 2.",
        "conv2d-gradient-dilations",
        (back((1, 5, 5, 1), (3, 3), 1, dilations=(2, 2)),),
    ),
    PastBug(
        "jax-ml/jax#567",
        "The image's gradient was wrong for a dilated kernel.",
        "conv2d-gradient-dilations",
        (back((1, 7, 8, 2), (3, 2), 3, dilations=(2, 3)),),
        "chosen",
    ),
    PastBug(
        "pytorch/pytorch#51430",
        "The weights' gradient was wrong with several groups.",
        "conv2d-gradient-groups",
        (back((2, 5, 6, 4), (3, 3), 6, groups=2),),
        "chosen",
    ),
    PastBug(
        "tracel-ai/burn#1891",
        "Depthwise at stride 2: the weights' gradient was put together from slices of the wrong sizes.",
        "conv2d-gradient-groups",
        (back((1, 4, 4, 4), (3, 3), 4, strides=(2, 2), padding=ONE, groups=4),),
    ),
    PastBug(
        "ml-explore/mlx#3800",
        "Groups and a stride together: the image's gradient off by 5 to 56 times its size, on the GPU.",
        "conv2d-gradient-groups",
        (
            back((1, 8, 9, 4), (3, 3), 4, strides=(2, 2), padding=ONE, groups=4),
            back((1, 8, 9, 4), (1, 1), 6, strides=(2, 2), groups=2),
        ),
        "chosen",
    ),
    PastBug(
        "keras-team/keras#22876",
        "The transposed convolution under SAME at stride 2 was moved by one pixel, in a result of the right shape.",
        "conv2d-gradient-padding",
        (back((1, 8, 8, 3), (3, 3), 2, strides=(2, 2), padding="SAME"),),
        "reduced",
    ),
    PastBug(
        "microsoft/onnxruntime#8769",
        "In the transposed convolution the two kinds of SAME were exchanged: the odd pixel on the wrong side.",
        "conv2d-gradient-padding",
        (
            back((1, 6, 6, 1), (2, 2), 2, padding="SAME"),
            back((1, 6, 8, 1), (3, 3), 1, strides=(2, 2), padding="SAME"),
        ),
        "chosen",
    ),
    PastBug(
        "tensorflow/tensorflow#11092",
        "SAME with a stride beyond the kernel: the gradient lay elsewhere than what the forward pass read.",
        "conv2d-gradient-unread-pixels",
        (back((2, 4, 4, 2), (2, 2), 3, strides=(4, 4), padding="SAME"),),
    ),
)

POOLING = (
    PastBug(
        "pytorch/pytorch#109586",
        "Negative values, channels last: the maximum was never below zero (there with integers).",
        "max-pool-maximum",
        (pool((1, 4, 6, 1), (2, 2), "negative", strides=(2, 2)),),
    ),
    PastBug(
        "pytorch/pytorch#7645",
        "NaN was passed over, and a window of NaN alone gave the lowest number.",
        "max-pool-nan",
        (pool((1, 1, 2, 1), (1, 2), "nan-in-x"), pool((1, 1, 2, 1), (1, 2), "nan-in-x", seed=1)),
    ),
    PastBug(
        "tensorflow/tensorflow#2501",
        "A window of NaN gave the lowest number on the CPU.",
        "max-pool-nan",
        (pool((1, 4, 1, 1), (2, 1), "some-nan", strides=(2, 1)), pool((1, 2, 1, 1), (2, 1), "nan-in-x")),
    ),
    PastBug(
        "tensorflow/tensorflow#125965",
        "Equal channels with a NaN gave unequal results: vectors keep it, what is left over drops it.",
        "max-pool-nan",
        (pool((1, 2, 2, 3), (2, 2), "some-nan"), pool((1, 2, 2, 5), (2, 2), "some-nan", seed=1)),
        dtypes=("float64", "float32"),
    ),
    PastBug(
        "tensorflow/tensorflow#12504",
        "The GPU's forward pass dropped NaN while its gradient kept it.",
        "max-pool-gradient-nan",
        (Case("max_pool_vjp", (1, 2, 6, 1), (2, 2), strides=(2, 2), recipe="some-nan"),),
        "chosen",
    ),
    PastBug(
        "microsoft/onnxruntime#29637",
        "A dilated window that begins on padding read the pixel beside its tap, on the GPU.",
        "max-pool-dilation",
        (pool((1, 1, 9, 1), (1, 2), padding=((0, 0), (1, 1)), dilations=(1, 2)),),
    ),
    PastBug(
        "microsoft/onnxruntime#1320",
        "A dilated window that begins on padding was cut to the image, out of step with its taps.",
        "max-pool-dilation",
        (pool((1, 6, 7, 1), (3, 2), "negative", padding=ONE, dilations=(2, 2)),),
        "chosen",
    ),
    PastBug(
        "huggingface/pytorch-image-models#2779",
        "SAME padded a dilated pool as if it were not: 2 x 3 outputs where there are 3 x 4.",
        "max-pool-dilation",
        (pool((1, 5, 7, 1), (3, 3), "negative", strides=(2, 2), padding="SAME", dilations=(2, 2)),),
    ),
    PastBug(
        "tracel-ai/burn#4466",
        "The pool's gradient took the height's dilation for both axes; every test had two equal ones.",
        "max-pool-gradient-dilation",
        (Case("max_pool_vjp", (1, 5, 8, 1), (2, 3), dilations=(1, 2), recipe="distinct"),),
        "chosen",
    ),
)

BUGS = (*GEOMETRY, *EMPTY, *CONVOLUTION, *LAYOUT, *GRADIENTS, *POOLING)


def cases(dtype: str) -> Iterator[tuple[str, Case]]:
    """Every case of every bug that this dtype can show, with the clause that it belongs to."""
    for number, bug in enumerate(BUGS):
        if dtype in bug.dtypes:
            yield from ((bug.clause, case.but(dtype=dtype, seed=case.seed + number)) for case in bug.cases)
