"""Past bugs of geometry, of empty images and results, and of the forward convolution.

May import this folder only. Listed in `past_bugs`, which says how to read them.
"""

from __future__ import annotations

from .past_bug import ONE, PastBug, back, conv, pool

GEOMETRY = (
    PastBug(
        "pytorch/pytorch#3867",
        "A replacement for SAME posted in the thread divided downwards: 28 pixels at stride 3 gave 9 outputs, not 10.",
        "same-output-size",
        (conv((1, 28, 28, 1), (1, 1), 2, strides=(3, 3), padding="SAME"),),
    ),
    PastBug(
        "microsoft/onnxruntime#495",
        "SAME at stride 2: the format's text asked for an output as large as the input, the runtime divided it.",
        "same-output-size",
        (conv((1, 7, 5, 1), (3, 3), 2, strides=(2, 2), padding="SAME"),),
    ),
    PastBug(
        "tensorflow/tensorflow#3392",
        "SAME with a filter larger than the image was refused wherever the image's size was known.",
        "same-output-size",
        (conv((1, 2, 2, 3), (3, 3), 10, padding="SAME"),),
    ),
    PastBug(
        "keras-team/keras#20774",
        "SAME pooling over the torch backend gave one column less than its own shape inference said.",
        "same-output-size",
        (pool((1, 9, 3, 2), (2, 2), strides=(2, 2), padding="SAME"),),
        "chosen",
    ),
    PastBug(
        "vtjeng/MIPVerify.jl#23",
        "SAME was split evenly: 6 pixels under 3 taps at stride 2 got a pixel on either side, not one at the end.",
        "same-odd-pixel-last",
        (conv((1, 6, 6, 2), (3, 3), 1, strides=(2, 2), padding="SAME"),),
    ),
    PastBug(
        "tensorflow/tensorflow#1991",
        "SAME padded where the stride is larger than the kernel, and so read the wrong pixels.",
        "same-minimal-padding",
        (
            conv((1, 4, 4, 1), (1, 1), 1, strides=(2, 2), padding="SAME"),
            pool((1, 4, 4, 1), (1, 1), strides=(2, 2), padding="SAME"),
        ),
    ),
    PastBug(
        "tensorflow/tensorflow#889",
        "A stride larger than the kernel was refused, as the 1x1 shortcuts of residual networks have it.",
        "stride-skips-pixels",
        (conv((1, 5, 6, 2), (1, 1), 3, strides=(2, 2)),),
        "chosen",
    ),
    PastBug(
        "keras-team/keras#18535",
        "Over the torch backend SAME in capitals was not recognised: the depthwise result was four columns short.",
        "same-stride-one-keeps-size",
        (conv((1, 6, 13, 3), (1, 5), 3, padding="SAME", groups=3),),
        "reduced",
    ),
    PastBug(
        "tinygrad/tinygrad#17805",
        "SAME took the dilation of the other axis; the tests had one dilation for both.",
        "same-with-dilation",
        (conv((1, 28, 31, 3), (3, 5), 8, padding="SAME", dilations=(2, 3)),),
    ),
    PastBug(
        "tensorflow/tensorflow#18454",
        "The CPU kernel took a dilation, gave the dilated shape, and computed without it.",
        "effective-kernel",
        (conv((1, 7, 7, 1), (3, 3), 1, dilations=(2, 2)),),
    ),
    PastBug(
        "pytorch/pytorch#141221",
        "float64 with dilation 2 on Windows: sums of nine ones came out as 81, from four filters on.",
        "effective-kernel",
        (conv((2, 8, 8, 1), (3, 3), 4, dilations=(2, 2)),),
        dtypes=("float64",),
    ),
    PastBug(
        "pytorch/pytorch#20583",
        "A width padding of 3 ended the process in an assertion of the CPU library, whatever the height's was.",
        "explicit-padding",
        (conv((1, 32, 32, 4), (3, 3), 4, padding=((1, 1), (3, 3))),),
        "reduced",
    ),
    PastBug(
        "pytorch/pytorch#100940",
        "Compiled, a padding of 3 around 5x3 taps at strides 2 and 1 was refused: dimensions are invalid.",
        "explicit-padding",
        (conv((3, 7, 14, 8), (5, 3), 16, strides=(2, 1), padding=((3, 3), (3, 3))),),
    ),
)

