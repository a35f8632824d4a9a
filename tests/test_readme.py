"""The README's code runs, and its links lead to files."""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from transforms.audioset.example import encode_example
from transforms.audioset.segments import Segment
from transforms.storage.tfrecord import frame_records

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.integration
def test_the_code_that_reads_records_runs(tmp_path):
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


def test_files_that_the_readme_links_to_exist():
    names = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert {"docs/run.svg", "docs/inputs.md", "CONTRIBUTING.md"} < set(names)
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_badges_say_what_the_package_says():
    project = (ROOT / "pyproject.toml").read_text()
    (licence,) = re.findall(r'^license = "(.*)"', project, re.MULTILINE)
    versions = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', project)
    texts = f"license-{licence.replace('-', '--')}", f"python-{versions[0]}_to_{versions[-1]}"
    badges = re.findall(r"!\[(.*?)\]\(https://img\.shields\.io/badge/(.*?)-blue\)", README)
    assert badges == [
        (f"License: {licence}", quote(texts[0])),
        (f"Python: {versions[0]} to {versions[-1]}", quote(texts[1])),
    ]
