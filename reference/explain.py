"""One convolution or pool explained to whoever ports it: sizes, pads and why, the same call elsewhere, what goes wrong.

May import this folder's `arguments`, `geometry`, `porting` (the calls) and `pitfalls` (the warnings) and nothing else
of ours. No array is made and no framework is imported: all of it follows from shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import wrap

from . import arguments, geometry
from .geometry import Pads, Pair, Window, effective_kernel
from .pitfalls import pitfalls, sides
from .porting import NO_PADS, SAMES, Asked, Shape, calls

#: The frameworks that a call is written for, in the order they are shown, as people write them.
FRAMEWORKS = {"tensorflow": "TensorFlow", "torch": "PyTorch", "keras": "Keras 3", "jax": "JAX", "onnx": "ONNX"}
_IMAGE = "[batch, height, width, channels]"
_FILTERS = "[kernel height, kernel width, channels / groups, filters]"


@dataclass(frozen=True)
class Reason:
    """A number, where it comes from: the axis, what it is, the formula with its numbers, the clause that says so."""

    axis: str
    what: str
    formula: str
    clause: str


@dataclass(frozen=True)
class Parameters:
    """How many numbers are learned: by the convolution, without sharing, and fully connected (`parameter-count`)."""

    shared: int
    local: int
    full: int


@dataclass(frozen=True)
class Explanation:
    """What `explain_conv2d` and `explain_max_pool` return; `str()` of it is the text of `convspec explain`.

    Attributes
    ----------
    op : str
        "conv2d" or "max_pool".
    input_shape, filter_shape, output_shape : (int, int, int, int)
        NHWC, HWIO (None for a pool) and NHWC.
    ksize, strides, dilations : (int, int)
        Height and width; `ksize` are the taps of the filters or of the pool's window.
    padding : str or ((top, bottom), (left, right))
        As asked for; `pads` are what it comes to, in pixels.
    groups, bias
        Of a convolution.
    receptive_field : (int, int)
        The effective kernel: pixels from the first tap to the last.
    reasons : tuple of Reason
        Why sizes and pads are what they are.
    parameters : Parameters or None
        None for a pool, which has none.
    warnings : tuple of str
        Where a framework's own reading differs; each starts with whom or what it is about.
    calls : dict of str to str
        Python for each of `FRAMEWORKS` that makes `y` (NHWC) of float32 NumPy arrays `x` (NHWC), `w` (HWIO) and `bias`.
    """

    op: str
    input_shape: Shape
    filter_shape: Shape | None
    output_shape: Shape
    ksize: Pair
    strides: Pair
    padding: str | Pads
    dilations: Pair
    groups: int
    bias: bool
    pads: Pads
    receptive_field: Pair
    reasons: tuple[Reason, ...]
    parameters: Parameters | None
    warnings: tuple[str, ...]
    calls: dict[str, str]

    def facts(self) -> dict[str, tuple[str, ...]]:
        """Lines of text under headings, without the calls."""
        return {
            self._title(): (),
            "Output": (f"{list(self.output_shape)}", *self._why("size")),
            "Pads": (sides(self.pads), *self._why("pads")),
            "Receptive field": tuple(self._reads()),
            "Parameters": tuple(self._counts()),
            **({"Warnings": tuple(_wrapped(self.warnings))} if self.warnings else {}),
        }

    def __str__(self) -> str:
        """All of it, as text of which everything from the first call on is Python."""
        facts = ("\n".join([name, *(f"  {line}" for line in lines)]) for name, lines in self.facts().items())
        return "\n\n".join([*facts, *(f"{heading(name, self)}\n{code}" for name, code in self.calls.items())])

    def _title(self) -> str:
        what = f"input {list(self.input_shape)}"
        what += f", filter {list(self.filter_shape)}" if self.filter_shape else f", ksize {list(self.ksize)}"
        rest = f", dilations {list(self.dilations)}" if self.dilations != (1, 1) else ""
        rest += f", groups {self.groups}" if self.groups > 1 else ""
        rest += ", bias" if self.bias else ""
        return f"{self.op}: {what}, strides {list(self.strides)}, padding {self.padding}{rest}"

    def _why(self, what: str) -> Iterator[str]:
        width = max(len(reason.axis) for reason in self.reasons)
        for reason in self.reasons:
            if reason.what == what:
                yield f"{reason.axis:{width}}  {reason.formula}  [{reason.clause}]"

    def _reads(self) -> Iterator[str]:
        height, width = self.receptive_field
        channels = self.filter_shape[2] if self.filter_shape else 1
        what = f"of {channels} channel{'s' * (channels != 1)}" if self.filter_shape else "of the same channel"
        yield f"{height} x {width} pixels {what}"
        for what, index, k, s, d, (before, _) in zip(
            ("rows", "columns"), "ij", self.ksize, self.strides, self.dilations, self.pads, strict=True
        ):
            first, last = (_at(index, s, offset) for offset in (-before, (k - 1) * d - before))
            apart = f", one in {d}" if d > 1 and k > 1 else ""
            yield f"output (i, j) reads {what} {first} to {last}{apart}"

    def _counts(self) -> Iterator[str]:
        if self.parameters is None or self.filter_shape is None:
            yield "none: a pool learns nothing"
            return
        (kh, kw, depth, filters), (_, height, width, channels) = self.filter_shape, self.input_shape
        _, rows, columns, _ = self.output_shape
        plus = " + 1" * self.bias
        own, image = f"({kh} * {kw} * {depth}{plus})", f"({height} * {width} * {channels}{plus})"
        count, outputs = self.parameters, f"{rows} * {columns}"
        yield f"{count.shared:,} = {own} * {filters}, local and shared by all outputs  [parameter-count]"
        yield f"{count.local:,} = {outputs} * {own} * {filters}, local but not shared"
        yield f"{count.full:,} = {image} * {outputs} * {filters}, fully connected"


def _wrapped(sentences: Iterable[str]) -> Iterator[str]:
    """Sentences in lines that fit a screen, what follows the first indented."""
    for sentence in sentences:
        yield from wrap(sentence, 108, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


def heading(name: str, explanation: Explanation) -> str:
    """The comment above a call.

    >>> heading("torch", explain_max_pool((1, 28, 28, 32), ksize=2, strides=2, padding="VALID"))
    '# PyTorch: y of x (float32, NHWC)'
    """
    given = ", w (HWIO)" if explanation.filter_shape else ""
    given += ", bias" if explanation.bias else ""
    return f"# {FRAMEWORKS[name]}: y of x (float32, NHWC){given}"


def explain_conv2d(
    input_shape: object,
    filter_shape: object,
    *,
    strides: object = 1,
    padding: object,
    dilations: object = 1,
    groups: object = 1,
    bias: bool = False,
) -> Explanation:
    """Explain `conv2d` of images and filters of these shapes to someone who ports it.

    Parameters
    ----------
    input_shape : (n, h, w, channels)
    filter_shape : (kernel h, kernel w, channels / groups, filters)
    strides, padding, dilations, groups
        As of `conv2d`.
    bias : bool
        Whether there is one.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        A bad argument, named.

    Examples
    --------
    >>> told = explain_conv2d((1, 224, 224, 3), (7, 7, 3, 64), strides=2, padding="SAME")
    >>> told.output_shape, told.pads
    ((1, 112, 112, 64), ((2, 3), (2, 3)))
    >>> print(told.calls["torch"])
    import torch
    import torch.nn.functional as F
    <BLANKLINE>
    images = torch.from_numpy(x).permute(0, 3, 1, 2)  # NHWC to NCHW
    filters = torch.from_numpy(w).permute(3, 2, 0, 1)  # HWIO to OIHW
    images = F.pad(images, (2, 3, 2, 3))  # left, right, top, bottom
    y = F.conv2d(images, filters, stride=2)
    y = y.permute(0, 2, 3, 1)  # NCHW to NHWC
    """
    image = arguments.shape("input_shape", input_shape, _IMAGE)
    filters = arguments.shape("filter_shape", filter_shape, _FILTERS)
    number = arguments.fit(image, filters, groups, ("input_shape", "filter_shape"))
    window = geometry.resolve(image[1:3], filters[:2], strides=strides, padding=padding, dilations=dilations)
    return _explain(Asked(image, filters, window, arguments.padding(padding), number, bool(bias)))


def explain_max_pool(
    input_shape: object, *, ksize: object, strides: object, padding: object, dilations: object = 1
) -> Explanation:
    """Explain `max_pool` of images of this shape to someone who ports it.

    Parameters
    ----------
    input_shape : (n, h, w, channels)
    ksize, strides, padding, dilations
        As of `max_pool`.

    Returns
    -------
    Explanation

    Raises
    ------
    TypeError, ValueError
        A bad argument, named.

    Examples
    --------
    >>> told = explain_max_pool((1, 28, 28, 32), ksize=3, strides=2, padding="SAME")
    >>> told.output_shape, told.pads
    ((1, 14, 14, 32), ((0, 1), (0, 1)))
    >>> print(told.reasons[1].formula, told.reasons[1].clause)
    P = max((14 - 1) * 2 + 3 - 28, 0) = 1 same-total-padding
    """
    image = arguments.shape("input_shape", input_shape, _IMAGE)
    kernel = arguments.pair("ksize", ksize)
    window = geometry.resolve(image[1:3], kernel, strides=strides, padding=padding, dilations=dilations)
    return _explain(Asked(image, None, window, arguments.padding(padding)))


def _explain(asked: Asked) -> Explanation:
    window, filters = asked.window, asked.filters
    output = (asked.shape[0], *window.output, filters[3] if filters else asked.shape[3])
    # No pads are VALID's, and everyone has that name.
    plain = asked._replace(padding="VALID") if asked.padding == NO_PADS else asked
    return Explanation(
        op="conv2d" if filters else "max_pool",
        input_shape=asked.shape,
        filter_shape=filters,
        output_shape=output,
        ksize=window.kernel,
        strides=window.strides,
        padding=asked.padding,
        dilations=window.dilations,
        groups=asked.groups,
        bias=asked.bias,
        pads=window.pads,
        receptive_field=_span(window),
        reasons=tuple(_reasons(asked)),
        parameters=_parameters(asked.shape, filters, output, asked.bias) if filters else None,
        warnings=tuple(pitfalls(plain)),
        calls=calls(plain),
    )


def _span(window: Window) -> Pair:
    rows, columns = (effective_kernel(k, d) for k, d in zip(window.kernel, window.dilations, strict=True))
    return rows, columns


def _at(index: str, stride: int, offset: int) -> str:
    """Spell index * stride + offset."""
    start = f"{stride} {index}" if stride > 1 else index
    return f"{start} {'-' if offset < 0 else '+'} {abs(offset)}" if offset else start


def _parameters(image: Shape, filters: Shape, output: Shape, bias: bool) -> Parameters:
    """Clause `parameter-count`; with groups, local filters see the channels of theirs alone."""
    kh, kw, depth, number = filters
    own = (kh * kw * depth + bias) * number
    places = output[1] * output[2]
    return Parameters(own, places * own, (image[1] * image[2] * image[3] + bias) * places * number)


def _reasons(asked: Asked) -> Iterator[Reason]:
    """Axis by axis, told once where both have the same numbers."""
    height, width = (list(_axis(asked, axis)) for axis in (0, 1))
    if height == width:
        yield from (Reason("height and width", *reason) for reason in height)
        return
    for name, reasons in (("height", height), ("width", width)):
        yield from (Reason(name, *reason) for reason in reasons)


def _axis(asked: Asked, axis: int) -> Iterator[tuple[str, str, str]]:
    """What, formula and clause of one axis."""
    window = asked.window
    n, k, s, d = asked.shape[1 + axis], window.kernel[axis], window.strides[axis], window.dilations[axis]
    out, (before, after) = window.output[axis], window.pads[axis]
    span, total = effective_kernel(k, d), before + after
    if d > 1:
        yield "size", f"k_eff = ({k} - 1) * {d} + 1 = {span}", "effective-kernel"
    if asked.padding in SAMES:
        yield "size", f"ceil({n} / {s}) = {out}", "same-output-size"
        yield from _same(asked, n, s, span, out, before, after)
    elif n + total < span:
        empty = f"{'conv2d' if asked.filters else 'max-pool'}-empty-output"
        yield "size", f"none: {n + total} pixels, and the window has {span}", empty
    elif asked.padding == "VALID":
        yield "size", f"floor(({n} - {span}) / {s}) + 1 = {out}", "valid-output-size"
    else:
        yield "size", f"floor(({n} - {span} + {total}) / {s}) + 1 = {out}", "size-formula"
    if asked.padding == "VALID":
        yield "pads", "none: no window reaches outside the image", "valid-output-size"
    elif asked.padding not in SAMES:
        yield "pads", f"{before} before and {after} after, as given", "explicit-padding"


def _same(asked: Asked, n: int, s: int, span: int, out: int, before: int, after: int) -> Iterator[tuple[str, str, str]]:
    """The total padding of SAME or SAME_LOWER, and its two sides."""
    if not out:
        yield "pads", "none: there is no output", "same-total-padding"
        return
    lacking, total = (out - 1) * s + span - n, before + after
    clause = "same-with-dilation" if asked.dilated else "same-total-padding"
    clause = clause if lacking >= 0 else "same-minimal-padding"
    yield "pads", f"P = max(({out} - 1) * {s} + {span} - {n}, 0) = {total}", clause
    if asked.padding == "SAME_LOWER":
        yield "pads", f"after = {total} // 2 = {after}, before = {total} - {after} = {before}", "same-lower"
    else:
        yield "pads", f"before = {total} // 2 = {before}, after = {total} - {before} = {after}", "same-odd-pixel-last"
