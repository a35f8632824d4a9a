"""Files of public bug reports, which the developers' folder has, and the frames that each is to give."""

import io
import json

import pytest

from transforms.audio.decode import mono_blocks, open_audio
from transforms.audio.front_end import waveform_examples
from transforms.errors import ClipError

NAMES = [
    "vbr_noxing_loudstart.mp3",
    "concat_two_tagged.mp3",
    "chain_opus.opus",
    "inrate0.opus",
    "hole_pages_dropped.opus",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_reported_file_gives_all_its_frames_or_is_rejected(shared, name):
    folder = shared / "cases" / "audio"
    if not folder.is_dir():
        pytest.skip("no ../shared/cases")
    expected = json.loads((folder / "expected.json").read_text())[name]
    try:
        with open_audio(io.BytesIO((folder / name).read_bytes())) as stream:
            found = sum(map(len, waveform_examples(mono_blocks(stream), stream.rate_hz)))
    except ClipError:
        found = "reject"
    assert found in (expected if isinstance(expected, list) else [expected])
