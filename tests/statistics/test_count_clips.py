import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk
from transforms.statistics.count_clips import (
    ClipSize,
    Count,
    CountClips,
    assemble_sizes,
    chunk_size,
    clip_size,
)

KEY = ("train", "abc", 500)


def chunks(file: str, frames: tuple[int, ...], whole: bool = True) -> list:
    """Chunks of one recording in the form that is shuffled."""
    made = []
    for index, number in enumerate(frames):
        is_last = whole and index == len(frames) - 1
        segment = Segment("train", "abc", 0.5, 0.5 + sum(frames), (3, 7)) if is_last else None
        key, packed = chunk_size(ClipChunk(file, None, "train", "abc", 0.5, index, segment), number)
        assert key == KEY
        made.append(packed)
    return made


@given(data=st.data())
def test_chunks_are_assembled_in_any_order(data):
    shuffled = data.draw(st.permutations(chunks("a.wav", (130, 130, 4))))
    assert assemble_sizes(KEY, shuffled) == [ClipSize("train", (3, 7), 264, 264_000)]


def test_files_after_the_first_by_name_are_duplicates():
    sizes = assemble_sizes(KEY, [*chunks("b.wav", (5,)), *chunks("a.wav", (2, 1))])
    assert [clip.frames for clip in sizes] == [3, 5]


def test_a_clip_without_all_its_chunks_is_left_out():
    whole = chunks("b.wav", (2, 2))
    assert assemble_sizes(KEY, chunks("a.wav", (130, 130), whole=False)) == []
    assert assemble_sizes(KEY, whole[1:]) == []
    assert len(assemble_sizes(KEY, [*chunks("a.wav", (130,), whole=False), *whole])) == 1


@pytest.mark.parametrize("clips", [0, 5])
def test_counts_are_by_split_and_label(clips):
    sizes = [clip_size(Segment("train", f"id{n}", 0.0, 2.0, (1,) if n else ()), 2) for n in range(clips)]
    sizes += [clip_size(Segment("eval", "x", 1.0, 2.5, (0, 1)), 1)] if clips else []
    expected = [
        Count("eval", None, 1, 1, 1500),
        Count("eval", 0, 1, 1, 1500),
        Count("eval", 1, 1, 1, 1500),
        Count("train", None, 5, 10, 10_000),
        Count("train", 1, 4, 8, 8000),
    ]
    with beam.Pipeline("FnApiRunner") as pipeline:
        counts = pipeline | beam.Create(sizes) | CountClips()
        assert_that(counts, equal_to([expected if clips else []]))
