from dataclasses import replace

import apache_beam as beam
import numpy as np
from apache_beam.testing.util import assert_that

from transforms.audioset.segments import Segment
from transforms.statistics.sum_groups import NUM_GROUPS, SumGroups, group_of


def test_each_frame_is_in_the_sums_of_its_clips_group():
    rng = np.random.default_rng(0)
    clips = [
        (Segment("train", f"x{n}", 0.0, 9.0), rng.integers(0, 256, (int(length), 4)).astype(np.uint8))
        for n, length in enumerate(rng.integers(0, 400, 60))
    ]
    groups = np.concatenate([np.full(len(frames), group_of(segment)) for segment, frames in clips])
    frames = np.concatenate([frames for _, frames in clips]).astype(np.float64)

    def check(found):
        ((*sums,),) = found
        assert len(sums) == NUM_GROUPS
        for number, each in enumerate(sums):
            own = frames[groups == number]
            assert each.count == len(own)
            np.testing.assert_array_equal(each.total, own.sum(axis=0))
            np.testing.assert_array_equal(each.products, own.T @ own)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create(clips) | SumGroups(4), check)


def test_groups_are_random_and_depend_on_the_clip_alone():
    segments = [Segment("train", f"x{n}", float(start), 9.0) for n in range(1_000) for start in range(2)]
    segments += [replace(segment, split="eval") for segment in segments]
    groups = list(map(group_of, segments))
    assert groups == [group_of(replace(segment, labels=(3,))) for segment in segments]
    expected = len(segments) / NUM_GROUPS
    assert abs(np.bincount(groups, minlength=NUM_GROUPS) - expected).max() < 5 * expected**0.5
    pairs = np.reshape(groups, (2, -1))  # of the two splits
    assert abs((pairs[0] == pairs[1]).mean() - 1 / NUM_GROUPS) < 0.02
