"""Segments of the corpus that the tests of packing write."""

from transforms.audioset.segments import Segment

SEGMENTS = [
    Segment("eval", "-sound.track", 1.0, 3.0, (0, 7)),
    Segment("mine", "-sound.track", 2.5, 4.5, (7,)),
    Segment("mine", "cut é", 30.0, 33.0, (7,)),
    Segment("eval", "both", 12.345, 14.0, (0,)),
    Segment("mine", "both", 12.345, 14.0, (7,)),
    Segment("eval", "exact", 5.0, 7.0, (0,)),
    Segment("eval", "twice", 0.0, 2.0, (0,)),
    Segment("eval", "bad", 0.0, 2.0, (0,)),
    Segment("mine", "absent", 0.0, 2.0, (0,)),
]
