import gzip
import io
import random

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from making import PACKED, parquet, shards, tar, tfrecord

from transforms.audio_shards.sniff import shard_format

SHARDS = shards()
FORMS = ("audio", "tfrecord", "tar", "parquet", "zip", "arrow")


@pytest.mark.parametrize("form", SHARDS)
def test_the_content_decides_whatever_the_name(form):
    kind, shard = SHARDS[form]
    for path in ("a", "a.wav", "gs://b/a.parquet", "a.tfrecord"):
        assert shard_format(path, shard[:4096]) == kind


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "AIFF", "AU", "CAF", "RF64", "MP3"])
@pytest.mark.parametrize("name", ["a.wav", "a", "a.tar.wav"])
def test_audio_is_recognized(container, name):
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16_000), 16_000, format=container)
    assert shard_format(name, file.getvalue()[:4096]) == "audio"
    if container != "MP3":  # its frames have no unique signature
        assert shard_format("a.tar", file.getvalue()[:4096]) == "audio"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.tfrecord", "tfrecord"),
        ("a.TFRecords", "tfrecord"),
        ("a.tfrecord.gz", "tfrecord"),
        ("gs://b/x.tfrecord-00000-of-00010", "tfrecord"),
        ("x-00000-of-00010.tfrecord", "tfrecord"),
        ("a.tar", "tar"),
        ("a.tar.gz", "tar"),
        ("a.TGZ", "tar"),
        ("a.tar.bz2", "tar"),
        ("a.tbz2", "tar"),
        ("a.tar.xz", "tar"),
        ("a.TXZ", "tar"),
        ("a.tar.zst", "tar"),
        ("a.zip", "zip"),
        ("data-00000-of-00001.arrow", "arrow"),
        ("a.parquet", "parquet"),
        ("a.tar.wav", "audio"),
        ("a.gz", "audio"),
        ("tar", "audio"),
        ("x.tar/a", "audio"),
        ("x.tfrecord/a.flac", "audio"),
    ],
)
def test_the_name_decides_if_the_head_is_damaged_or_empty(path, kind):
    for head in (b"", b"\0" * 4096, b"\xff" * 4096, b"\x1f\x8b\x08 no gzip", gzip.compress(b"neither")):
        assert shard_format(path, head) == kind


def test_a_tar_is_recognized_without_its_magic_or_without_its_checksum():
    head = bytearray(tar([("a.wav", b"1")])[:512])
    head[0] ^= 1
    assert shard_format("a", bytes(head)) == "tar"
    head = bytearray(tar([("a.wav", b"1")], format=0)[:512])
    head[257:265], checksum = bytes(8), int(head[148:154], 8) - sum(head[257:265])
    head[148:156] = b"%06o\0 " % checksum
    assert shard_format("a", bytes(head)) == "tar"


MAGICS = (b"", b"PAR1", b"PK\3\4", b"ARROW1\0\0", b"fLaC")


@given(path=st.text(), head=st.builds(bytes.__add__, st.sampled_from(MAGICS), st.binary(max_size=5000)))
def test_the_content_of_any_file_decides_or_else_its_name_or_else_it_is_audio(path, head):
    for data in (head, b"\x1f\x8b\x08" + head, gzip.compress(head)):
        content = shard_format("a", data)
        assert content in FORMS
        named = {shard_format(name, data) for name in (path, path + ".tar", path + ".parquet")}
        assert named == {content} or (content == "audio" and {"tar", "parquet"} <= named <= {*FORMS})


@pytest.mark.parametrize(
    "name", ["riff.wav", "fLaC.flac", "ID3 tags.mp3", "caff.caf", "MAC 1.wav", "1234ftyp.wav"]
)
def test_a_tar_whose_first_name_looks_like_audio_is_a_tar(name):
    assert shard_format("a", tar([(name, b"1")])[:4096]) == "tar"


@pytest.mark.parametrize("name", ["bz2", "xz", "zst"])
def test_a_compressed_tar_whose_first_block_exceeds_the_head_is_a_tar(name):
    shard = PACKED[name](tar([("a.wav", random.Random(0).randbytes(1_200_000))]))
    assert shard_format("a", shard[:4096]) == shard_format("a.wav", shard[:4096]) == "tar"


def test_compressed_files_that_are_not_shards_are_left_to_the_decoder():
    for name in ("gz", "bz2", "xz", "zst"):
        assert shard_format("a", PACKED[name](b"RIFF\0\0\0\0WAVEfmt ")) == "audio"


@pytest.mark.parametrize("name", ["gz", "bz2", "xz", "zst"])
def test_no_reader_decompresses_a_whole_parquet_file_and_only_gzip_holds_tfrecords(name):
    """A Parquet file is compressed inside, page by page; as a whole it could not be read."""
    assert shard_format("a", PACKED[name](parquet({"video_id": ["a"], "audio": [b"1"]}))) == "audio"
    kind = "tfrecord" if name == "gz" else "audio"
    assert shard_format("a", PACKED[name](tfrecord([b"record"]))) == kind
