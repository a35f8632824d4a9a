import numpy as np
import pytest

from transforms.audioset.example import encode_example, parse_example, schema_of
from transforms.audioset.schemas import AUDIOSET_SCHEMA, SCHEMAS
from transforms.audioset.segments import Segment


@pytest.mark.parametrize("name", SCHEMAS)
def test_records_have_the_keys_of_their_schema(name):
    schema = SCHEMAS[name]
    assert schema.name == name
    record = encode_example(Segment("train", "ab", 0.0, 1.0), np.zeros((2, 128), np.uint8), schema)
    example = parse_example(record)
    assert schema_of(example) == schema
    assert example.context.feature[schema.video_id].bytes_list.value == [b"ab"]
    assert list(example.feature_lists.feature_list) == [schema.frames]


def test_the_release_is_the_default():
    record = encode_example(Segment("train", "ab", 0.0, 1.0), np.zeros((1, 128), np.uint8))
    assert schema_of(parse_example(record)) == AUDIOSET_SCHEMA
    assert (AUDIOSET_SCHEMA.video_id, AUDIOSET_SCHEMA.frames) == ("video_id", "audio_embedding")
