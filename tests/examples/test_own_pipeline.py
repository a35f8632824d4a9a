"""The custom pipeline writes the mean of the embeddings that `embed` returns, and all rejects."""

import json

import apache_beam as beam
import numpy as np
import pytest
from own_pipeline import mean_embeddings
from sounds import write_bad_files, write_noise

from pipeline.embed import embed

GOOD = [f"--input={__file__}", "--output=means", "--weights=random:0"]
pytestmark = pytest.mark.usefixtures("small_batches")


def test_each_clip_has_its_mean_embedding_or_its_reject(tmp_path):
    write_noise(tmp_path / "in" / "a.wav", 3.0, 44_100)
    write_bad_files(tmp_path / "in")
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        mean_embeddings(pipeline, f"{tmp_path}/in/*", f"{tmp_path}/means", "random:0")
    lines = [json.loads(s) for path in tmp_path.glob("means*") for s in path.read_text().splitlines()]
    assert len([line for line in lines if "reason" in line]) == 5
    (found,) = [line for line in lines if "mean" in line]
    raw = embed(tmp_path / "in" / "a.wav", postprocess="raw", weights="random:0", pca_params="none")
    assert found["id"] == "a"
    np.testing.assert_allclose(found["mean"], raw.mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "the following arguments are required: --input, --output; see --help"),
        ([*GOOD, "--runer=FnApiRunner"], "unknown option --runer (did you mean --runner?)"),
        ([*GOOD, "--weights=none.ckpt"], "--weights=none.ckpt: no such file"),
        ([*GOOD, "--input=none*"], "matches no file"),
        ([*GOOD, "--runner=NoRunner"], "NoRunner"),
    ],
)
def test_mistakes_are_one_line(flags, message, example):
    assert message in example("own_pipeline.py", *flags, status=2)


def test_help_names_the_options(example):
    text = example("own_pipeline.py", "--help")
    assert text.startswith("usage: own_pipeline.py") and "--weights PATH" in text
