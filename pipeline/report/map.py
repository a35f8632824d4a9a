"""The map of embeddings: a point per frame, with its clip's name, in groups that can be highlighted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import escape
from numpy.typing import NDArray

from pipeline.report.plots import short
from transforms.features.sample import SampledClip, project
from transforms.printable import printable
from transforms.redact import shown_text

# Points, and groups with a colour of their own; the page has as many colours.
_POINTS, _GROUPS = 1_500, 8
# Size of the drawing, and the margin around the points.
_WIDTH, _HEIGHT, _MARGIN = 440.0, 300.0, 8.0


class EmbeddingMap(NamedTuple):
    """A map.

    Attributes:
      svg: the drawing; a point has the class of its colour, `g1` for group 1 or `g0` for no group, and the
        classes of its clip's other groups as `data-also`.
      groups: names of the groups, from 1; the last entry may be "others", with number 0. Empty if there is
        only one group: a legend would say nothing.
      caption: what the drawing shows.
    """

    svg: str
    groups: list[tuple[int, str]]
    caption: str


def make_map(clips: Sequence[SampledClip], class_names: Mapping[int, str]) -> EmbeddingMap | None:
    """Returns the map of a sample of clips; None if they have fewer than three different frames."""
    points, owners = _choose(clips)
    if len(np.unique(points, axis=0)) < 3:
        return None
    by, groups_of = _groups_of(clips, class_names)
    common = Counter(name for names in groups_of for name in names)
    shown = sorted(common, key=lambda name: (-common[name], name))[:_GROUPS]
    numbers = [[n for n, name in enumerate(shown, 1) if name in names] or [0] for names in groups_of]
    projected, shares = project(points)
    groups = [(number, short(name)) for number, name in enumerate(shown, 1)]
    if [0] in numbers:
        groups.append((0, "others"))
    if len(groups) == 1:
        groups, by = [], ""
    titles = [
        _title(clip, names if clip.segment.labels else ())
        for clip, names in zip(clips, groups_of, strict=True)
    ]
    return EmbeddingMap(
        _draw(projected, [(numbers[owner], titles[owner]) for owner in owners]),
        groups,
        f"One point per frame{f', coloured by {by}' if by else ''}; similar sounds are near to each other. "
        "The tooltip of a point names its clip. The axes are the first two principal components, with "
        f"{shares[0]:.0%} and {shares[1]:.0%} of the sample's variance.",
    )


def _choose(clips: Sequence[SampledClip]) -> tuple[NDArray, list[int]]:
    """Returns frames [n, 128] with about as many of each clip, and for each the index of its clip."""
    each = -(-_POINTS // len(clips))
    chosen = [clip.frames[:: max(1, len(clip.frames) // each)][:each] for clip in clips]
    owners = [number for number, frames in enumerate(chosen) for _ in frames]
    return np.concatenate(chosen)[:_POINTS], owners[:_POINTS]


def _groups_of(
    clips: Sequence[SampledClip], class_names: Mapping[int, str]
) -> tuple[str, list[tuple[str, ...]]]:
    """Returns what the groups are, and the names of each clip's groups."""
    if any(clip.segment.labels for clip in clips):
        return "label", [
            tuple(class_names.get(i, f"class {i}") for i in clip.segment.labels) for clip in clips
        ]
    if len(clips) <= _GROUPS:
        return "clip", [(clip.segment.video_id,) for clip in clips]
    return "split", [(clip.segment.split,) for clip in clips]


def _title(clip: SampledClip, labels: Sequence[str]) -> str:
    parts = [clip.segment.video_id, *labels]
    return printable(shown_text(", ".join(parts)))


def _draw(points: NDArray[np.float64], groups: Sequence[tuple[list[int], str]]) -> str:
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
    places = (points - low) / size * (_WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN) + _MARGIN
    circles = (
        f'<circle class="g{first}"{_also(others)} cx="{x:.1f}" cy="{_HEIGHT - y:.1f}" r="2.5">'
        f"<title>{escape(title)}</title></circle>"
        for (x, y), ((first, *others), title) in zip(places, groups, strict=True)
    )
    return f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" class="points">{"".join(circles)}</svg>'


def _also(groups: Sequence[int]) -> str:
    return f' data-also="{" ".join(f"g{number}" for number in groups)}"' if groups else ""
