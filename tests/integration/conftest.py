"""Fixtures for the tests of all engines: a corpus, and the result of a local run on it."""

from dataclasses import dataclass

import pytest
from runs import Run, run
from sounds import write_bad_files, write_noise

NUM_CLIPS = 300


@dataclass(frozen=True)
class EngineCorpus:
    """Clips, and the result of a run on the FnApiRunner.

    Attributes:
      clips, some: globs of all clips, and of some.
      expected: the result for all clips.
    """

    clips: str
    some: str
    expected: Run


@pytest.fixture(scope="session")
def engine_corpus(tmp_path_factory) -> EngineCorpus:
    """Creates 300 clips, five of them bad."""
    folder = tmp_path_factory.mktemp("engines")
    for n in range(NUM_CLIPS - 5):
        write_noise(folder / "clips" / f"{chr(97 + n % 20)}{n % 3}{n}.wav", 1.0 + n % 4 / 10, seed=n)
    write_bad_files(folder / "clips")
    clips = f"{folder}/clips/*"
    expected = run("FnApiRunner", folder / "log", CLIPS=clips, FEATURES=folder / "expected")
    assert expected.account["written"] == {"train": NUM_CLIPS - 5} and expected.account["balanced"]
    return EngineCorpus(clips, f"{folder}/clips/[a-h]?[0-9]*", expected)
