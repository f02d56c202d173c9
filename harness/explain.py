"""The command `convspec explain`: the text of `convspec.reference.explain`, its facts as JSON, and a picture.

May import the reference; rich and matplotlib when they are needed. Nothing is worked out here but where to draw it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from convspec.harness.options import no_folder, no_matplotlib, unwritten
from convspec.reference import geometry
from convspec.reference.explain import Explanation, explain_conv2d, explain_max_pool, heading
from convspec.reference.pitfalls import sides

#: Okabe and Ito's blue, vermilion and green; the windows are told apart by dashes and names as well.
COLOURS, DASHES = ("#0072B2", "#D55E00", "#00805F"), ("-", "--", "-.")
GREY, PALE, READ, UNREAD = "#595959", "#E3E3E3", ("#F2F8FC", "#9CC7E4"), "#F6D7A8"
STYLE = {"font.size": 9, "axes.titlesize": 9.5, "svg.hashsalt": "convspec", "savefig.dpi": 200}
#: Pixels around a window that are drawn with it; pixels of a side that have lines between them, that are shaded, and
#: that are drawn, at most (as many taps).
MARGIN, RULED, SHADED, DRAWN = 2, 48, 1024, 16_384


def integers(_ctx: click.Context | None, _param: click.Parameter | None, value: str) -> int | tuple[int, ...]:
    """Read integers with commas between; one alone stays one.

    >>> integers(None, None, "1,224,224,3"), integers(None, None, "2")
    ((1, 224, 224, 3), 2)
    """
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r}: expected integers with commas between, as 2,1") from None
    return numbers if len(numbers) > 1 else numbers[0]


def padding(ctx: click.Context | None, param: click.Parameter | None, value: str) -> Any:
    """Read the pixels of the four sides; names are left for the reference to know.

    >>> padding(None, None, "0,1,2,3"), padding(None, None, "SAME")
    (((0, 1), (2, 3)), 'SAME')
    """
    if value.replace("_", "").isalpha():
        return value
    numbers = integers(ctx, param, value)
    if not isinstance(numbers, tuple) or len(numbers) != 4:
        names = "SAME, VALID, SAME_LOWER or TOP,BOTTOM,LEFT,RIGHT"
        raise click.BadParameter(f"{value!r}: expected {names}; give all four sides, as 0,1,0,1")
    return numbers[:2], numbers[2:]


_image = click.option(
    "--input", "image", callback=integers, metavar="N,H,W,C", required=True, help="Batch, height, width, channels."
)


def _shared(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options on that both commands have."""
    for option in (
        click.option("--plot", metavar="F", type=click.Path(dir_okay=False),
                     help="Draw it: F.svg or F.png (extra mnist)."),
        click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON."),
        click.option("--dilations", callback=integers, metavar="S", default="1", show_default=True,
                     help="Pixels from tap to tap: 2, or 2,1."),
        click.option("--padding", callback=padding, metavar="P", required=True,
                     help="SAME, VALID, SAME_LOWER, or TOP,BOTTOM,LEFT,RIGHT in pixels."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.group()
def explain() -> None:
    """Explain a convolution or a pool, to port a model.

    Prints the output's shape, the pads of each side and why, the same call for TensorFlow, PyTorch, Keras, JAX and
    ONNX, where a framework's own "same" differs, the receptive field, and the number of parameters.

    \b
    Example:
      convspec explain conv2d --input 1,224,224,3 --filter 7,7,3,64 --padding SAME
    """  # noqa: D301 -- click's mark for lines to be left as they are


@explain.command()
@_image
@click.option("--filter", "filters", callback=integers, metavar="H,W,C,K", required=True,
              help="Kernel height and width, channels / groups, filters.")  # fmt: skip
@click.option(
    "--strides",
    callback=integers,
    metavar="S",
    default="1",
    show_default=True,
    help="Pixels between windows: 2, or 2,1.",
)
@click.option("--groups", type=int, default=1, show_default=True, help="As many as channels: depthwise.")
@click.option("--bias", is_flag=True, help="With a bias.")
@_shared
def conv2d(image: Any, filters: Any, as_json: bool, plot: str | None, **options: Any) -> None:
    """Explain a convolution: sizes, pads, the same call elsewhere.

    \b
    Example:
      convspec explain conv2d --input 1,224,224,3 --filter 7,7,3,64 \\
          --strides 2 --padding SAME --plot stem.svg

    \b
    Exit status:  0  it is explained
                  2  the call is not a convolution; or nothing can be drawn
    """  # noqa: D301 -- click's mark for lines to be left as they are
    _tell(lambda: explain_conv2d(image, filters, **options), as_json, plot)


@explain.command(name="max_pool")
@_image
@click.option("--ksize", callback=integers, metavar="K", required=True, help="The window: 3, or 3,2 (height, width).")
@click.option("--strides", callback=integers, metavar="S", required=True, help="Pixels between windows: 2, or 2,1.")
@_shared
def max_pool(image: Any, as_json: bool, plot: str | None, **options: Any) -> None:
    """Explain a max pool: sizes, pads, the same call elsewhere.

    \b
    Example:
      convspec explain max_pool --input 1,28,28,32 --ksize 3 \\
          --strides 2 --padding SAME

    \b
    Exit status:  0  it is explained
                  2  the call is not a pool; or nothing can be drawn
    """  # noqa: D301 -- click's mark for lines to be left as they are
    _tell(lambda: explain_max_pool(image, **options), as_json, plot)


def _tell(explained: Callable[[], Explanation], as_json: bool, plot: str | None) -> None:
    try:
        told = explained()
    except (TypeError, ValueError) as error:
        said = str(error).replace("input_shape", "--input").replace("filter_shape", "--filter")
        raise click.UsageError(said) from None
    if plot:
        _check(told, plot)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(told), indent=2))
    else:
        _show(told)
    if plot:
        try:
            draw(told, plot)
        except OSError as error:
            raise click.UsageError(unwritten("--plot", plot, error)) from None
        click.echo(f"Picture: {plot}", err=True)


