import io

import pytest

from transforms.audio_shards.formats import AUDIO, AUTO, SHARD_FORMATS
from transforms.audio_shards.items import ShardClip, parse_columns
from transforms.audio_shards.read import read_shard
from transforms.audio_shards.sniff import shard_format
from transforms.audio_shards.write import WRITERS, PackedClip


@pytest.mark.parametrize("name", SHARD_FORMATS)
def test_each_format_is_written_detected_and_read(name):
    clip = ShardClip(0, "ab", b"RIFF....WAVE")
    data = b"".join(WRITERS[name]([PackedClip(clip, ".wav")]))
    assert shard_format("no-extension", data) == name
    (read,) = read_shard(name, io.BytesIO(data), parse_columns(""))
    assert (read.video_id, read.audio) == ("ab", b"RIFF....WAVE")


def test_other_names_are_no_formats_of_shards():
    assert not {AUDIO, AUTO} & set(SHARD_FORMATS) and WRITERS.keys() == set(SHARD_FORMATS)
