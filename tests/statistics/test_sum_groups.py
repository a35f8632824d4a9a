import apache_beam as beam
import numpy as np
from apache_beam.testing.util import assert_that

from transforms.audioset.segments import Segment
from transforms.statistics.sum_groups import NUM_GROUPS, SumGroups, frame_groups


def test_each_frame_is_in_the_sums_of_its_group():
    rng = np.random.default_rng(0)
    clips = [
        (Segment("train", f"x{n}", 0.0, 9.0), rng.integers(0, 256, (int(length), 4)).astype(np.uint8))
        for n, length in enumerate(rng.integers(0, 400, 60))
    ]
    groups = np.concatenate([frame_groups(segment, len(frames)) for segment, frames in clips])
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
    segments = [Segment("train", f"x{n}", float(start), 9.0) for n in range(20) for start in range(3)]
    segments += [Segment("eval", "x0", 0.0, 9.0)]
    groups = [tuple(frame_groups(segment, 100)) for segment in segments]
    assert len(set(groups)) == len(groups) and groups == [tuple(frame_groups(s, 100)) for s in segments]
    counts = np.bincount(np.concatenate(groups), minlength=NUM_GROUPS)
    assert (
        len(counts) == NUM_GROUPS and abs(counts - 6_100 / NUM_GROUPS).max() < 5 * (6_100 / NUM_GROUPS) ** 0.5
    )
    assert frame_groups(segments[0], 0).shape == (0,)
    np.testing.assert_array_equal(frame_groups(segments[0], 50), frame_groups(segments[0], 100)[:50])