def _show(told: Explanation) -> None:
    """Print the text, on a terminal in colour: the same text."""
    from rich.console import Console  # noqa: PLC0415 - `convspec --help` is quick
    from rich.syntax import Syntax  # noqa: PLC0415

    console = Console(emoji=False, markup=False, highlight=False)
    if not console.is_terminal:
        click.echo(str(told))
        return
    for name, lines in told.facts().items():
        console.print(name, style="bold", soft_wrap=True)
        for line in lines:
            console.print(f"  {line}", style="yellow" if name == "Warnings" else "", soft_wrap=True)
        console.print()
    python = Syntax("", "python", theme="ansi_dark", background_color="default")
    calls = [f"{heading(name, told)}\n{code}" for name, code in told.calls.items()]
    console.print(python.highlight("\n\n".join(calls)), end="", soft_wrap=True)


def _check(told: Explanation, plot: str) -> None:
    """Refuse what cannot be drawn before anything is printed."""
    path = Path(plot)
    if path.suffix.lower() not in (".svg", ".png"):
        raise click.UsageError(f"--plot {plot}: expected a name that ends in .svg or .png")
    if fault := no_folder("--plot", plot):
        raise click.UsageError(fault)
    if 0 in told.output_shape[1:3] or 0 in told.input_shape[1:3]:
        raise click.UsageError(f"--plot {plot}: the output has shape {told.output_shape}, so there is nothing to draw")
    if max(*told.input_shape[1:3], told.ksize[0] * told.ksize[1]) > DRAWN:
        raise click.UsageError(f"--plot {plot}: more than {DRAWN} pixels a side, or taps, are not drawn; leave it out")
    if fault := no_matplotlib():
        raise click.UsageError(f"--plot: {fault}")


# ---- the picture


