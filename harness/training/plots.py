"""Pictures of a training run, each with its finding as title; nothing is judged anew.

May import NumPy, the digits, the judge's constants and, when asked to draw, matplotlib.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convspec.adapters.backend import BackendError
from convspec.harness.options import no_matplotlib

from .data import Digits
from .judge import BAND

#: Okabe and Ito's colours, those that show as a line on white; told apart by marker and dashes as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS, DASHES = "os^Dvph", ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
BLACK, GREY, PALE, RIGHT, WRONG = "#000000", "#595959", "#D8D8D8", ("#FFFFFF", "#9CC7E4"), ("#E0611A", "#4A0010")
STYLE = {
    "font.size": 9, "axes.titlesize": 9.5, "axes.titlelocation": "left", "axes.spines.top": False, "savefig.dpi": 200,
    "axes.spines.right": False, "svg.hashsalt": "convspec", "text.parse_math": False, "lines.markersize": 5,
}  # fmt: skip
WIDTH, BARE = 8.0, {"frame_on": False, "xticks": [], "yticks": []}
NOTE = {"textcoords": "offset points", "ha": "center", "va": "bottom", "zorder": 3}
#: Columns of a heat map at most, digits shown at most, backends in a row of filters; wrong answers that a document has.
CELLS, SHOWN, ABREAST, KEPT = 60, 18, 3, 200
Floats = npt.NDArray[np.float64]


def require() -> None:
    """Raise `BackendError` if matplotlib is missing: to be called before a run that takes minutes."""
    if fault := no_matplotlib():
        raise BackendError(fault)


def write(found: dict[str, Any], digits: Digits, folder: Path) -> list[Path]:
    """Draw the document of a run, of each net its first seed, into a folder, which is made if needed.

    Each picture is an SVG, the same to the byte for the same document and matplotlib, and a PNG.
    """
    require()
    import matplotlib.style  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with matplotlib.style.context(["default", STYLE]):
        for net in found["nets"]:
            for name, draw in _pictures(_View(found, net, found["seeds"][0]), digits):
                figure = draw()
                for kind, metadata in (("svg", {"Date": None, "Title": figure.get_label()}), ("png", {})):
                    files.append(folder / f"{name}.{kind}")
                    figure.savefig(files[-1], metadata=metadata)
    return files


def _pictures(view: _View, digits: Digits) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield f"loss-{view.net}", partial(_loss, view)
    yield f"distance-{view.net}", partial(_distance, view)
    plain = {who: "".join(c if c.isalnum() else "-" for c in name) for who, name in view.names.items()}
    for number, (who, name) in enumerate(plain.items()):
        twice = f"-{number}" if list(plain.values()).count(name) > 1 else ""
        yield f"errors-{view.net}-{name}{twice}", partial(_errors, view, who)
    yield f"filters-{view.net}", partial(_filters, view)
    yield f"digits-{view.net}", partial(_digits, view, digits)


@dataclass(frozen=True)
class _View:
    """What a document says of one net and seed. `free` are the backends that trained to the end, `lost` the others."""

    found: dict[str, Any]
    net: str
    seed: int

    @cached_property
    def runs(self) -> dict[str, dict[str, Any]]:
        return {r["who"]: r for r in self.found["runs"] if (r["net"], r["seed"]) == (self.net, self.seed)}

    @cached_property
    def names(self) -> dict[str, str]:
        """Of each backend a name that fits a label: of a file or module the class alone, where that tells it apart."""
        short = {who: who.rpartition(":")[2] if "/" in who or "." in who else who for who in self.found["backends"]}
        return {who: name if list(short.values()).count(name) == 1 else who for who, name in short.items()}

    @cached_property
    def free(self) -> list[str]:
        return [who for who in self.names if "losses" in self.runs[who]]

    @cached_property
    def lost(self) -> dict[str, str]:
        told = {who: self.runs[who]["facts"].get("lost", {}) for who in self.names if who not in self.free}
        return {who: f"{lost.get('kind', 'lost')} at step {lost.get('at', 0)}" for who, lost in told.items()}

    @cached_property
    def twins(self) -> list[str]:
        """What shows chance: the twins one ulp apart, and float64."""
        return [who for who, run in self.runs.items() if not run["backend"] and who != "reference"]

    def verdicts(self, who: str) -> dict[str, dict[str, Any]]:
        key = (self.net, self.seed, who)
        return {v["clause"]: v for v in self.found["verdicts"] if (v["net"], v["seed"], v["backend"]) == key}

    def broken(self, who: str, level: str = "MUST") -> list[str]:
        verdicts = self.verdicts(who).items()
        return [slug for slug, v in verdicts if v["level"] == level and v["state"] in ("fail", "crash")]

    def elsewhere(self, whom: Sequence[str], *here: str) -> str:
        """Who breaks clauses that are not told of here: the picture may not show it."""
        told = {who: [slug for slug in self.broken(who) if slug not in here] for who in whom}
        return "".join(f" {self.names[who]} breaks {', '.join(slugs)}." for who, slugs in told.items() if slugs)

    def groups(self, about: str, most: Mapping[str, float], same: str, apart: str) -> list[str]:
        """What the right backends have, by their largest figure, then what each wrong one has, then who is lost."""
        right = [who for who in most if not self.broken(who)]
        told = [(self.join(right), max(most[who] for who in right))] if right else []
        told += [(f"{self.names[who]} (fails)", most[who]) for who in most if who not in right]
        said = [f"{whom} {(apart if figure else same).format(_number(figure))}" for whom, figure in told]
        lost = [f"{self.names[who]} has no free run ({why})" for who, why in self.lost.items()]
        return [f"{about}: {said[0]}", *said[1:], *lost] if said else lost

    def join(self, whom: Sequence[str]) -> str:
        told = [self.names[who] for who in whom]
        if len(told) > 4:
            return f"{'all ' * (len(told) == len(self.names))}{len(told)} backends"
        return " and ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)

    def look(self, who: str) -> dict[str, Any]:
        """Colour, dashes and marker of a backend: the same in all pictures."""
        at = list(self.names).index(who)
        look = {"color": COLOURS[at % 6], "linestyle": DASHES[at % 5], "marker": MARKERS[at % 7], "zorder": 4 + at}
        return look | ({"markerfacecolor": "white"} if at % 2 else {})

    def figure(self, title: Iterable[str], more: str, height: float) -> Any:
        """A figure under its title, what was found; and in grey how it was found."""
        from matplotlib.figure import Figure  # noqa: PLC0415

        said = "; ".join(title)
        said = said if said.startswith(tuple(self.names.values())) else said[:1].upper() + said[1:]
        below = "Net {}, seed {}, {steps} steps of {batch} images. ".format(
            self.net, self.seed, **self.found["descent"]
        )
        lines, small = (textwrap.wrap(*w, break_on_hyphens=False) for w in ((said, 76), (below + more, 112)))
        head = 0.12 + 0.21 * len(lines) + 0.17 * len(small)
        figure, whole = Figure(figsize=(WIDTH, height + head), label=said), height + head
        figure.set_layout_engine("constrained", rect=(0, 0, 1, height / whole), w_pad=0.08, h_pad=0.06)
        style: dict[str, Any] = {"va": "top", "in_layout": False}
        figure.text(0.012, 1 - 0.1 / whole, "\n".join(lines), fontsize=12, fontweight="bold", **style)
        figure.text(0.012, 1 - (0.14 + 0.21 * len(lines)) / whole, "\n".join(small), color=GREY, **style)
        return figure


def _finite(numbers: Any) -> Floats:
    """Without NaN: what is no number, or null in a file, is infinitely far."""
    known: Floats = np.asarray(numbers, float)
    return np.where(np.isnan(known), np.inf, known)


def _number(value: float) -> str:
    """Two digits, as people write them; a count is whole."""
    text = f"{value:,.0f}" if 100 <= value < 1e4 else f"{value:.2g}"
    return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e").replace("inf", "infinity")


def _short(name: str, width: int = 22) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def _loss(view: _View) -> Any:
    losses = {who: np.asarray(run["losses"], float) for who, run in view.runs.items() if "losses" in run}
    reference, twins = losses["reference"], np.array([losses[who] for who in view.twins])
    with np.errstate(invalid="ignore"):
        apart = {who: _finite(np.abs(own - reference)) for who, own in losses.items()}
    chance = np.max([apart[who] for who in view.twins], axis=0)
    most = {who: float(apart[who].max()) for who in view.free}
    title = view.groups("Loss against the reference's", most, "equal to the bit", "up to {} away")
    more = f"Runs that are left to themselves. The twins' losses part by up to {_number(chance.max())}."
    figure = view.figure(title, more + view.elsewhere(view.free), 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.25))
    steps = np.arange(len(reference))
    above.fill_between(steps, twins.min(0), twins.max(0), color=PALE, linewidth=5)
    above.plot(steps, reference, color=BLACK, linewidth=2.4)
    above.set(ylim=(0, 1.5 * float(reference.max())), title="Loss")
    _lines(above, view, steps, losses, ("reference", reference, BLACK))
    floor = _floor(below, [*apart.values()])
    below.fill_between(steps, floor, np.maximum(chance, floor), color=PALE, linewidth=0)
    below.set(title="Distance of each loss to the reference's (log scale); grey: of its twins", xlabel="step")
    _lines(below, view, steps, apart, ("twins", chance, GREY))
    return figure


def _distance(view: _View) -> Any:
    marks = np.asarray(view.runs["reference"]["marks"])
    apart = {who: _finite(run["distance"]) for who, run in view.runs.items() if "distance" in run}
    wide = np.max([apart[who] for who in view.twins], axis=0)
    ends = {"training-end": int(marks[-1])}  # the early steps are compared on the same branches, which these are not
    wrong = {who: [slug for slug in ends if slug in view.broken(who)] for who in view.free}
    more = "Relative distance of all weights to the reference's; grey: twins one ulp apart, float64; ✕ fails."
    figure = view.figure(_distance_title(view, wrong, marks, apart, wide), more + view.elsewhere(view.free, *ends), 4.2)
    axes = figure.subplots()
    axes.set_xscale("log", base=2)
    limits = {slug: [view.verdicts(who)[slug]["limit"] for who in view.free] for slug in ends}
    floor = _floor(axes, [*apart.values(), *limits.values()])
    axes.fill_between(marks, floor, np.maximum(wide, floor), color=PALE, linewidth=0)
    for who in view.twins:
        axes.plot(marks, np.maximum(apart[who], floor), color="#A0A0A0", linewidth=0.7)
    ticks = [int(m) for m in marks if (m & (m - 1) == 0 and 1.25 * m < marks[-1]) or m == marks[-1]]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("steps done (log scale)")
    for slug, at in ends.items():
        for limit in sorted({*limits[slug]}):
            own = [_short(view.names[who]) for who, its in zip(view.free, limits[slug], strict=True) if its == limit]
            whose = "" if len(own) == len(view.free) else f"\n({own[0] if len(own) == 1 else f'{len(own)} backends'})"
            axes.plot([at / 1.12, at * 1.12], [limit] * 2, color=BLACK, linewidth=3, zorder=20, clip_on=False)
            axes.annotate(f"limit of\n{slug}{whose}", (at, limit), (0, 4), **NOTE)
        failed = [max(apart[who][list(marks).index(at)], floor) for who in view.free if slug in wrong[who]]
        axes.plot([at] * len(failed), failed, "x", color=BLACK, markersize=11, markeredgewidth=2.2, zorder=21)
    _lines(axes, view, marks, apart, ("twins", wide, GREY))
    return figure


def _distance_title(view: _View, wrong: Mapping[str, Any], marks: Any, apart: Any, wide: Floats) -> Iterator[str]:
    inside = [who for who in view.free if not wrong[who] and (apart[who] <= wide).all()]
    outside = [who for who in view.free if not wrong[who] and who not in inside]
    for own, where in ((inside, "inside the band of one-ulp twins"), (outside, "within what one-ulp twins allow")):
        if own:
            yield f"{view.join(own)} stay{'s' * (len(own) == 1)} {where}"
    for who in filter(wrong.__getitem__, wrong):
        left = marks[apart[who] > BAND * wide]
        where = f"leaves the band by step {left[0]} and " if len(left) else ""
        yield f"{view.names[who]} {where}fails {', '.join(wrong[who])}"
    yield from view.groups("", {}, "", "")


def _floor(axes: Any, all_of: Sequence[Any]) -> float:
    """Make the scale logarithmic, and keep a place at its foot for what is equal to the bit."""
    known = np.concatenate([*all_of])
    known = np.log10(known[np.isfinite(known) & (known > 0)])
    low, high = (int(np.floor(known.min())) - 1, float(known.max()) + 0.8) if known.size else (-9, -6.0)
    powers = range(low + 1, int(high) + 1, -(-(int(high) - low) // 8))
    axes.set(yscale="log", ylim=(10.0**low, 10.0**high), axisbelow=True)
    axes.set_yticks([10.0**low, *(10.0**power for power in powers)], ["equal", *(f"1e{power}" for power in powers)])
    axes.set_yticks([], minor=True)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    return float(10.0**low)


def _lines(axes: Any, view: _View, steps: Any, runs: Mapping[str, Floats], ground: tuple[str, Floats, str]) -> None:
    """Draw lines, and name them at their right ends, moved apart where they would lie on one another."""
    every, (low, high) = max(1, len(steps) // 8), axes.get_ylim()
    lines = [(view.names[who], runs[who], view.look(who)) for who in view.free]
    ends = []
    for number, (name, values, look) in enumerate([*lines, (*ground[:2], {"color": ground[2]})]):
        seen, first = np.isfinite(values), number * every // (len(lines) or 1)
        if "marker" in look:
            axes.plot(steps[seen], np.maximum(values[seen], low), markevery=(first, every), linewidth=1.6, **look)
        last = min(max(float(values[-1]) if seen.all() else high, low), high)
        y = axes.transLimits.transform(axes.transScale.transform((steps[-1], last)))[1]
        ends.append((float(y), _short(name) + "\n(not finite)" * (not seen.all()), look))
    ends.sort(key=lambda end: end[0])
    gap, at = 0.09, -1.0
    places = [at := max(at + gap, y) for y, _, _ in ends]
    for number, most in enumerate(1.02 - gap * np.arange(len(places))):  # those at the top push the others down again
        places[-1 - number] = min(places[-1 - number], float(most))
    aside: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for (y, name, look), place in zip(ends, places, strict=True):
        axes.plot([1.004, 1.02, 1.035], [y, place, place], color=look["color"], linewidth=0.9, **aside)
        axes.plot([1.035], [place], **{"marker": "", **look, "linestyle": ""}, **aside)
        axes.text(1.05, place, name, va="center", color=look["color"], fontweight="bold", **aside)


def _errors(view: _View, who: str) -> Any:
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap, LogNorm  # noqa: PLC0415

    rows, steps = view.found["compared"][view.net], view.found["descent"]["steps"]
    errors = _finite(view.runs[who].get("errors") or np.zeros((0, len(rows)))).T
    led, wide, clause = errors.shape[1], -(-steps // CELLS), "training-step"
    allowed = 0.999 if view.verdicts(who).get(clause, {}).get("state") == "fail" else 1  # a document has three digits
    more = "At the reference's weights, in units of the criterion; ✗ fails. Forward above the line, back below."
    more += f" A cell is the worst of {wide} steps." * (wide > 1) + view.elsewhere([who], clause)
    figure = view.figure([_errors_title(view, who, rows, errors, errors > allowed)], more, 0.19 * len(rows) + 1)
    axes, columns = figure.subplots(), -(-led // wide)
    cells = np.pad(errors, ((0, 0), (0, columns * wide - led))).reshape(len(rows), columns, wide).max(2, initial=0)
    edges = np.minimum(np.arange(columns + 1) * wide, led) - 0.5
    ramps = (LinearSegmentedColormap.from_list("", ramp)(np.linspace(0, 1, 128)) for ramp in (RIGHT, WRONG))
    colours = ListedColormap(np.concatenate([*ramps]))
    norm = LogNorm(1.000001e-6, 1.000001e6, clip=True)  # its middle is a hair above 1, which is still right
    if columns:
        grid: dict[str, Any] = {"edgecolors": "#E4E4E4", "linewidth": 0.3, "norm": norm}
        image = axes.pcolormesh(edges, np.arange(len(rows) + 1) - 0.5, np.clip(cells, 1e-7, 1e7), cmap=colours, **grid)
        bar = figure.colorbar(image, ax=axes, location="bottom", aspect=60, pad=0.01, shrink=0.8)
        bar.set_ticks([2e-6, 1e-3, 1, 1e3, 9e5], labels=["1e-6", "0.001", "1 = the criterion", "1,000", "1e6"])
        bar.ax.minorticks_off()
        y, x = np.nonzero(cells > allowed)
        axes.plot((edges[x] + edges[x + 1]) / 2, y, "x", color="white", markersize=3.2, markeredgewidth=0.9)
        axes.annotate("worst", (1.01, 1), (0, 2), xycoords="axes fraction", textcoords="offset points", fontsize=8)
    if led < steps:
        axes.text((led + steps - 1) / 2, len(rows) / 2, "no answer", ha="center", color=GREY)
    axes.set(xlim=(-0.5, steps - 0.5), ylim=(len(rows) - 0.5, -0.5), xlabel="step")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set(visible=True, color=GREY)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.axhline(rows.index("branches") + 0.5, color=BLACK, linewidth=1.2)
    for number, own in enumerate(errors if led else ()):
        wrong = int((own > allowed).sum())
        style = {"color": WRONG[0], "fontweight": "bold"} if wrong else {"color": GREY}
        text = _number(own.max()) + f"  ✗ {wrong} of {led}" * bool(wrong)
        axes.annotate(text, (1.01, number), xycoords=("axes fraction", "data"), va="center", fontsize=8, **style)
    return figure


def _errors_title(view: _View, who: str, rows: Sequence[str], errors: Floats, wrong: Any) -> str:
    name, led, lost = view.names[who], errors.shape[1], view.lost.get(who, "")
    if not led:
        return f"{name} gave no step to compare ({lost})"
    lost = f"; no free run ({lost})" * bool(lost)
    if wrong.any():
        steps = np.flatnonzero(wrong.any(0))
        first, count = rows[wrong[:, steps[0]].argmax()], "all" if len(steps) == led else f"{len(steps)} of"
        return f'{name} breaks the criterion at {count} {led} steps, first at step {steps[0]} in "{first}"{lost}'
    if not errors.any():
        return f"{name} is equal to the reference to the bit at all {led} steps{lost}"
    return f"{name} meets the criterion in every tensor at all {led} steps (worst: {_number(errors.max())}){lost}"


def _filters(view: _View) -> Any:
    reference = np.array(view.runs["reference"]["first_filters"], float)
    own = {who: np.array(view.runs[who]["first_filters"], float) for who in view.free}
    most = {who: float(_finite(np.abs(filters - reference)).max()) for who, filters in own.items()}
    most = {who: figure * (figure >= 1e-6) for who, figure in most.items()}  # a document has six decimals
    title = view.groups("First filters against the reference's", most, "equal to 6 decimals", "up to {} away")
    bands, columns = max(1, -(-len(own) // ABREAST)), 1 + min(ABREAST, max(1, len(own)))
    tall = -(-reference.shape[3] // 8) / 8 * WIDTH / columns * 0.9
    more = "Below each, its difference to the reference's, amplified as said." + view.elsewhere(view.free)
    figure = view.figure(title, more, bands * 2 * (tall + 0.35) + 0.4)
    axes = figure.subplots(2 * bands, columns, squeeze=False, subplot_kw=BARE)
    largest = float(np.abs(reference).max())
    image, *_ = [_mosaic(axes[2 * band, 0], reference, largest, "reference") for band in range(bands)]
    for number, (who, filters) in enumerate(own.items()):
        above, below = axes[2 * (number // ABREAST) :, 1 + number % ABREAST][:2]
        _mosaic(above, filters, largest, _short(view.names[who]))
        room = largest / most[who] if most[who] else 1.0
        factor = max((f for f in (m * 10.0**p for p in range(8) for m in (1, 2, 5)) if f <= room), default=1.0)
        said = f"difference x {factor:,.7g}" if most[who] else "no difference"
        _mosaic(below, (filters - reference) * factor, largest, said)
    figure.colorbar(image, ax=axes, location="bottom", aspect=60, shrink=0.6, pad=0.02, label="weight")
    return figure


def _mosaic(axes: Any, filters: Floats, largest: float, title: str) -> Any:
    """All filters beside one another, eight a row."""
    sheet = np.pad(filters.mean(axis=2), ((0, 1), (0, 1), (0, -filters.shape[3] % 8)), constant_values=np.nan)
    sheet = sheet.reshape(*sheet.shape[:2], -1, 8).transpose(2, 0, 3, 1)
    sheet = sheet.reshape(sheet.shape[0] * sheet.shape[1], -1)
    axes.set_title(title)
    return axes.imshow(sheet, cmap="PuOr", vmin=-largest, vmax=largest, interpolation="nearest")


def _digits(view: _View, digits: Digits) -> Any:
    answers = {who: dict(run["misclassified"]) for who, run in view.runs.items() if "misclassified" in run}
    count = len(digits.test_labels)
    known = min([count, *(max(own) + 1 for own in answers.values() if len(own) >= KEPT)])  # what a document tells of
    labels = digits.test_labels[:known].tolist()
    given = {who: [own.get(i, label) for i, label in enumerate(labels)] for who, own in answers.items()}
    apart = {who: [i for i in range(known) if given[who][i] != given["reference"][i]] for who in given}
    differ = sorted({i for who in view.free for i in apart[who]})
    wrong = [i for i in range(known) if given["reference"][i] != labels[i]]
    images = f"{known:,} test images" if known == count else f"the first {known:,} test images"
    most = {who: len(apart[who]) for who in view.free}
    title = view.groups(f"Answers on {images}", most, "as the reference", "unlike the reference on up to {}")
    fails = {who: " (fails training-accuracy)" * bool(view.broken(who, "SHOULD")) for who in ("reference", *view.free)}
    right = [f"{_short(view.names.get(w, w))} {view.runs[w]['accuracy']:.1%}{more}" for w, more in fails.items()]
    what = "where they differ; who is not named answers as the reference" if differ else "that all get wrong"
    shown = (differ or wrong)[:SHOWN]
    more = f"Right: {', '.join(right)}. Twins differ on up to {max(len(apart[who]) for who in view.twins)}. "
    high = -(-len(shown) // 6) or 1
    figure = view.figure(title, f"{more}Shown: {len(shown)} of {len(differ or wrong)} {what}.", high * 1.6 + 0.1)
    figure.subplots(high, 6, squeeze=False, subplot_kw=BARE)
    for i, axes in zip(shown, figure.axes, strict=False):
        axes.imshow(digits.test_images[i, :, :, 0], cmap="gray_r", interpolation="nearest")
        said = {"reference": given["reference"][i]}
        said |= {view.names[who]: given[who][i] for who in view.free if i in apart[who]}
        text = "\n".join(f"{_short(name, 15)}: {answer} {'✗✓'[answer == labels[i]]}" for name, answer in said.items())
        axes.set_title(f"true {labels[i]}", loc="center", fontweight="bold", pad=2)
        axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    return figure
