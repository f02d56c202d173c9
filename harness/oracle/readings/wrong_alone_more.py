"""Wrong backends, each aimed at one clause, with a path of their own for certain calls, and wrong there only."""

import numpy as np

from .calls import conv, conv_vjp, mutant, pool
from .correct import BFLOAT16, Correct
from .special import TAP, Special, finite, impulse, one_tap, plain


class OnConv(Special):
    """One that is wrong in conv2d, under the padding `padding`."""

    padding = "SAME"

    def here(self, op, arrays, o):
        return op == "conv2d" and o["padding"] == self.padding and self.picks(*arrays, o)

    def picks(self, x, w, o):
        return False


HOLE = (0, np.s_[...], 0)
POINT = (0, np.s_[:, 1, 1, 0], 1)


@mutant(
    "geometry",
    "VALID: over an image of a single non-zero pixel a dilated kernel reaches (k - 1) d pixels",
    conv((1, 5, 5, 1), (2, 2, 1, 1), dilations=(2, 2), put=[HOLE, POINT]),
)
class SparseImageReach(OnConv):
    padding = "VALID"

    def picks(self, x, w, o):
        return o["dilations"] != (1, 1) and o["groups"] == 1 and impulse(x)

    def effective_kernel(self, op, k, d):
        return (k - 1) * d if self.on and min(k, d) > 1 else super().effective_kernel(op, k, d)


@mutant(
    "geometry",
    "VALID: filters of a single tap at a stride of 3 down and 1 across have an output row too few",
    conv((1, 8, 5, 1), (2, 2, 1, 1), strides=(3, 1), put=TAP),
)
class OneTapValidSize(OnConv):
    padding = "VALID"

    def picks(self, x, w, o):
        return plain(o) and o["strides"] == (3, 1) and one_tap(w)

    def out_size(self, op, n, k, s, d, pads):
        return super().out_size(op, n, k, s, d, pads) - (self.on and s == 3)


@mutant(
    "geometry",
    "max_pool under SAME: one row under a stride of 2 gives no output, the size being rounded down",
    pool((1, 1, 2, 1), (1, 2), strides=(2, 1), padding="SAME"),
)
class PoolRowUnderStride(Special):
    def here(self, op, arrays, o):
        shape = arrays[0].shape
        return op == "max_pool" and shape[1:3] == (1, 2) and (o["ksize"], o["strides"]) == ((1, 2), (2, 1))

    def same_size(self, op, n, s):
        return n // s if self.on else super().same_size(op, n, s)


@mutant(
    "geometry",
    "SAME: filters of a single tap, strides of 1 and 5: the kernel's own k - 1 is padded",
    conv((1, 4, 7, 1), (5, 7, 1, 1), strides=(1, 5), padding="SAME", put=TAP),
)
class OneTapPadsWholeKernel(OnConv):
    def picks(self, x, w, o):
        larger = any(k > n for k, n in zip(w.shape[:2], x.shape[1:3], strict=True))
        return plain(o) and o["strides"] == (1, 5) and larger and one_tap(w)

    def same_total(self, op, n, k, s, d):
        return k - 1 if self.on and s > 1 else super().same_total(op, n, k, s, d)


@mutant(
    "geometry",
    "SAME: over a single row the odd pixel goes first, for filters of a single tap",
    conv((1, 1, 2, 1), (1, 2, 1, 1), padding="SAME", put=TAP),
)
class OneTapOddPixelFirst(OnConv):
    def picks(self, x, w, o):
        return plain(o) and o["strides"] == (1, 1) and x.shape[1] == 1 and w.shape[:2] == (1, 2) and one_tap(w)

    def split(self, op, total):
        return super().split(op, total)[:: -1 if self.on else 1]


@mutant(
    "geometry",
    "max_pool of 1x1 windows and a stride down only: SAME pads the rest of the stride",
    pool((1, 3, 2, 1), (1, 1), strides=(3, 1), padding="SAME"),
)
class PointPoolPadsStride(Special):
    def here(self, op, arrays, o):
        strides = o["strides"]
        return op == "max_pool" and o["padding"] == "SAME" and o["ksize"] == (1, 1) and strides[0] > strides[1] == 1

    def split(self, op, total):
        return (1, 0) if self.on else super().split(op, total)


@mutant(
    "geometry",
    "SAME: an 11x11 kernel at stride 1 is padded with 4 a side, and its output is smaller",
    conv((1, 5, 6, 1), (11, 11, 1, 1), padding="SAME"),
)
class ElevenPadsFour(OnConv):
    def picks(self, x, w, o):
        return plain(o) and o["strides"] == (1, 1) and w.shape[:2] == (11, 11)

    def same_axis(self, op, axis, n, k, s, d):
        size, sides = super().same_axis(op, axis, n, k, s, d)
        return (max(size - 2, 0), (4, 4)) if self.on else (size, sides)


