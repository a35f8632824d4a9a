"""The README says what is true."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml

from pipeline.options import parse_options
from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.tfrecord import frame_records

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def test_the_options_are_those_of_the_command():
    own = {name for name in vars(parse_options(["--input=a", "--output=b"])) if name != "beam_flags"}
    documented = set(re.findall(r"^\| `--(\w+)` \|", README, re.MULTILINE))
    assert documented == own | {"config"}


def test_the_reader_reads(tmp_path):
    (snippet,) = re.findall(r"```python\n(import tensorflow.*?)```", README, re.DOTALL)
    assert len(snippet.replace("\n\n", "\n").splitlines()) == 6
    (tmp_path / "features" / "train").mkdir(parents=True)
    record = encode_example(Segment("train", "an-id", 0.0, 3.0, (1,)), np.zeros((3, 128), np.uint8))
    (tmp_path / "features" / "train" / "an.tfrecord").write_bytes(frame_records([record]))
    result = subprocess.run(
        [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert "an-id" in result.stdout


def test_files_that_the_readme_names_are_there():
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / name).exists(), name


def test_every_config_loads():
    paths = sorted((ROOT / "configs").glob("*.yaml"))
    assert paths
    for path in paths:
        given = yaml.safe_load(path.read_text())
        options = parse_options([f"--config={path}", "--input=a", "--output=b"])
        for key in given.keys() - {"input", "output", "segments"}:
            value = getattr(options, key, None)
            value = list(value) if isinstance(value, tuple) else value
            assert value == given[key] or f"--{key}={given[key]}" in options.beam_flags, key
