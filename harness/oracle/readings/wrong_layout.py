"""Wrong backends, class layout and groups: the memory, the channels or the groups are read another way."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool, pool_vjp
from .correct import Correct

X, W = (2, 4, 4, 2), (2, 2, 2, 3)


def memory(array):
    """The elements as they lie in memory, from the view's first on, taken for a C array of that shape."""
    if array.flags.c_contiguous or not array.size:
        return array
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    flat = base.ravel(order="K")
    start = (array.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // array.itemsize
    return np.resize(flat[max(start, 0) :], array.shape)


@mutant("layout", "inputs are read by their buffer, whatever their strides", conv(X, W, layout="F"))
class RawBuffer(Correct):
    def enter(self, op, *arrays):
        return tuple(map(memory, arrays))


@mutant("layout", "the filter is read by its buffer", conv(X, W, layout=("C", "F")))
class RawFilter(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], memory(arrays[1])) if op == "conv2d" else arrays


@mutant("layout", "dy is read by its buffer", conv_vjp(X, W, (2, 3, 3, 3), layout=("C", "C", "F")))
class RawGradient(Correct):
    def enter(self, op, *arrays):
        return (*arrays[:-1], memory(arrays[-1])) if op.endswith("vjp") else arrays


@mutant("layout", "max_pool reads its input by its buffer", pool(X, (2, 2), layout="nchw"))
class RawPool(Correct):
    def enter(self, op, *arrays):
        return tuple(map(memory, arrays)) if op == "max_pool" else arrays


@mutant("layout", "negative strides are read as positive", conv(X, W, layout=("negative", "C")))
class NegativeStrides(Correct):
    def enter(self, op, *arrays):
        return tuple(a[tuple(slice(None, None, -1 if s < 0 else 1) for s in a.strides)] for a in arrays)


@mutant("layout", "a broadcast input (stride 0) counts as zeros after its first", conv(X, W, layout=("broadcast", "C")))
class BroadcastInput(Correct):
    def enter(self, op, *arrays):
        if op != "conv2d" or 0 not in arrays[0].strides:
            return arrays
        x = np.zeros(arrays[0].shape, arrays[0].dtype)
        x[:, :1] = arrays[0][:, :1]
        return x, arrays[1]


@mutant("layout", "strides of 2 elements are read as 1", conv(X, W, layout=("strided", "C")))
class StridedInput(Correct):
    def enter(self, op, *arrays):
        x = arrays[0]
        gap = x.ndim == 4 and x.strides[3] == 2 * x.itemsize and x.shape[3] > 1
        return (memory(x), *arrays[1:]) if gap else arrays


@mutant("layout", "read-only inputs are refused", conv(X, W, layout=("readonly", "C")))
class ReadOnlyRefused(Correct):
    def enter(self, op, *arrays):
        for array in arrays:
            if not array.flags.writeable:
                raise ValueError("buffer source array is read-only")
        return arrays


@mutant("layout", "a Fortran-ordered input is taken for NCHW", conv((1, 4, 4, 4), (2, 2, 4, 1), layout=("F", "C")))
class FortranIsNchw(Correct):
    def enter(self, op, *arrays):
        x = arrays[0]
        f_only = op == "conv2d" and x.flags.f_contiguous and not x.flags.c_contiguous
        alike = f_only and x.shape[1] == x.shape[2] == x.shape[3]
        return (x.transpose(0, 2, 3, 1), arrays[1]) if alike else arrays


@mutant("layout", "as many channels as rows and columns: read as NCHW", conv((1, 3, 3, 3), (2, 2, 3, 1)))
class CubeIsNchw(Correct):
    def enter(self, op, *arrays):
        cube = op == "conv2d" and arrays[0].ndim == 4 and len(set(arrays[0].shape[1:])) == 1 < arrays[0].shape[1]
        return (arrays[0].transpose(0, 2, 3, 1), arrays[1]) if cube else arrays


@mutant("layout", "filters are HWOI where that fits", conv((1, 3, 3, 2), (2, 2, 2, 2)))
class FiltersHwoi(Correct):
    def enter(self, op, *arrays):
        fits = op == "conv2d" and arrays[1].ndim == 4 and arrays[1].shape[2] == arrays[1].shape[3]
        return (arrays[0], arrays[1].transpose(0, 1, 3, 2)) if fits else arrays