def draw(told: Explanation, file: str) -> None:
    """Draw the image with its padding, and the windows of the first output, a middle one and the last.

    Parameters
    ----------
    told : Explanation
        Of a call whose output is not empty.
    file : str
        Ends in .svg or .png; an SVG is the same to the byte for the same call and matplotlib.
    """
    import matplotlib.style  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    metadata = {"Date": None, "Title": _finding(told)} if file.lower().endswith(".svg") else {}
    with matplotlib.style.context(["default", STYLE]):
        places = _places(told)
        columns, rows = (2, 2) if len(places) > 1 else (2, 1)
        top = 5.0 * rows + 0.9
        figure = Figure(figsize=(9, top))
        figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - 0.85 / top), w_pad=0.1, h_pad=0.1)
        style: dict[str, Any] = {"va": "top", "in_layout": False}
        figure.text(0.015, 1 - 0.12 / top, _finding(told), fontsize=12, fontweight="bold", **style)
        figure.text(0.015, 1 - 0.4 / top, _legend(told), color=GREY, **style)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        _overview(panels[0], told, places)
        for number, (panel, name) in enumerate(zip(panels[1:], places, strict=False)):
            _window(panel, told, name, places[name], number)
        for panel in panels[1 + len(places) :]:
            panel.set_axis_off()
        figure.savefig(file, metadata=metadata)


def _finding(told: Explanation) -> str:
    name = told.padding if isinstance(told.padding, str) else "Explicit padding"
    if told.pads == ((0, 0), (0, 0)):
        return f"{name} pads nothing"
    odd = any(sum(pads) % 2 for pads in told.pads) and isinstance(told.padding, str)
    goes = "; the odd pixel goes " + ("last" if told.padding == "SAME" else "first") if odd else ""
    return f"{name} pads {sides(told.pads)}{goes}"


def _legend(told: Explanation) -> str:
    (_, height, width, _), (_, rows, columns, _) = told.input_shape, told.output_shape
    what = f"{told.op}: {height} x {width} pixels to {rows} x {columns}, kernel {told.ksize}, strides {told.strides}"
    what += f", dilations {told.dilations}" if told.dilations != (1, 1) else ""
    if told.pads == ((0, 0), (0, 0)):
        return f"{what}.\nA dot is a tap."
    return f"{what}.\nHatched: padding. A dot is a tap on the image; a cross one on padding, which is absent."


def _places(told: Explanation) -> dict[str, tuple[int, int]]:
    """The outputs that are shown; one that is another again is left out."""
    _, rows, columns, _ = told.output_shape
    places = {
        "first output": (0, 0), "last output": (rows - 1, columns - 1), "middle output": (rows // 2, columns // 2),
    }  # fmt: skip
    kept = {place: name for name, place in reversed(places.items())}
    chosen = {name: place for place, name in kept.items()}
    return {name: chosen[name] for name in ("first output", "middle output", "last output") if name in chosen}


def _corner(told: Explanation, place: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the first tap of an output."""
    (top, _), (left, _) = told.pads
    return place[0] * told.strides[0] - top, place[1] * told.strides[1] - left


def _outline(axes: Any, told: Explanation, place: tuple[int, int], number: int) -> None:
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    row, column = _corner(told, place)
    height, width = told.receptive_field
    look: dict[str, Any] = {"fill": False, "edgecolor": COLOURS[number], "linestyle": DASHES[number], "linewidth": 2}
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), width, height, zorder=5, **look))


def _paper(axes: Any, told: Explanation) -> None:
    """The padding, hatched, and the image on it."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415

    (_, height, width, _), ((top, bottom), (left, right)) = told.input_shape, told.pads
    look: dict[str, Any] = {"facecolor": PALE, "edgecolor": "#B0B0B0", "hatch": "////", "linewidth": 0, "zorder": 0}
    axes.add_patch(Rectangle((-left - 0.5, -top - 0.5), width + left + right, height + top + bottom, **look))
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, facecolor="white", linewidth=0, zorder=1))
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor="black", linewidth=1.4, zorder=4))


def _grid(axes: Any, rows: tuple[int, int], columns: tuple[int, int]) -> None:
    """Lines between pixels where they are few, the view, and ticks at whole pixels."""
    ruled = max(rows[1] - rows[0], columns[1] - columns[0]) < RULED
    for own, other, lines in ((rows, columns, axes.hlines), (columns, rows, axes.vlines)) if ruled else ():
        edges = [edge - 0.5 for edge in range(own[0], own[1] + 2)]
        lines(edges, other[0] - 0.5, other[1] + 0.5, color="#C9C9C9", linewidth=0.6, zorder=3)
    axes.set(xlim=(columns[0] - 0.6, columns[1] + 0.6), ylim=(rows[1] + 0.6, rows[0] - 0.6), aspect="equal")
    axes.set(xlabel="column", ylabel="row")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    sizes = columns[1] - columns[0] + 1, rows[1] - rows[0] + 1
    for axis, size in zip((axes.xaxis, axes.yaxis), sizes, strict=True):
        axis.get_major_locator().set_params(integer=True, nbins=max(1, round(8 * size / max(sizes))))


