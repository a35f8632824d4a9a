"""Inputs of which some cannot be read."""

from pathlib import Path

import pytest
from sounds import write_noise


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    return write_noise(tmp_path_factory.mktemp("sound") / "a.wav", 1.0).read_bytes()


@pytest.fixture
def corpus(tmp_path, sound) -> Path:
    for name in ("D/top.wav", "D/sub/s1.wav", "real/r1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(sound)
    (tmp_path / "D" / "link").symlink_to("../real")
    (tmp_path / "D" / "sub" / "gone.wav").symlink_to("/nowhere")
    return tmp_path / "D"
