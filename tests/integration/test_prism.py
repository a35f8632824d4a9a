"""The command on Prism."""

import install
import pytest
from runs import run

pytestmark = [pytest.mark.integration, pytest.mark.prism]


def test_prism_writes_the_same_bytes(engine_corpus, tmp_path):
    found = run(
        "Prism",
        tmp_path / "log",
        CLIPS=engine_corpus.clips,
        FEATURES=tmp_path / "features",
        PRISM=install.prism(),
    )
    assert found == engine_corpus.expected
    log = (tmp_path / "log").read_text()
    assert "runner: PrismRunner\n" in log and "Traceback" not in log