def _overview(axes: Any, told: Explanation, places: dict[str, tuple[int, int]]) -> None:
    """All of the image: how many windows read each pixel, and the windows that are shown."""
    from matplotlib.colors import LinearSegmentedColormap  # noqa: PLC0415

    (_, height, width, _), ((top, bottom), (left, right)) = told.input_shape, told.pads
    _paper(axes, told)
    counts = [_reads(told, axis) for axis in (0, 1)]
    step = -(-max(height, width) // SHADED)
    shade = [[float(r * c) or float("nan") for c in counts[1][::step]] for r in counts[0][::step]]
    ramp = LinearSegmentedColormap.from_list("", READ).with_extremes(bad=UNREAD)
    most, least = (most_or_least(counts[0]) * most_or_least(counts[1]) for most_or_least in (max, min))
    axes.imshow(
        shade, cmap=ramp, vmin=0, vmax=most, extent=(-0.5, width - 0.5, height - 0.5, -0.5), zorder=2,
        interpolation="nearest",
    )  # fmt: skip
    _grid(axes, (-top, height - 1 + bottom), (-left, width - 1 + right))
    for number, place in enumerate(places.values()):
        _outline(axes, told, place, number)
    few, many = (f"{count} window{'s' * (count != 1)}" for count in (least, most))
    said = f"a pixel is read by {least} to {many}: darker is more" if least else f"a pixel is read by at most {many}"
    said = f"each pixel is read by {few}" if least == most else said
    axes.set_title(f"the image\n{said}{'' if least else '; orange: by none'}")


def _reads(told: Explanation, axis: int) -> list[int]:
    """How many taps of how many outputs meet each pixel of an axis."""
    window = geometry.Window(told.ksize, told.strides, told.dilations, told.output_shape[1:3], told.pads)
    size = told.input_shape[1 + axis]
    counts = [0] * size
    for run in geometry.axis(window, axis, size).runs():
        for pixel in range(*run.pixels.indices(size)):
            counts[pixel] += 1
    return counts


def _window(axes: Any, told: Explanation, name: str, place: tuple[int, int], number: int) -> None:
    """One window with what is around it: taps on the image are dots, those on padding crosses."""
    row, column = _corner(told, place)
    height, width = told.receptive_field
    (_, rows, columns, _), ((top, bottom), (left, right)) = told.input_shape, told.pads
    _paper(axes, told)
    shown = (
        (max(row - MARGIN, -top), min(row + height - 1 + MARGIN, rows - 1 + bottom)),
        (max(column - MARGIN, -left), min(column + width - 1 + MARGIN, columns - 1 + right)),
    )
    _grid(axes, *shown)
    _outline(axes, told, place, number)
    taps = list(_taps(told, place))
    size = min(9.0, 130.0 / max(shown[0][1] - shown[0][0] + 1, shown[1][1] - shown[1][0] + 1))
    for marker, wanted in (("o", True), ("x", False)):
        own = [(c, r) for r, c, on in taps if on is wanted]
        look: dict[str, Any] = {"color": COLOURS[number], "markersize": size, "markeredgewidth": min(1.6, size / 4)}
        axes.plot([x for x, _ in own], [y for _, y in own], marker, zorder=6, **look)
    on = sum(on for _, _, on in taps)
    title = f"{name} {place}: {on} of {len(taps)} taps on the image"
    where = f"rows {row} to {row + height - 1}, columns {column} to {column + width - 1}"
    axes.set_title(f"{title}\n{where}", color=COLOURS[number], fontweight="bold")


def _taps(told: Explanation, place: tuple[int, int]) -> Iterator[tuple[int, int, bool]]:
    """Row and column of each tap, and whether it lies on the image."""
    (row, column), (_, height, width, _) = _corner(told, place), told.input_shape
    for i in range(told.ksize[0]):
        for j in range(told.ksize[1]):
            r, c = row + i * told.dilations[0], column + j * told.dilations[1]
            yield r, c, 0 <= r < height and 0 <= c < width