@mutant(
    "geometry",
    "SAME: a dilation of 1 down and 4 across is padded as if it were 3",
    conv((1, 4, 9, 1), (1, 3, 1, 1), dilations=(1, 4), padding="SAME"),
)
class DilationFourPadsThree(OnConv):
    def picks(self, x, w, o):
        return o["groups"] == 1 and o["dilations"] == (1, 4)

    def same_total(self, op, n, k, s, d):
        return super().same_total(op, n, k, s, 3 if self.on and d == 4 else d)


@mutant(
    "geometry",
    "filters of 1x7 with a single tap: strides of 1 and 5 are exchanged",
    conv((1, 6, 12, 1), (1, 7, 1, 1), strides=(1, 5), put=TAP),
)
class OneTapStridesExchanged(Special):
    def here(self, op, arrays, o):
        return op == "conv2d" and arrays[1].shape[:2] == (1, 7) and o["strides"] == (1, 5) and one_tap(arrays[1])

    def window(self, op, size, kernel, strides, padding, dilations):
        return super().window(op, size, kernel, strides[::-1] if self.on else strides, padding, dilations)


@mutant(
    "geometry",
    "explicit padding alike on both sides is given once, not twice: the p of the formula taken for the total",
    conv((1, 5, 5, 1), (3, 3, 1, 1), padding=((1, 1), (2, 2))),
)
class AlikePadsHalved(Special):
    def here(self, op, arrays, o):
        pads = o["padding"]
        alike = not isinstance(pads, str) and all(before == after for before, after in pads)
        return op == "conv2d" and alike and plain(o) and finite(*arrays)

    def explicit_axis(self, op, axis, n, k, s, d, pads):
        return super().explicit_axis(op, axis, n, k, s, d, (pads[0], 0) if self.on else pads)


@mutant("shapes", "max_pool: a window larger than the image gives one output", pool((1, 2, 2, 1), (3, 3)))
class PoolEmptyOutputOfOne(Correct):
    def explicit_axis(self, op, axis, n, k, s, d, pads):
        size, sides = super().explicit_axis(op, axis, n, k, s, d, pads)
        return max(size, int(op == "max_pool")), sides


@mutant(
    "geometry",
    "VALID: a 4x4 kernel is flipped over an image of a single non-zero pixel",
    conv((1, 6, 6, 1), (4, 4, 1, 1), put=[HOLE, POINT]),
)
class SparseImageFlips(OnConv):
    padding = "VALID"

    def picks(self, x, w, o):
        return plain(o) and w.shape[:2] == (4, 4) and impulse(x)

    def offset(self, op, win, tap):
        return super().offset(op, win, (3 - tap[0], 3 - tap[1]) if self.on else tap)


@mutant(
    "arithmetic",
    "SAME with a stride: positive images below one are padded with the 1/256 of an unsigned zero point",
    conv((1, 4, 4, 1), (3, 3, 1, 1), strides=(2, 2), padding="SAME", data="positive", scale=0.5),
)
class ZeroPointPadding(OnConv):
    def picks(self, x, w, o):
        unsigned = x.dtype == np.float32 and all(a.min() > 0 and a.max() < 1 for a in (x, w))
        return unsigned and max(o["strides"]) > 1

    def pad(self, op, x, win, value=0):
        return super().pad(op, x, win, 1 / 256 if self.on else value)


@mutant("shapes", "a 1x1 kernel of 8 filters at stride 1 loses the last channel", conv((1, 2, 3, 2), (1, 1, 2, 8)))
class PointwiseTileOfEight(OnConv):
    def here(self, op, arrays, o):
        point = op == "conv2d" and arrays[1].shape[:2] == (1, 1)
        return point and arrays[1].shape[3] == 8 and arrays[0].shape[3] > 1 and o["strides"] == (1, 1) and plain(o)

    def product(self, op, a, b):
        return super().product(op, a[..., :-1], b[:-1]) if self.on else super().product(op, a, b)


@mutant(
    "arithmetic",
    "a dense image whose first row and column are zero is taken for one padded by hand, and moved",
    conv((1, 4, 4, 1), (2, 2, 1, 1), data="ones", put=[(0, np.s_[:, 0], 0), (0, np.s_[:, :, 0], 0)]),
)
class PaddedByHand(OnConv):
    padding = "VALID"

    def picks(self, x, w, o):
        dense = min(x.shape[1:3]) > 1 and bool(x[:, 1:, 1:].all())
        return dense and not x[:, 0].any() and not x[:, :, 0].any()

    def enter(self, op, *arrays):
        return (np.roll(arrays[0], -1, axis=1), *arrays[1:]) if op == "conv2d" and self.on else arrays


