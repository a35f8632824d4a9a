"""The results of `pipeline.analyze`, as Markdown tables and as JSON."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.audio.dsp.log_mel import band_centres_hz
from transforms.printable import counted, printable
from transforms.read_features import QUANTIZED
from transforms.statistics.count_clips import Count
from transforms.statistics.frechet import MIN_VECTORS, Extrapolation, frechet_distance
from transforms.statistics.moments import Moments, mean_shifts
from transforms.vggish.postprocess import RELEASED_RANGE, QuantizationRange

AUDIO = "audio"  # besides the kinds of frames
_PERCENTS = (1, 5, 25, 50, 75, 95, 99)
_NUMBER = re.compile(r"-?([\d,.]+%?|inf)")
_MS_PER_HOUR = 3_600_000
_COUNTS = "clips", "frames", "hours"
# Characters that Markdown may treat as markup; an underscore inside a word is not.
_MARKUP = re.compile(r"[\\`*<>\[\]&~$]|\b_|_\b|__")
# Digits of a number in JSON. Runners add in different orders, which changes the last two or three of 16
# digits.
_DIGITS = 12


@dataclass(frozen=True)
class Table:
    """A Markdown table of formatted values."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def lines(self, max_rows: int | None = None) -> Iterator[str]:
        """Yields the table's lines, with at most `max_rows` rows."""
        yield f"## {self.title}"
        yield ""
        shown = self.rows[:max_rows]
        columns = []
        for header, *cells in zip(self.header, *shown, strict=True):
            width = max(map(len, (header, *cells)))
            is_numbers = all(map(_NUMBER.fullmatch, cells))
            pad, last = (str.rjust, ":") if is_numbers else (str.ljust, "-")
            rule = "-" * (width - 1) + last
            columns.append([pad(header, width), rule, *(pad(cell, width) for cell in cells)])
        for row in zip(*columns, strict=True):
            yield f"| {' | '.join(row)} |"
        if len(shown) < len(self.rows):
            yield ""
            yield f"... and {counted(len(self.rows) - len(shown), 'more row')}, with --output"
        yield ""


