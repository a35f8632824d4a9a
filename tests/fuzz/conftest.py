"""Let the tests of this folder use `tests/audio_shards/making.py` and `tests/audio/media.py`."""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path += [str(TESTS / "audio_shards"), str(TESTS / "audio")]
