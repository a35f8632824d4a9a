"""Chunks of clips with random features."""

import numpy as np

from transforms.audioset.segments import Segment
from transforms.clips import ClipChunk

SEGMENTS = [
    Segment("train", "abc", 0.0, 2.0),
    Segment("train", "abd", 0.0, 2.0, (4,)),
    Segment("train", "abc", 10.0, 12.0),
    Segment("train", "abc", 9.0, 11.0),
    Segment("eval", "--x", 0.0, 2.0),
    Segment("eval", "Éü1", 0.0, 2.0),
    Segment("eval", "a/../../b", 0.0, 2.0),
    Segment("eval", "q", 0.0, 2.0),
]


def frames_of(segment: Segment, dtype: str) -> np.ndarray:
    rng = np.random.default_rng([*segment.video_id.encode(), int(segment.start_s)])
    return rng.integers(0, 256, (5, 128)).astype(dtype)


def pieces_of(segment: Segment, dtype: str = "uint8", file: str = "a.wav", num_chunks: int = 2):
    parts = np.array_split(frames_of(segment, dtype), num_chunks)
    return [
        (
            ClipChunk(
                file,
                None,
                segment.split,
                segment.video_id,
                segment.start_s,
                index,
                segment if index == num_chunks - 1 else None,
            ),
            part,
        )
        for index, part in enumerate(parts)
    ]