@dataclass(frozen=True)
class Statistics:
    """Statistics of a feature folder or an audio corpus.

    Attributes:
      source: the folder, or the globs.
      kind: `quantized` or `raw` features, or `audio`.
      counts: counts of clips, by split and label.
      moments: moments of the frames, dequantized if they are quantized; for audio, of the spectrogram's
        frames; None if there are no frames.
      quantization: range of values that the bytes represent.
      class_names: index -> display name; empty if unknown.
      rejected: for audio, reason -> number of clips without a frame.
    """

    source: str
    kind: str
    counts: Sequence[Count]
    moments: Moments | None
    quantization: QuantizationRange = RELEASED_RANGE
    class_names: Mapping[int, str] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """Returns the sum over all splits of a field of `Count`: clips, frames or duration_ms."""
        return sum(getattr(count, name) for count in self.counts if count.label is None)

    @property
    def hours(self) -> float:
        return self.total("duration_ms") / _MS_PER_HOUR

    @property
    def clipped(self) -> tuple[float, float]:
        """Share of bytes that are 0, and share of bytes that are 255."""
        assert self.moments
        values = self.moments.count * len(self.moments.mean)
        return float(self.moments.at_0.sum() / values), float(self.moments.at_255.sum() / values)

    def summary(self) -> list[str]:
        """Returns a summary of a few lines, as a Markdown list."""
        lines = [
            f"- {self.kind}: {markdown_text(self.source)}",
            f"- {counted(self.total('clips'), 'clip')}, {counted(self.total('frames'), 'frame')}, "
            f"{self.hours:,.2f} hours",
        ]
        if self.rejected:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(self.rejected.items()))
            lines.append(f"- rejected {counted(sum(self.rejected.values()), 'clip')}: {reasons}")
        if self.moments is None or self.kind == AUDIO:
            return lines
        if self.kind == QUANTIZED:
            low, high = self.quantization.low, self.quantization.high
            at_0, at_255 = self.clipped
            lines.append(f"- bytes represent {low:g} to {high:g}; {at_0:.2%} are 0 and {at_255:.2%} are 255")
        variances = self.moments.axis_variances
        lines.append(
            f"- variance along the axes of the covariance from {variances[0]:.4g} to {variances[-1]:.4g}, "
            f"total {variances.sum():.4g}; mean correlation of two dimensions "
            f"{self.moments.mean_correlation:.4f}"
        )
        return lines

    def tables(self) -> Iterator[Table]:
        """Yields all tables."""
        yield self._splits()
        if any(count.label is not None for count in self.counts):
            yield self._labels()
        if self.moments is not None:
            yield _bands(self.moments) if self.kind == AUDIO else self._dimensions(self.moments)

    def _splits(self) -> Table:
        counts = [count for count in self.counts if count.label is None]
        rows = [(_cell(c.split), *_count_cells(c.clips, c.frames, c.duration_ms)) for c in counts]
        return Table("Splits", ("split", *_COUNTS), rows)

    def _labels(self) -> Table:
        splits = sorted({count.split for count in self.counts})
        shown_splits = splits if len(splits) > 1 else []
        totals: dict[int, NDArray] = defaultdict(lambda: np.zeros(3, np.int64))
        by_split: Counter[tuple[int, str]] = Counter()
        for count in self.counts:
            if count.label is not None:
                totals[count.label] += (count.clips, count.frames, count.duration_ms)
                by_split[count.label, count.split] += count.clips
        rows = [
            (
                str(label),
                _cell(self.class_names.get(label, "")),
                *_count_cells(*totals[label].tolist()),
                *(f"{by_split[label, split]:,}" for split in shown_splits),
            )
            for label in sorted(totals, key=lambda label: (-totals[label][0], label))
        ]
        header = ("label", "name", *_COUNTS, *(f"clips of {_cell(split)}" for split in shown_splits))
        return Table("Labels", header, rows)

    def _dimensions(self, moments: Moments) -> Table:
        columns = {"mean": moments.mean, "std": moments.std, "min": moments.minimum}
        columns |= {f"{percent} %": moments.quantile(percent) for percent in _PERCENTS}
        columns |= {"max": moments.maximum}
        header, rows = ["dimension", *columns], _number_rows(columns)
        if self.kind == QUANTIZED:
            header += ["at 0", "at 255"]
            for row, *shares in zip(rows, moments.at_0, moments.at_255, strict=True):
                row += [f"{share / moments.count:.1%}" for share in shares]
        return Table("Dimensions", header, rows)

    def to_json(self) -> dict[str, Any]:
        splits: dict[str, Any] = {}
        for count in self.counts:
            hours = rounded(count.duration_ms / _MS_PER_HOUR)
            numbers = {"clips": count.clips, "frames": count.frames, "hours": hours}
            if count.label is None:
                splits[count.split] = numbers | {"labels": {}}
            else:
                name = self.class_names.get(count.label)
                splits[count.split]["labels"][str(count.label)] = {"name": name} | numbers
        values = {
            "source": self.source,
            "kind": self.kind,
            "clips": self.total("clips"),
            "frames": self.total("frames"),
            "hours": rounded(self.hours),
            "splits": splits,
        }
        moments = self.moments
        if self.kind == AUDIO:
            values["rejected"] = dict(sorted(self.rejected.items()))
            if moments:
                of_bands = {"band_hz": band_centres_hz(), "mean": moments.mean, "variance": moments.variance}
                values["log_mel"] = {"frames": moments.count} | _rounded_arrays(of_bands)
        elif moments:
            found = {name: getattr(moments, name) for name in ("mean", "variance", "minimum", "maximum")}
            values["values"] = _rounded_arrays(found | {"covariance": moments.covariance})
            values["values"]["quantiles"] = _rounded_arrays(
                {f"{percent / 100:g}": moments.quantile(percent) for percent in _PERCENTS}
            )
            if self.kind == QUANTIZED:
                values["quantization_range"] = [self.quantization.low, self.quantization.high]
                shares = {"0": moments.at_0 / moments.count, "255": moments.at_255 / moments.count}
                values["values"]["clipped"] = _rounded_arrays(shares)
        return values


