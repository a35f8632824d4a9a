"""Lets the tests of this folder use the shards of `tests/shards/making.py`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "shards"))
