import apache_beam as beam
import numpy as np
from apache_beam.testing.util import assert_that

from transforms.clips import Piece
from transforms.embed_examples import EmbedExamples, VggishModelHandler


def test_pieces_come_back_whole_with_the_embeddings_of_the_model_alone(embedder):
    rng = np.random.default_rng(0)
    # More examples than a batch of Beam's holds, in pieces that batch shapes do not divide.
    pieces = {
        Piece("a.wav", None, "train", f"id{n}", 0.0, 0, None): rng.uniform(-4, 4, (length, 96, 64)).astype(
            np.float32
        )
        for n, length in enumerate((1, 7, 30, 11, 2, 19))
    }
    expected = {piece: embedder.embed(examples) for piece, examples in pieces.items()}

    def check(found):
        assert {piece for piece, _ in found} == set(expected)
        for piece, embeddings in found:
            np.testing.assert_array_equal(embeddings, expected[piece])

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        handler = VggishModelHandler("random:0", 8)
        embedded = pipeline | beam.Create(list(pieces.items())) | EmbedExamples(handler)
        assert_that(embedded, check)


def test_batches_are_counted_in_examples():
    kwargs = VggishModelHandler("random:0", 16).batch_elements_kwargs()
    assert kwargs["min_batch_size"] == kwargs["max_batch_size"] == 128
    assert kwargs["element_size_fn"]((None, np.zeros((5, 96, 64)))) == 5