@mutant("layout", "height and width of square images are exchanged", conv((1, 4, 4, 1), (2, 2, 1, 1)))
class ImageTransposed(Correct):
    def enter(self, op, *arrays):
        square = op == "conv2d" and arrays[0].ndim == 4 and arrays[0].shape[1] == arrays[0].shape[2]
        return (arrays[0].transpose(0, 2, 1, 3), arrays[1]) if square else arrays


@mutant("layout", "the result is NCHW where that fits", conv((1, 3, 3, 1), (2, 2, 1, 2)))
class ResultNchw(Correct):
    def leave(self, op, result, *arrays):
        if op == "conv2d" and result.shape[1] == result.shape[2] == result.shape[3]:
            return np.ascontiguousarray(result.transpose(0, 3, 1, 2))
        return result


@mutant(
    "layout",
    "an input that starts inside a larger buffer is read one element early",
    conv(X, W, layout=("offset", "C")),
)
class OffsetForgotten(Correct):
    def enter(self, op, *arrays):
        x = arrays[0]
        if op != "conv2d" or x.base is None or x.base.ndim != 1 or not x.flags.c_contiguous:
            return arrays
        return x.base[: x.size].reshape(x.shape), arrays[1]


GROUPS = {"groups": 2}
XG, WG = (1, 3, 3, 4), (2, 2, 2, 6)


@mutant("groups", "groups are ignored: every filter of the first group's channels", conv(XG, WG, **GROUPS))
class FirstGroupOnly(Correct):
    def split_groups(self, op, what, array, groups):
        parts = super().split_groups(op, what, array, groups)
        return [parts[0]] * groups if what == "x" and op == "conv2d" else parts


@mutant("groups", "input channels are dealt out in turn (c % groups)", conv(XG, WG, **GROUPS))
class ChannelsInterleaved(Correct):
    def split_groups(self, op, what, array, groups):
        if what == "x" and op == "conv2d":
            return [array[..., g::groups] for g in range(groups)]
        return super().split_groups(op, what, array, groups)


@mutant("groups", "filters are dealt out in turn (o % groups)", conv(XG, WG, **GROUPS))
class FiltersInterleaved(Correct):
    def split_groups(self, op, what, array, groups):
        if what == "w" and op == "conv2d":
            return [array[..., g::groups] for g in range(groups)]
        return super().split_groups(op, what, array, groups)


@mutant("groups", "output channels are interleaved (shuffled)", conv(XG, WG, **GROUPS))
class OutputsInterleaved(Correct):
    def join_groups(self, op, what, parts):
        if what != "y":
            return super().join_groups(op, what, parts)
        return np.stack(parts, axis=-1).reshape(*parts[0].shape[:3], -1)


@mutant("groups", "groups come out in reverse order", conv(XG, WG, **GROUPS))
class GroupsReversed(Correct):
    def join_groups(self, op, what, parts):
        return super().join_groups(op, what, parts[::-1] if what == "y" else parts)


@mutant(
    "groups",
    "with 3 groups or more the last uses the filters of the one before",
    conv((1, 3, 3, 3), (2, 2, 1, 3), groups=3),
)
class LastGroupRepeats(Correct):
    def split_groups(self, op, what, array, groups):
        parts = super().split_groups(op, what, array, groups)
        return [*parts[:-1], parts[-2]] if what == "w" and groups > 2 and op == "conv2d" else parts


@mutant(
    "groups", "depthwise with a multiplier: filters lie multiplier first", conv((1, 3, 3, 3), (2, 2, 1, 6), groups=3)
)
class MultiplierFirst(Correct):
    def split_groups(self, op, what, array, groups):
        if what == "w" and op == "conv2d" and array.shape[2] == 1 and array.shape[3] > groups:
            return [array[..., g::groups] for g in range(groups)]
        return super().split_groups(op, what, array, groups)


