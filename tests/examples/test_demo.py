"""The demo makes a corpus and embeds it."""

import pytest

pytestmark = pytest.mark.integration


def test_the_demo_accounts_for_every_file_of_its_corpus(tmp_path, example):
    out = example("demo.py", f"--output={tmp_path}/out", "--weights=random:0", "--pca_params=none")
    assert "clips expected 9 = written 7 + rejected 2" in out
