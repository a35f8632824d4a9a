"""The figures of the report as SVG. They use the colours of the page, which has a light and a dark mode."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from transforms.printable import printable

# Figures are drawn in these colours, which are then replaced by the page's variables. No figure uses these
# colours for another purpose.
_VARIABLES = {
    "#000001": "var(--ink)",
    "#000002": "var(--muted)",
    "#000003": "var(--grid)",
    **{f"#00001{number}": f"var(--c{number})" for number in range(1, 9)},
}
_INK, _MUTED, _GRID, *COLOURS = _VARIABLES
_SETTINGS: Any = {
    "svg.fonttype": "none",  # keeps text as text: small, selectable and in the page's font
    "svg.hashsalt": "report",
    # A dollar sign in a name must not start a formula, whatever the user's Matplotlib settings are.
    "text.parse_math": False,
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "font.size": 9,
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "legend.frameon": False,
}
# In inches; the text is then about 11 pixels high on a phone.
_WIDTH, _HEIGHT = 4.4, 2.5
# Maximum length of a name in a figure.
_NAME_CHARACTERS = 32


def throughput(times_s: Sequence[float], clips: Sequence[int], rejected: Sequence[int]) -> str:
    """Plots the number of done and rejected clips over the time of a run."""

    def draw(axes: Axes) -> None:
        unit_s, unit = (60, "minutes") if times_s[-1] > 300 else (1, "seconds")
        times = np.array(times_s) / unit_s
        axes.fill_between(times, clips, color=COLOURS[0], alpha=0.2, linewidth=0)
        axes.plot(times, clips, color=COLOURS[0], label="clips done")
        axes.plot(times, rejected, color=COLOURS[3], label="rejected")
        axes.set_xlabel(f"{unit} since the start")
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
        axes.legend(loc="upper left")

    return _svg("throughput", draw)


def lengths(seconds: NDArray[np.float64]) -> str:
    """Plots the histogram of clip lengths."""

    def draw(axes: Axes) -> None:
        axes.hist(seconds, bins=30 if np.ptp(seconds) else 1, histtype="stepfilled", color=COLOURS[0])
        axes.set_xlabel("seconds")
        axes.set_ylabel("clips")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))

    return _svg("lengths", draw)


def frames_by_split(frames: dict[str, float]) -> str:
    """Plots the number of frames per split."""

    def draw(axes: Axes) -> None:
        names, numbers = list(frames)[::-1], list(frames.values())[::-1]
        places = range(len(names))
        bars = axes.barh(places, numbers, color=COLOURS[0], height=0.6)
        axes.bar_label(bars, [f"{number:,.0f}" for number in numbers], padding=4)
        axes.set_yticks(places, [_short(name) for name in names])
        axes.grid(False)
        axes.set_xticks([])
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(left=False)
        axes.margins(x=0.25)

    return _svg("frames", draw, height=0.7 + 0.35 * len(frames))


def values(counts: NDArray, edges: NDArray, is_raw: bool) -> str:
    """Plots the histogram of bytes, or of values for raw embeddings."""

    def draw(axes: Axes) -> None:
        share = counts / counts.sum() * 100
        axes.stairs(share, edges, fill=True, color=COLOURS[0])
        axes.set_xlabel("value" if is_raw else "byte")
        axes.set_ylabel("% of values")
        axes.margins(x=0.01)

    return _svg("values", draw)


def saturation(at_0: NDArray, at_255: NDArray) -> str:
    """Plots the share of frames in which each dimension is at an end of its range."""

    def draw(axes: Axes) -> None:
        edges = np.arange(len(at_0) + 1) - 0.5
        axes.stairs(at_255 * 100, edges, fill=True, color=COLOURS[1], label="at 255")
        axes.stairs(at_0 * -100, edges, fill=True, color=COLOURS[0], label="at 0")
        top = max(5.0, 115 * max(at_0.max(), at_255.max()))
        axes.set_ylim(-top, top)
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.axhline(0, color=_MUTED, linewidth=0.8)
        axes.set_xlabel("dimension")
        axes.set_ylabel("% of frames")
        axes.margins(x=0.01)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    return _svg("saturation", draw)


def embedding_map(points: NDArray, groups: NDArray, names: Sequence[str], shares: NDArray) -> str:
    """Plots frames on their first two principal components.

    Args:
      points: float[n, 2].
      groups: int[n], for each point the index of its group in `names`; -1 for other points.
      names: names of the groups, at most eight; each has its own colour.
      shares: share of the variance of each component.
    """

    def draw(axes: Axes) -> None:
        shown: dict[int, Artist] = {}  # the key of other points is -1
        others = points[groups < 0]
        if len(others):
            shown[-1] = axes.scatter(others[:, 0], others[:, 1], s=9, color=_MUTED, alpha=0.35, linewidths=0)
        for place, colour in zip(range(len(names)), COLOURS, strict=False):
            own = points[groups == place]
            shown[place] = axes.scatter(own[:, 0], own[:, 1], s=12, color=colour, alpha=0.8, linewidths=0)
        axes.set_xlabel(f"first component, {shares[0]:.0%} of the variance")
        axes.set_ylabel(f"second, {shares[1]:.0%}")
        axes.set_xticks([])
        axes.set_yticks([])
        legend = axes.legend(
            list(shown.values()),
            [*map(str, shown)],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            ncols=2,
            markerscale=1.6,
        )
        legend.set_in_layout(True)
        # Labels are set afterwards, since a legend skips empty labels and labels that begin with an
        # underscore.
        for text, place in zip(legend.get_texts(), shown, strict=True):
            text.set_text("others" if place < 0 else _short(names[place]))

    return _svg("map", draw, height=3.2 + 0.1 * len(names))


def clip_pictures(log_mel: NDArray[np.float32], frames: NDArray, hop_s: float, name: str) -> str:
    """Plots a clip's log-mel spectrogram above its embeddings, on a common time axis.

    Args:
      log_mel: float32[spectrogram frames, 64], 10 ms per frame.
      frames, hop_s: features, [n, 128], and the time from one frame to the next in seconds.
      name: a unique name on the page.
    """
    length_s = len(log_mel) / 100

    def draw(top: Axes, bottom: Axes) -> None:
        picture: Any = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
        top.imshow(log_mel.T, cmap="magma", extent=(0, length_s, 0, 64), **picture)
        top.set_ylabel("mel band")
        end_s = len(frames) * hop_s
        bottom.imshow(frames.T, cmap="viridis", extent=(0, end_s, 0, frames.shape[1]), **picture)
        bottom.set_ylabel("dimension")
        bottom.set_xlabel("seconds")
        for axes in (top, bottom):
            axes.grid(False)
            axes.set_xlim(0, max(length_s, end_s))

    return _svg(name, draw, height=3.2, rows=2)


def _svg(name: str, draw: Callable[..., None], height: float = _HEIGHT, rows: int = 1) -> str:
    # The salt makes ids unique on the page. Warnings are hidden: for example, Matplotlib warns of characters
    # that are missing in its own font, but the page uses another font.
    with rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figure = Figure((_WIDTH, height), layout="constrained")
        draw(*np.atleast_1d(figure.subplots(rows, 1, sharex=rows > 1)))
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    # The page sets the size.
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub("<[^>]*>", _page_tag, svg)  # changes only tags, since a name may look like a part of one


def _page_tag(match: re.Match[str]) -> str:
    """Replaces the colours and the font of a tag by the page's."""
    tag = match[0]
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, variable)
    tag = re.sub(r'^<g id="[^"]*"', "<g", tag)  # these ids are the same in every figure and not referenced
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", tag)


def _short(name: str) -> str:
    """Shortens a name so that it fits in a figure."""
    name = printable(name)
    half = _NAME_CHARACTERS // 2
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: half - 1]}…{name[-half:]}"