@mutant(
    "groups",
    "depthwise with stride and dilation ignores the dilation",
    conv((1, 7, 7, 2), (2, 2, 1, 2), groups=2, strides=(2, 2), dilations=(2, 2)),
)
class DepthwiseStridedDilated(Correct):
    def conv2d(self, x, w, *, groups, **options):
        self.depthwise = groups > 1 and groups == x.shape[-1]
        return super().conv2d(x, w, groups=groups, **options)

    def offset(self, op, win, tap):
        both = op == "conv2d" and self.depthwise and win.strides[0] > 1
        return tap if both else super().offset(op, win, tap)


@mutant(
    "groups",
    "groups under SAME at stride 2: the odd pixel goes first",
    conv((1, 6, 6, 2), (3, 3, 1, 2), groups=2, strides=(2, 2), padding="SAME"),
)
class GroupedOddPixelFirst(Correct):
    def conv2d(self, x, w, *, groups, padding, **options):
        lower = groups > 1 and isinstance(padding, str) and padding.upper() == "SAME" and max(options["strides"]) > 1
        return super().conv2d(x, w, groups=groups, padding="SAME_LOWER" if lower else padding, **options)


@mutant("groups", "more than 8 groups are computed as 8", conv((1, 2, 2, 16), (1, 1, 1, 16), groups=16))
class GroupsOverEight(Correct):
    def join_groups(self, op, what, parts):
        return super().join_groups(op, what, parts[:8] + [p * 0 for p in parts[8:]] if what == "y" else parts)


@mutant("groups", "filter gradient: groups are interleaved", conv_vjp(XG, WG, (1, 2, 2, 6), **GROUPS))
class FilterGradientInterleaved(Correct):
    def join_groups(self, op, what, parts):
        if what != "dw":
            return super().join_groups(op, what, parts)
        return np.stack(parts, axis=-1).reshape(*parts[0].shape[:3], -1)


@mutant("groups", "input gradient: the groups are exchanged", conv_vjp(XG, WG, (1, 2, 2, 6), **GROUPS))
class InputGradientGroupsReversed(Correct):
    def join_groups(self, op, what, parts):
        return super().join_groups(op, what, parts[::-1] if what == "dx" else parts)


@mutant(
    "groups",
    "filter gradient of depthwise: summed over the group's filters",
    conv_vjp((1, 3, 3, 2), (2, 2, 1, 4), (1, 2, 2, 4), **GROUPS),
)
class DepthwiseGradientSummed(Correct):
    def filter_gradient(self, x, w, dy, win, dtype):
        dw = super().filter_gradient(x, w, dy, win, dtype)
        return np.broadcast_to(dw.sum(axis=3, keepdims=True), dw.shape) if x.shape[3] == 1 < w.shape[3] else dw


@mutant(
    "groups",
    "grouped convolution in float16 sums in float16",
    conv((1, 4, 4, 128), (3, 3, 64, 2), dtype="float16", data=("positive", "ones"), exact=True, **GROUPS),
)
class GroupedFloat16Sums(Correct):
    def split_groups(self, op, what, array, groups):
        self.grouped = groups > 1
        return super().split_groups(op, what, array, groups)

    def add(self, op, total, part, dtype):
        narrow = self.grouped and dtype == np.float16
        return (total + part).astype(dtype).astype(total.dtype) if narrow else total + part


@mutant(
    "groups",
    "one input channel and several filters is taken for depthwise: the filters are reversed",
    conv((1, 3, 3, 1), (2, 2, 1, 3)),
)
class OneChannelReversed(Correct):
    def forward(self, x, w, win, dtype):
        return super().forward(x, w[..., ::-1] if x.shape[3] == 1 and w.shape[3] > 2 else w, win, dtype)


@mutant(
    "layout",
    "max_pool_vjp reads a non-contiguous dy by its buffer",
    pool_vjp(X, (2, 3, 3, 2), (2, 2), layout=("C", "nchw")),
)
class RawPoolGradient(Correct):
    def enter(self, op, *arrays):
        return (arrays[0], memory(arrays[1])) if op == "max_pool_vjp" else arrays


@mutant("layout", "max_pool of more than 4 channels compares across pairs of channels", pool((1, 3, 3, 6), (2, 2)))
class ChannelsLeak(Correct):
    def leave(self, op, result, *arrays):
        if op == "max_pool" and result.shape[3] > 4:
            result[..., 4] = np.maximum(result[..., 4], result[..., 3])
        return result
