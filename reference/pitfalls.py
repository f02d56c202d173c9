"""Where a framework's own reading of a call differs from the specification: one sentence each, with its numbers.

May import this folder's `geometry` and `porting` and nothing else of ours. What is said of frameworks is what the
"Systems" paragraphs of the clauses and `adapters/deviations` say, and the printed calls of `porting` avoid it.
"""

from __future__ import annotations

from collections.abc import Iterator

from .geometry import Pads, Window, effective_kernel, lay
from .porting import SAMES, Asked, onnx_names, torch_splits


def pitfalls(asked: Asked) -> Iterator[str]:
    """Tell what goes wrong when this call is copied by name alone, framework by framework.

    >>> window = lay((4, 4), (3, 3), 2, "SAME", 1)
    >>> for sentence in pitfalls(Asked((1, 4, 4, 1), (3, 3, 1, 1), window, "SAME")):
    ...     print(sentence[:64])
    torch: padding="same" is refused for a stride other than 1; F.pa
    torch: the usual padding=1 gives the same shape from other pixel
    odd pixel: SAME puts it after the last row and column, as Tensor
    image size: these pads hold for 4 x 4; at 5 x 5 they are (top 1,
    """
    if 0 in asked.window.output:
        yield (
            f"empty: the window does not fit, so the output is empty ({'conv2d' if asked.filters else 'max-pool'}"
            "-empty-output); PyTorch and TensorFlow may refuse this call, oneDNN's TensorFlow may end the process"
        )
        return
    yield from _torch(asked)
    yield from _odd(asked)
    yield from _size(asked)
    yield from _unread(asked)
    yield from _tensorflow(asked)
    yield from _keras(asked)
    yield from _onnx(asked)


def sides(pads: Pads) -> str:
    """Spell pads: top 2, bottom 3, left 2, right 3."""
    (top, bottom), (left, right) = pads
    return f"top {top}, bottom {bottom}, left {left}, right {right}"


def _torch(asked: Asked) -> Iterator[str]:
    same = asked.padding in SAMES
    if asked.filters is None:
        if same:
            yield 'torch: max_pool2d has no padding="same"; its padding is one number an axis, for both sides'
        if torch_splits(asked):
            yield (
                "torch: max_pool2d pads evenly and by half the window at most, so F.pad goes first, with value=-inf: "
                "its default, zeros, wins over negative numbers (max-pool-padding-never-wins)"
            )
    elif same and asked.strided:
        yield 'torch: padding="same" is refused for a stride other than 1; F.pad, or padding=, says how much'
    elif asked.padding == "SAME_LOWER" and torch_splits(asked):
        yield 'torch: padding="same" puts the odd pixel last, as SAME does, not first; F.pad goes before'
    elif torch_splits(asked):
        yield "torch: padding= is one number an axis, for both sides; uneven pads need F.pad before"
    if same:
        yield from _symmetric(asked)


