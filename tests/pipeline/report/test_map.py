"""The map: points with names, and groups."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_printable import TEXTS

from pipeline.report import map as embedding_map
from pipeline.report.map import make_map
from transforms.audioset.segments import Segment
from transforms.features.sample import SampledClip


def clips(count: int, frames: int = 3, labels=lambda n: (), split=lambda n: "train") -> list[SampledClip]:
    rng = np.random.default_rng(0)
    return [
        SampledClip(
            Segment(split(n), f"clip{n}", 0.0, 3.0, labels(n)),
            rng.integers(0, 256, (frames, 128)).astype(np.uint8),
        )
        for n in range(count)
    ]


def groups_of_points(svg: str) -> list[str]:
    return re.findall(r'<circle class="(g\d)"', svg)


def test_a_few_clips_have_a_colour_each():
    found = make_map(clips(4), {})
    assert found.groups == [(n + 1, f"clip{n}") for n in range(4)] and "coloured by clip" in found.caption
    assert groups_of_points(found.svg) == [f"g{n}" for n in (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)]
    assert found.svg.count("<title>clip0</title>") == 3


def test_many_clips_have_the_colour_of_their_split():
    found = make_map(clips(20, split=lambda n: ("eval", "train")[n % 2]), {})
    assert found.groups == [(1, "eval"), (2, "train")] and "coloured by split" in found.caption


def test_one_group_has_no_legend():
    found = make_map(clips(20), {})
    assert found.groups == [] and "coloured" not in found.caption and {*groups_of_points(found.svg)} == {"g1"}
    assert "<title>clip0</title>" in found.svg
    found = make_map(clips(20, labels=lambda n: (3,)), {3: "Speech"})
    assert found.groups == [] and "<title>clip0, Speech</title>" in found.svg


def test_the_most_frequent_labels_have_colours():
    found = make_map(clips(20, labels=lambda n: (n % 12, 3)), {3: "Speech"})
    assert found.groups[0] == (1, "Speech") and len(found.groups) == 8
    assert "coloured by label" in found.caption and {*groups_of_points(found.svg)} == {"g1"}
    assert "<title>clip0, class 0, Speech</title>" in found.svg
    other = next(number for number, name in found.groups if name == "class 0")
    assert f'class="g1" data-also="g{other}"' in found.svg  # the point is highlighted with each of its labels
    found = make_map(clips(20, labels=lambda n: (n,)), {})
    assert found.groups[-1] == (0, "others") and "g0" in groups_of_points(found.svg)


def test_points_are_within_the_drawing_and_bounded_in_number(monkeypatch):
    monkeypatch.setattr(embedding_map, "_POINTS", 10)
    found = make_map(clips(4), {})
    assert len(groups_of_points(found.svg)) == 10
    for x, y in re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', found.svg):
        assert 8 <= float(x) <= 432 and 8 <= float(y) <= 292


def test_without_differences_there_is_no_map():
    assert make_map(clips(1, frames=2), {}) is None
    same = [SampledClip(Segment("train", "a", 0.0, 9.0), np.zeros((9, 128), np.uint8))]
    assert make_map(same, {}) is None


@settings(max_examples=15)
@given(st.lists(TEXTS, min_size=3, max_size=8, unique=True))
def test_any_name_is_text(names):
    frames = np.random.default_rng(0).integers(0, 256, (len(names), 1, 128)).astype(np.uint8)
    sample = [SampledClip(Segment("t", name, 0.0, 1.0), own) for name, own in zip(names, frames, strict=True)]
    svg = make_map(sample, {}).svg
    assert svg.count("<") == 2 + 4 * len(names) and svg.count("<title>") == len(names)