EMPTY = (
    PastBug(
        "tensorflow/tensorflow#238",
        "A batch of no images ended the process: division by zero.",
        "empty-batch",
        (conv((0, 28, 28, 1), (5, 5), 32, padding="SAME"),),
    ),
    PastBug(
        "pytorch/pytorch#63299",
        "A batch of no images was refused once the weights lay channels last.",
        "empty-batch",
        (conv((0, 100, 50, 3), (3, 3), 16), conv((0, 100, 50, 3), (3, 3), 16, layout="F")),
    ),
    PastBug(
        "pytorch/pytorch#56998",
        "No input channels: a crash, and later a result without output channels.",
        "no-input-channels",
        (conv((1, 1, 10, 0), (1, 1), 16),),
        "chosen",
    ),
    PastBug(
        "pytorch/pytorch#101356",
        "No input channels: compiled and eager disagree on the number of output channels.",
        "no-input-channels",
        (conv((3, 16, 16, 0), (3, 3), 8, strides=(2, 1)),),
    ),
    PastBug(
        "tensorflow/tensorflow#65214",
        "A kernel larger than the image gave a result of the image's own size on one system, an empty one on another.",
        "conv2d-empty-output",
        (conv((1, 2, 2, 1), (3, 3), 1),),
    ),
    PastBug(
        "tensorflow/tensorflow#109175",
        "A kernel that only its dilation makes larger than the image is answered without a word.",
        "conv2d-empty-output",
        (conv((1, 1, 4, 1), (1, 3), 1, dilations=(1, 3)),),
        "chosen",
    ),
    PastBug(
        "jax-ml/jax#1794",
        "Convolutions of images of size 0 went wrong.",
        "conv2d-empty-output",
        (conv((1, 0, 4, 2), (2, 2), 3, padding="SAME"), conv((2, 3, 0, 1), (3, 3), 2, padding="SAME")),
        "chosen",
    ),
    PastBug(
        "tensorflow/tensorflow#57401",
        "The gradient of an empty convolution ended the process.",
        "conv2d-gradient-empty",
        (back((1, 34, 1, 1), (3, 3), 1, strides=(2, 2)),),
    ),
    PastBug(
        "microsoft/onnxruntime#1224",
        "Two frameworks disagreed on whether a dilated window of 5 pixels over 4 gives one output or none.",
        "max-pool-empty-output",
        (pool((1, 1, 4, 1), (1, 3), strides=(1, 2), dilations=(1, 2)),),
    ),
    PastBug(
        "microsoft/onnxruntime#25234",
        "A window larger than the image gave one column where the formula gives none.",
        "max-pool-empty-output",
        (pool((1, 7, 3, 2), (1, 4)),),
        "chosen",
    ),
)

CONVOLUTION = (
    PastBug(
        "pytorch/pytorch#19912",
        "Four channels, sixteen filters, two groups: one pixel of one channel reached no output on the CPU.",
        "groups",
        (
            conv((1, 1, 1, 4), (1, 1), 16, groups=2, recipe="impulse-x"),
            conv((1, 1, 1, 4), (1, 1), 16, groups=2),
        ),
    ),
    PastBug(
        "pytorch/pytorch#21597",
        "Wrong results on the CPU with 6 input channels, right ones with 8, 12 and 16.",
        "conv2d-sum",
        (conv((1, 10, 11, 6), (3, 3), 8, padding=ONE),),
        "chosen",
    ),
    PastBug(
        "pytorch/pytorch#49462",
        "Kernels beyond 16 pixels were refused from a batch of 16 on.",
        "conv2d-sum",
        (conv((16, 18, 20, 1), (18, 18), 2),),
        "reduced",
    ),
    PastBug(
        "pytorch/pytorch#35655",
        "A sum of nothing but zeros came out as 5.03 on a GPU, through a transform, with 640 channels.",
        "exact-on-lattice",
        (
            conv((1, 5, 5, 640), (5, 5), 1),
            conv((1, 5, 5, 320), (5, 5), 1, recipe="cancel"),
        ),
    ),
    PastBug(
        "tensorflow/tensorflow#1299",
        "Positive images under a kernel of ones: negative results, from a batch of 4 on.",
        "batch-items-independent",
        (conv((4, 33, 33, 1), (5, 5), 1, padding="SAME"),),
    ),
    PastBug(
        "tensorflow/tensorflow#56680",
        "bfloat16 images gave an empty float32 result.",
        "conv2d-dtype-preserved",
        (conv((1, 56, 56, 1), (1, 56), 1, padding="SAME"),),
        dtypes=("bfloat16",),
    ),
    PastBug(
        "tensorflow/tensorflow#19992",
        "The depthwise operation ignored its dilations.",
        "depthwise",
        (conv((1, 32, 64, 3), (2, 2), 3, dilations=(2, 2), groups=3),),
    ),
    PastBug(
        "torch/cunn#470",
        "The depthwise kernel mixed up height and width.",
        "depthwise",
        (conv((1, 4, 7, 2), (2, 3), 2, groups=2), back((1, 4, 7, 2), (2, 3), 2, groups=2)),
        "chosen",
    ),
    PastBug(
        "tensorflow/tensorflow#57128",
        "Depthwise with stride 2 and dilation 3: one row and one column less on the CPU than on the TPU.",
        "attributes-combine",
        (conv((1, 16, 18, 3), (3, 3), 3, strides=(2, 2), dilations=(3, 3), groups=3),),
        "reduced",
    ),
    PastBug(
        "tensorflow/tensorflow#100237",
        "Depthwise with stride 2 and dilations 1 and 2: documented as refused, answered, and wrong.",
        "attributes-combine",
        (conv((1, 4, 4, 3), (2, 2), 6, strides=(2, 2), padding="SAME", dilations=(1, 2), groups=3),),
        "chosen",
    ),
)