def _symmetric(asked: Asked) -> Iterator[str]:
    """PyTorch's usual padding=(k_eff - 1) / 2 beside SAME's."""
    window = asked.window
    height, width = ((effective_kernel(k, d) - 1) // 2 for k, d in zip(window.kernel, window.dilations, strict=True))
    usual = lay(asked.shape[1:3], window.kernel, window.strides, ((height, height), (width, width)), window.dilations)
    shown = height if height == width else (height, width)
    if usual.output != window.output:
        was, now = (" x ".join(map(str, output)) for output in (window.output, usual.output))
        yield f"torch: the usual padding={shown} gives {now} outputs, not {was}"
    elif moved := _moved(usual, window):
        yield (
            f"torch: the usual padding={shown} gives the same shape from other pixels: every window starts {moved} "
            f"than SAME's, and the result is shifted by as much"
        )


def _moved(usual: Window, window: Window) -> str:
    """How far the windows of one lie from those of the other."""
    told = []
    for (before, _), (own, _), less, more, what in zip(
        usual.pads, window.pads, ("higher", "further left"), ("lower", "further right"), ("row", "column"), strict=True
    ):
        if before != own:
            many = abs(before - own)
            told.append(f"{many} {what}{'s' * (many > 1)} {less if before > own else more}")
    return " and ".join(told)


def _odd(asked: Asked) -> Iterator[str]:
    odd = [axis for axis in (0, 1) if sum(asked.window.pads[axis]) % 2]
    if asked.padding not in SAMES or not odd:
        return
    names = " and ".join(("row", "column")[axis] for axis in odd)
    if asked.padding == "SAME":
        yield (
            f"odd pixel: SAME puts it after the last {names}, as TensorFlow, Keras, JAX and ONNX's SAME_UPPER do; "
            f"ONNX's SAME_LOWER puts it first: the same shape, shifted by one {names}"
        )
    else:
        yield (
            f"odd pixel: SAME_LOWER puts it before the first {names}, as ONNX's and JAX's do; SAME (TensorFlow, Keras, "
            f"ONNX's SAME_UPPER) puts it last: the same shape, shifted by one {names}"
        )


def _size(asked: Asked) -> Iterator[str]:
    """Pads of SAME depend on the size of the image as soon as there is a stride."""
    _, height, width, _ = asked.shape
    if asked.padding in SAMES and asked.strided:
        window = asked.window
        other = lay((height + 1, width + 1), window.kernel, window.strides, asked.padding, window.dilations)
        if other.pads != window.pads:
            yield (
                f"image size: these pads hold for {height} x {width}; at {height + 1} x {width + 1} they are "
                f"({sides(other.pads)}): where pads are numbers, compute them for each size"
            )


def _unread(asked: Asked) -> Iterator[str]:
    """Pixels at an end that VALID or explicit pads leave out, where other tools round up."""
    left = [asked.slack(axis) for axis in (0, 1)]
    names = [f"{n} {what}{'s' * (n > 1)}" for n, what in zip(left, ("row", "column"), strict=True) if n > 0]
    if asked.padding not in SAMES and names:
        more = "; torch's ceil_mode=True would add a window there" if asked.filters is None else ""
        yield f"unread: the last {' and '.join(names)} of the image are read by no window: sizes round down{more}"


def _tensorflow(asked: Asked) -> Iterator[str]:
    if asked.padding == "SAME_LOWER":
        yield "tensorflow: there is no SAME_LOWER; pads go in as numbers"
    if asked.filters is None and asked.dilated:
        yield (
            "tensorflow: tf.nn.max_pool2d has no dilations, and tf.nn.pool takes them without SAME's padding and at "
            "stride 1 alone: tf.pad before, and every s-th output after"
        )
    if asked.filters and asked.groups == asked.shape[3] > 1:
        wrong = "; it gives wrong values where stride and dilation are both above 1" if asked.dilated else ""
        yield (
            "tensorflow: depthwise as groups, w of shape [h, w, 1, filters]; tf.nn.depthwise_conv2d wants it reshaped "
            f"to [h, w, channels, filters / channels]{wrong}"
        )


def _keras(asked: Asked) -> Iterator[str]:
    if asked.padding not in ("SAME", "VALID"):
        yield 'keras: layers take padding="same" (which is SAME) and "valid" alone; the image is padded before'
    if asked.filters is None and asked.dilated:
        yield "keras: MaxPooling2D has no dilation; the maximum over the taps is the same"
    elif asked.strided and asked.dilated:
        yield "keras: strides and dilation_rate above 1 together are refused; stride 1, then every s-th output"


def _onnx(asked: Asked) -> Iterator[str]:
    if asked.padding in SAMES and not onnx_names(asked):
        name = "SAME_UPPER" if asked.padding == "SAME" else asked.padding
        why = "with dilations" if asked.dilated else "with a stride larger than the kernel"
        yield f"onnx: ONNX Runtime refuses auto_pad={name} {why}, or pads something else; the model has pads instead"
