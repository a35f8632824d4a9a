"""The demo corpus has seven good clips and two bad ones, always with the same sounds."""

import pytest
import soundfile
from demo_corpus import BROKEN, make_demo_corpus

from transforms.audio.decode import duration_s


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    make_demo_corpus(folder)
    return folder


def test_the_corpus_has_seven_clips_of_a_frame_or_more_a_short_one_and_a_broken_one(corpus):
    files = {path.name: path for path in corpus.iterdir()}
    assert len(files) == 9 and files.pop(BROKEN).read_text().startswith("This is not audio")
    seconds = {}
    for name, path in files.items():
        with open(path, "rb") as file:
            seconds[name] = duration_s(file)
    assert [name for name in seconds if seconds[name] < 0.975] == ["click.wav"]
    assert {soundfile.info(path).channels for path in files.values()} == {1, 2, 6}
    assert len({soundfile.info(path).samplerate for path in files.values()}) == 6
    assert max(soundfile.read(files["sweep.wav"])[0].max(axis=0)) < 0.81


def test_the_sounds_are_always_the_same(corpus, tmp_path):
    make_demo_corpus(tmp_path)
    for name in ("drum.ogg", "rain.opus", "birds.aiff"):
        (one, _), (two, _) = (soundfile.read(folder / name) for folder in (corpus, tmp_path))
        assert (one == two).all()