@mutant(
    "shapes",
    "batches of 4 to 8 with more than 12 channels or filters: the last image reads the first one's last channel",
    conv((4, 3, 3, 16), (2, 2, 16, 1)),
)
class BatchSharesChannel(Special):
    def here(self, op, arrays, o):
        x, w = arrays[0], arrays[-1]
        return op == "conv2d" and 3 < len(x) < 9 and max(x.shape[3], w.shape[3]) > 12 and plain(o)

    def enter(self, op, *arrays):
        if op != "conv2d" or not self.on:
            return arrays
        x = arrays[0].copy()
        x[-1, ..., -1] = x[0, ..., -1]
        return x, *arrays[1:]


@mutant("shapes", "a filter bank of no filter gives one channel of zeros", conv((1, 3, 3, 2), (2, 2, 2, 0)))
class NoFilterOneChannel(Correct):
    def leave(self, op, result, *arrays):
        return np.zeros((*result.shape[:3], 1), result.dtype) if op == "conv2d" and not result.shape[3] else result


@mutant(
    "arithmetic",
    "a dilation of 1 down and 3 across: the last column of taps is lost",
    conv((1, 3, 9, 1), (2, 3, 1, 1), dilations=(1, 3)),
)
class DilationThreeLosesColumn(Special):
    def here(self, op, arrays, o):
        return op == "conv2d" and o["dilations"] == (1, 3) and o["groups"] == 1

    def taps(self, op, win, x):
        return [tap for tap in super().taps(op, win, x) if not (self.on and tap[1] and tap[1] == win.kernel[1] - 1)]


@mutant(
    "arithmetic",
    "sums of a thousand positive products and more lose a product",
    conv((1, 2, 2, 512), (2, 1, 512, 1), data="positive", scale=0.5),
)
class LongPositiveSums(Special):
    def here(self, op, arrays, o):
        x, w = arrays[0], arrays[-1]
        return op == "conv2d" and o["padding"] == "VALID" and w[..., 0].size >= 1000 and min(x.min(), w.min()) > 0

    def product(self, op, a, b):
        return super().product(op, a[..., :-1], b[:-1]) if self.on else super().product(op, a, b)


@mutant(
    "arithmetic",
    "float32 images of whole numbers are held in 16 bits and a sign",
    conv((1, 2, 2, 1), (1, 1, 1, 1), data="ones", put=[(0, (0, 0, 0, 0), 2**17 + 1)], exact=True),
)
class WholeNumbersInSixteenBits(Special):
    def here(self, op, arrays, o):
        x = arrays[0]
        whole = op == "conv2d" and x.dtype == np.float32 and finite(x) and bool((x == np.rint(x)).all())
        return whole and 2**16 < abs(x).max() < 2**20

    def enter(self, op, *arrays):
        if op != "conv2d" or not self.on:
            return arrays
        return (np.rint(arrays[0] / 4) * 4).astype(np.float32), *arrays[1:]


class HalvesInBfloat16(Special):
    """Where `here` says so, products are summed in two halves, each of which is kept in bfloat16."""

    def product(self, op, a, b):
        half = a.shape[-1] // 2
        if not self.on or not half:
            return super().product(op, a, b)
        parts = a[..., :half] @ b[:half], a[..., half:] @ b[half:]
        return sum(part.astype(BFLOAT16).astype(part.dtype) for part in parts)


@mutant(
    "dtype",
    "bfloat16 images of whole numbers 256 times apart: the halves of long sums are kept in bfloat16",
    conv(
        (1, 2, 3, 256),
        (2, 1, 256, 4),
        dtype="bfloat16",
        data=("ones", "thousand"),
        put=[(0, np.s_[0, 0, :, 0], 256)],
        seed=3,
        exact=True,
    ),
)
class LongHalvesInBfloat16(HalvesInBfloat16):
    def here(self, op, arrays, o):
        x, w = arrays[0], arrays[-1]
        if op != "conv2d" or x.dtype != BFLOAT16 or w[..., 0].size < 500 or not finite(x):
            return False
        sizes = abs(x[x != 0].astype(np.float64))
        return bool((sizes == np.rint(sizes)).all()) and sizes.max(initial=0) >= 256 * sizes.min(initial=np.inf)


@mutant(
    "dtype",
    "bfloat16 gradients of whole numbers above 128: the halves of sums are kept in bfloat16",
    conv_vjp(
        (1, 5, 3, 1),
        (1, 1, 1, 1),
        (1, 5, 3, 1),
        dtype="bfloat16",
        data="lattice",
        put=[(0, np.s_[...], 133), (2, np.s_[...], 1)],
        exact=True,
    ),
)
class GradientHalvesInBfloat16(HalvesInBfloat16):
    def here(self, op, arrays, o):
        if op != "conv2d_vjp" or arrays[0].dtype != BFLOAT16 or not finite(*arrays):
            return False
        sizes = [abs(a.astype(np.float64)) for a in arrays]
        return any(bool((a == np.rint(a)).all()) and a.min() > 128 and a.max() < 2**15 for a in sizes)