@dataclass(frozen=True)
class SideBySide:
    """A comparison of two feature folders of the same kind, both with frames.

    Attributes:
      extrapolation: the Fréchet distance for infinitely many frames of the first; None if it has too few, or
        too few clips.
    """

    one: Statistics
    other: Statistics
    extrapolation: Extrapolation | None = None

    @property
    def moments(self) -> tuple[Moments, Moments]:
        assert self.one.moments and self.other.moments
        return self.one.moments, self.other.moments

    def summary(self) -> list[str]:
        """Returns a summary of a few lines, as a Markdown list."""
        one, other = self.moments
        shifts = np.abs(mean_shifts(one, other))
        return [
            *self.one.summary(),
            *self.other.summary(),
            f"- Fréchet audio distance {frechet_distance(one, other):.6g}; {self._extrapolated()}",
            f"- {self._comparable()}",
            f"- shift of the means, in standard deviations of the second: mean {shifts.mean():.4g}, "
            f"maximum {shifts.max():.4g} (dimension {shifts.argmax()})",
        ]

    def _extrapolated(self) -> str:
        if self.extrapolation is None:
            return (
                f"not extrapolated, which needs {2 * MIN_VECTORS:,} frames of many clips in the first folder"
            )
        found = self.extrapolation
        return f"{found.distance:.6g} for infinitely many frames of the first (R² {found.r2:.3f})"

    def _comparable(self) -> str:
        if self.one.kind == QUANTIZED:
            return (
                "published distances are of raw embeddings; to compare with them, give folders of "
                "--postprocess=raw"
            )
        return (
            "a published distance is comparable if its second corpus, hop, network and sample rate are the "
            "same: docs/statistics.md"
        )

    def tables(self) -> Iterator[Table]:
        """Yields the table of dimensions, sorted by shift, largest first."""
        one, other = self.moments
        shifts = mean_shifts(one, other)
        columns = {
            "shift": shifts,
            "mean": one.mean,
            "mean of the second": other.mean,
            "std": one.std,
            "std of the second": other.std,
        }
        rows = np.array(_number_rows(columns))[np.argsort(-np.abs(shifts), kind="stable")]
        yield Table("Shifts", ["dimension", *columns], rows.tolist())

    def to_json(self) -> dict[str, Any]:
        one, other = self.moments
        arrays = {"mean_shift": mean_shifts(one, other), "std": one.std, "std_of_second": other.std}
        found = self.extrapolation
        return {
            "frechet_audio_distance": rounded(frechet_distance(one, other)),
            "frechet_audio_distance_infinity": found
            and {
                "distance": rounded(found.distance),
                "r2": rounded(found.r2),
                "frames": [count for count, _ in found.points],
                "distances": rounded([distance for _, distance in found.points]),
            },
            **_rounded_arrays(arrays),
            "first": self.one.to_json(),
            "second": self.other.to_json(),
        }


def markdown_text(text: str) -> str:
    """Escapes foreign text for Markdown: unchanged, or as code if it could be markup."""
    text = printable(text)
    if not _MARKUP.search(text):
        return text
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text[0] in "` " or text[-1] in "` " else ""  # Markdown removes it again
    return f"{fence}{space}{text}{space}{fence}"


def _cell(text: str) -> str:
    return markdown_text(text).replace("|", r"\|")


def rounded(value: Any) -> Any:
    """Rounds a number, or the numbers in lists, to 12 digits; None for non-finite ones, which JSON lacks."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _rounded_arrays(arrays: Mapping[str, NDArray]) -> dict[str, Any]:
    return {name: rounded(array.tolist()) for name, array in arrays.items()}


def _bands(moments: Moments) -> Table:
    columns = {"mean": moments.mean, "variance": moments.variance}
    rows = _number_rows(columns)
    for row, hz in zip(rows, band_centres_hz(), strict=True):
        row.insert(1, f"{hz:,.0f}")
    return Table("Log-mel bands", ["band", "Hz", *columns], rows)


def _number_rows(columns: Mapping[str, NDArray]) -> list[list[str]]:
    return [
        [str(number), *(f"{value:.4f}" for value in row)]
        for number, row in enumerate(zip(*columns.values(), strict=True))
    ]


def _count_cells(clips: int, frames: int, duration_ms: int) -> tuple[str, str, str]:
    return f"{clips:,}", f"{frames:,}", f"{duration_ms / _MS_PER_HOUR:,.2f}"
