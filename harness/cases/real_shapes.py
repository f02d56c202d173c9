"""Layers of real networks: what kernels are tuned for, and what a port of a model meets first.

May import this folder only. Each line is a layer as its source gives it, for one image. Where a layer is too large for
a test its *filters* are reduced, never its image, its kernel or its channels, so that geometry and every sum stay
whole; where filters come in groups, whole groups go, and in a pool whole channels (see `Layer.case`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .case import Case, Padding, Pair

#: Where each network's layers are from: its paper, and the definition that the numbers were read in.
SOURCES = {
    "LeNet-5": "LeCun et al. 1998, Gradient-based learning applied to document recognition, fig. 2 (C3 taken dense)",
    "AlexNet": "Krizhevsky, Sutskever, Hinton 2012, section 3.5, with the 227 pixels that its numbers need",
    "VGG-16": "Simonyan, Zisserman, arXiv:1409.1556, table 1, column D",
    "GoogLeNet": "Szegedy et al., arXiv:1409.4842, table 1, with TensorFlow's SAME",
    "Inception v3": "Szegedy et al., arXiv:1512.00567; torchvision/models/inception.py",
    "ResNet-50": "He et al., arXiv:1512.03385, table 1, with the stride in the 3x3 as in torchvision/models/resnet.py",
    "ResNeXt-50": "Xie et al., arXiv:1611.05431, 32x4d; torchvision/models/resnet.py",
    "U-Net": "Ronneberger et al., arXiv:1505.04597, fig. 1",
    "DeepLab v3": "Chen et al., arXiv:1706.05587; rates 12, 24, 36 as in torchvision/models/segmentation/deeplabv3.py",
    "MobileNet v2": "Sandler et al., arXiv:1801.04381, table 2; torchvision/models/mobilenetv2.py",
    "MobileNet v3": "Howard et al., arXiv:1905.02244, table 1 (large); torchvision/models/mobilenetv3.py",
    "EfficientNet-B0": "Tan, Le, arXiv:1905.11946, table 1, with TensorFlow's SAME",
    "YOLOv3-SPP": "Redmon, Farhadi, arXiv:1804.02767, with the pools of darknet's yolov3-spp.cfg",
    "ConvNeXt-T": "Liu et al., arXiv:2201.03545, section 2; torchvision/models/convnext.py",
    "ViT-B/16": "Dosovitskiy et al., arXiv:2010.11929, section 3.1",
}

S1, S2 = (1, 1), (2, 2)
P0: Padding = "VALID"
P1: Padding = ((1, 1), (1, 1))
P2: Padding = ((2, 2), (2, 2))
P3: Padding = ((3, 3), (3, 3))

#: Products that a case may cost, which the filters are reduced to; and from which on a layer is left to level deep.
PRODUCTS = {"quick": 1_000_000, "standard": 1_000_000, "deep": 8_000_000}
HEAVY = 8_000_000


class Layer(NamedTuple):
    """One layer: `image` is height, width and channels; no filters means a max pool."""

    network: str
    name: str
    image: tuple[int, int, int]
    kernel: Pair
    filters: int
    strides: Pair = S1
    padding: Padding = P0
    dilations: Pair = S1
    groups: int = 1

    def case(self, dtype: str, level: str, number: int) -> Case:
        """The layer with as many filters (groups of them, or channels of a pool) as the level's products allow.

        Two at least: one alone could stand in the wrong place and not be seen.
        """
        height, width, channels = self.image
        each = self.filters // self.groups
        if self.filters:
            recipe = ("integers", "odd", "real")[number % 3]
            plain = Case("conv2d", (1, height, width, channels), self.kernel, filters=self.filters, groups=self.groups)
            parts, members = (self.groups, each) if self.groups > 1 else (self.filters, 1)
        else:
            recipe = ("distinct", "negative")[number % 2]
            plain = Case("max_pool", (1, height, width, channels), self.kernel)
            parts, members = channels, 1
        whole = plain.but(strides=self.strides, padding=self.padding, dilations=self.dilations, dtype=dtype)
        part = whole.window.output[0] * whole.window.output[1] * whole.taps * members
        kept = min(max(PRODUCTS[level] // part, 2), parts)
        changes = {"recipe": recipe, "seed": number}
        if not self.filters:
            return whole.but(x=(1, height, width, kept), **changes)
        if self.groups > 1:
            x = (1, height, width, channels // self.groups * kept)
            return whole.but(x=x, filters=kept * each, groups=kept, **changes)
        return whole.but(filters=kept, **changes)


LAYERS = (
    Layer("LeNet-5", "C1", (32, 32, 1), (5, 5), 6),
    Layer("LeNet-5", "C3", (14, 14, 6), (5, 5), 16),
    Layer("LeNet-5", "C5", (5, 5, 16), (5, 5), 120),
    Layer("AlexNet", "conv1", (227, 227, 3), (11, 11), 96, (4, 4)),
    Layer("AlexNet", "conv2", (27, 27, 96), (5, 5), 256, S1, P2, S1, 2),
    Layer("AlexNet", "conv3", (13, 13, 256), (3, 3), 384, S1, P1),
    Layer("AlexNet", "pool1", (55, 55, 96), (3, 3), 0, S2),
    Layer("AlexNet", "pool5", (13, 13, 256), (3, 3), 0, S2),
    Layer("VGG-16", "conv1_1", (224, 224, 3), (3, 3), 64, S1, P1),
    Layer("VGG-16", "conv1_2", (224, 224, 64), (3, 3), 64, S1, P1),
    Layer("VGG-16", "conv3_1", (56, 56, 128), (3, 3), 256, S1, P1),
    Layer("VGG-16", "conv5_1", (14, 14, 512), (3, 3), 512, S1, P1),
    Layer("VGG-16", "fc6 as a convolution", (7, 7, 512), (7, 7), 4096),
    Layer("VGG-16", "pool1", (224, 224, 64), (2, 2), 0, S2),
    Layer("VGG-16", "pool5", (14, 14, 512), (2, 2), 0, S2),
    Layer("GoogLeNet", "inception 3a, pool", (28, 28, 192), (3, 3), 0, S1, "SAME"),
    Layer("GoogLeNet", "pool 1", (112, 112, 64), (3, 3), 0, S2, "SAME"),
    Layer("Inception v3", "Conv2d_1a_3x3", (299, 299, 3), (3, 3), 32, S2),
    Layer("Inception v3", "Conv2d_2a_3x3", (149, 149, 32), (3, 3), 32),
    Layer("Inception v3", "Conv2d_3b_1x1", (73, 73, 64), (1, 1), 80),
    Layer("Inception v3", "Mixed_5b, 5x5", (35, 35, 48), (5, 5), 64, S1, P2),
    Layer("Inception v3", "Mixed_6a, 3x3", (35, 35, 288), (3, 3), 384, S2),
    Layer("Inception v3", "Mixed_6b, 1x7", (17, 17, 128), (1, 7), 128, S1, ((0, 0), (3, 3))),
    Layer("Inception v3", "Mixed_6b, 7x1", (17, 17, 128), (7, 1), 192, S1, ((3, 3), (0, 0))),
    Layer("Inception v3", "Mixed_7b, 1x3", (8, 8, 384), (1, 3), 384, S1, ((0, 0), (1, 1))),
    Layer("Inception v3", "maxpool1", (147, 147, 64), (3, 3), 0, S2),
    Layer("Inception v3", "Mixed_7a, pool", (17, 17, 768), (3, 3), 0, S2),
    Layer("ResNet-50", "conv1", (224, 224, 3), (7, 7), 64, S2, P3),
    Layer("ResNet-50", "layer1.0.conv1", (56, 56, 64), (1, 1), 64),
    Layer("ResNet-50", "layer1.0.conv2", (56, 56, 64), (3, 3), 64, S1, P1),
    Layer("ResNet-50", "layer2.0.conv2", (56, 56, 128), (3, 3), 128, S2, P1),
    Layer("ResNet-50", "layer2.0.downsample", (56, 56, 256), (1, 1), 512, S2),
    Layer("ResNet-50", "layer4.0.conv2", (14, 14, 512), (3, 3), 512, S2, P1),
    Layer("ResNet-50", "layer4.1.conv1", (7, 7, 2048), (1, 1), 512),
    Layer("ResNet-50", "maxpool", (112, 112, 64), (3, 3), 0, S2, P1),
    Layer("ResNeXt-50", "layer1.0.conv2", (56, 56, 128), (3, 3), 128, S1, P1, S1, 32),
    Layer("ResNeXt-50", "layer3.0.conv2", (28, 28, 512), (3, 3), 512, S2, P1, S1, 32),
    Layer("U-Net", "first", (572, 572, 1), (3, 3), 64),
    Layer("U-Net", "bottom", (32, 32, 512), (3, 3), 1024),
    Layer("U-Net", "after the first up", (56, 56, 1024), (3, 3), 512),
    Layer("U-Net", "last", (388, 388, 64), (1, 1), 2),
    Layer("U-Net", "pool 4", (64, 64, 512), (2, 2), 0, S2),
    Layer("DeepLab v3", "ASPP, rate 12", (28, 28, 2048), (3, 3), 256, S1, ((12, 12), (12, 12)), (12, 12)),
    Layer("DeepLab v3", "ASPP, rate 36", (28, 28, 2048), (3, 3), 256, S1, ((36, 36), (36, 36)), (36, 36)),
    Layer("MobileNet v2", "stem", (224, 224, 3), (3, 3), 32, S2, P1),
    Layer("MobileNet v2", "block 1, depthwise", (112, 112, 32), (3, 3), 32, S1, P1, S1, 32),
    Layer("MobileNet v2", "block 2, expand", (112, 112, 16), (1, 1), 96),
    Layer("MobileNet v2", "block 2, depthwise", (112, 112, 96), (3, 3), 96, S2, P1, S1, 96),
    Layer("MobileNet v2", "block 14, depthwise", (14, 14, 576), (3, 3), 576, S2, P1, S1, 576),
    Layer("MobileNet v2", "last", (7, 7, 320), (1, 1), 1280),
    Layer("MobileNet v3", "block 4, depthwise", (56, 56, 72), (5, 5), 72, S2, P2, S1, 72),
    Layer("MobileNet v3", "block 4, squeeze", (1, 1, 72), (1, 1), 24),
    Layer("MobileNet v3", "block 7, depthwise", (28, 28, 240), (3, 3), 240, S2, P1, S1, 240),
    Layer("MobileNet v3", "block 13, depthwise", (14, 14, 672), (5, 5), 672, S2, P2, S1, 672),
    Layer("MobileNet v3", "block 15, depthwise", (7, 7, 960), (5, 5), 960, S1, P2, S1, 960),
    Layer("EfficientNet-B0", "stem", (224, 224, 3), (3, 3), 32, S2, "SAME"),
    Layer("EfficientNet-B0", "stage 3, depthwise", (112, 112, 96), (3, 3), 96, S2, "SAME", S1, 96),
    Layer("EfficientNet-B0", "stage 4, depthwise", (56, 56, 144), (5, 5), 144, S2, "SAME", S1, 144),
    Layer("EfficientNet-B0", "stage 5, depthwise", (28, 28, 240), (3, 3), 240, S2, "SAME", S1, 240),
    Layer("EfficientNet-B0", "stage 7, depthwise", (14, 14, 672), (5, 5), 672, S2, "SAME", S1, 672),
    Layer("EfficientNet-B0", "stage 8, depthwise", (7, 7, 1152), (3, 3), 1152, S1, "SAME", S1, 1152),
    Layer("YOLOv3-SPP", "pool of 5", (19, 19, 512), (5, 5), 0, S1, "SAME"),
    Layer("YOLOv3-SPP", "pool of 13", (19, 19, 512), (13, 13), 0, S1, "SAME"),
    Layer("ConvNeXt-T", "stem", (224, 224, 3), (4, 4), 96, (4, 4)),
    Layer("ConvNeXt-T", "stage 1, depthwise", (56, 56, 96), (7, 7), 96, S1, P3, S1, 96),
    Layer("ViT-B/16", "patches", (224, 224, 3), (16, 16), 768, (16, 16)),
)

#: Every dtype but float32 takes one part of the table in four, another one each.
PARTS = {"float32": (0, 1), "float64": (1, 4), "float16": (2, 4), "bfloat16": (3, 4)}


def products(case: Case) -> int:
    """Products (or comparisons) that the whole call takes."""
    return case.y[1] * case.y[2] * case.y[3] * case.taps


def cases(dtype: str, level: str) -> Iterator[Case]:
    """The table at one level: LeNet-5 alone at quick; with gradients, and whole for every dtype, at deep.

    At level standard a dtype other than float32 asks its part, and what costs more than `HEAVY` with two filters waits.
    """
    part, of = (0, 1) if level == "deep" else PARTS[dtype]
    for number, layer in enumerate(LAYERS):
        if level == "quick" and layer.network != "LeNet-5":
            continue
        case = layer.case(dtype, level, number)
        if level == "standard" and (number % of != part or products(case) > HEAVY):
            continue
        yield case
        if level == "deep":
            yield case.but(op=f"{case.op}_vjp", recipe="integers" if case.is_convolution else "distinct")
