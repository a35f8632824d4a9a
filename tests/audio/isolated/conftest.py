import contextlib
import subprocess

import pytest
from isolating import (
    SABOTAGE,
)

from transforms.audio.isolated import child
from transforms.audio.isolated.isolation import IsolatedDecoder


@pytest.fixture(scope="module", autouse=True)
def new_interpreters():
    """Start decoder processes as a command does, unlike the other tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "subprocess", subprocess)
        yield


@pytest.fixture(scope="module")
def decoder():
    with contextlib.closing(IsolatedDecoder()) as decoder:
        yield decoder


@pytest.fixture
def sabotaged(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(SABOTAGE)
    monkeypatch.syspath_prepend(tmp_path)
    with contextlib.closing(IsolatedDecoder(limit_s=0.4)) as decoder:
        yield decoder
