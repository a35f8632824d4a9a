"""The figures of the report as SVG. They use the colours of the page, which has a light and a dark mode."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from transforms.printable import printable
from transforms.vggish.params import MEL_BANDS, MEL_BREAK_HZ, MEL_MAX_HZ, MEL_MIN_HZ

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
    "font.size": 10,
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
_WIDTH, _HEIGHT = 4.2, 2.5
# Maximum length of a name in a figure.
_NAME_CHARACTERS = 32
_TICKS_HZ = (250, 500, 1_000, 2_000, 4_000)


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
        axes.set_yticks(places, [short(name) for name in names])
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
        inner = 1.25 * share[1:-1].max()
        if not is_raw and 0 < inner < share[[0, -1]].max():
            # The two ends, where values are clipped, would make all other bars invisible.
            axes.set_ylim(0, inner)
            for place, end, side in ((0, "0", "left"), (-1, "255", "right")):
                if share[place] > inner:
                    axes.annotate(
                        f"{end}: {share[place]:.1f}%, beyond the axis",
                        (edges[place], inner),
                        ha=side,
                        va="bottom",
                        annotation_clip=False,
                    )

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
        extent = (0, length_s, 0, MEL_BANDS)
        energies = top.imshow(log_mel.T, cmap="magma", extent=extent, **picture)
        top.set_ylabel("Hz")
        top.set_yticks([band_of(frequency_hz) for frequency_hz in _TICKS_HZ], map("{:,}".format, _TICKS_HZ))
        end_s = len(frames) * hop_s
        limits: Any = {"vmin": 0, "vmax": 255} if frames.dtype == np.uint8 else {}
        extent = (0, end_s, 0, frames.shape[1])
        features = bottom.imshow(frames.T, cmap="viridis", extent=extent, **limits, **picture)
        bottom.set_ylabel("dimension")
        bottom.set_xlabel("seconds")
        for shown, axes, unit in ((energies, top, "log energy"), (features, bottom, "value")):
            bar = axes.figure.colorbar(shown, ax=axes, pad=0.02, aspect=14, label=unit)
            bar.outline.set_visible(False)
        for axes in (top, bottom):
            axes.grid(False)
            axes.set_xlim(0, max(length_s, end_s))

    return _svg(name, draw, height=3.4, rows=2)


def band_of(frequency_hz: float) -> float:
    """Returns where the centre of a mel band at a frequency is in a spectrogram with bands of height 1."""
    ends = (MEL_MIN_HZ, MEL_MAX_HZ)
    low, high, mel = (np.log1p(value / MEL_BREAK_HZ) for value in (*ends, frequency_hz))
    return float((mel - low) / (high - low) * (MEL_BANDS + 1) - 0.5)


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


def short(name: str) -> str:
    """Shortens a name so that it fits in a figure."""
    name = printable(name)
    half = _NAME_CHARACTERS // 2
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: half - 1]}…{name[-half:]}"
