import threading
import time
from collections import ChainMap

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from transforms import embed_examples
from transforms.audio.extraction import MAX_EXAMPLES
from transforms.clips import ClipChunk
from transforms.embed_examples import (
    EmbedExamples,
    FusedModelHandler,
    LazyModel,
    VggishModelHandler,
    _reject_once,
    embed_chunks,
)
from transforms.errors import ClipError, OutOfMemoryError, Reason, SettingError
from transforms.pcm import PcmWindows
from transforms.vggish.model import Embedder


@pytest.fixture(scope="module")
def chunks():
    """More examples than a batch of Beam contains, which is 32, in chunks whose lengths do not divide 8."""
    rng = np.random.default_rng(0)
    return {
        chunk(f"id{n}"): rng.uniform(-4, 4, (length, 96, 64)).astype(np.float32)
        for n, length in enumerate((1, 7, 11, 2, 19))
    }


@pytest.fixture(scope="module")
def expected(chunks, embedder):
    return {chunk: embedder.embed(examples) for chunk, examples in chunks.items()}


@pytest.mark.parametrize("hints", [{}, {"min_ram": "1GB"}])  # fused with the stage before, and not fused
def test_chunks_have_the_same_embeddings_as_from_the_model_alone(chunks, expected, hints, monkeypatch):
    monkeypatch.setattr(embed_examples, "_MAX_CHUNK", 0)

    def check(found):
        assert {chunk for chunk, _ in found} == set(expected)
        for chunk, embeddings in found:
            np.testing.assert_array_equal(embeddings, expected[chunk])

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        handler = VggishModelHandler("random:0", 8)
        embedded = pipeline | beam.Create(list(chunks.items())) | EmbedExamples(handler, hints)
        assert_that(embedded.embeddings, check, label="embeddings")
        assert_that(embedded.rejected, equal_to([]), label="rejected")


def chunk(name: str, index: int = 0) -> ClipChunk:
    return ClipChunk(f"{name}.wav", None, "train", name, 0.0, index, None)


def test_only_the_clip_on_which_the_model_fails_is_rejected(embedder):
    good = np.random.default_rng(0).uniform(-4, 4, (3, 96, 64)).astype(np.float32)
    wrong = good[:, :50]  # not the shape of VGGish's examples
    elements = [
        (chunk("good"), good),
        (chunk("wrong", 0), good),
        (chunk("wrong", 1), wrong),
        (chunk("wrong", 2), wrong),
        (chunk("fine"), good[:1]),
    ]
    expected = {"good": embedder.embed(good), "fine": embedder.embed(good[:1])}
    expected["wrong"] = expected["good"]

    def check(found):
        names = sorted((chunk.video_id, chunk.index) for chunk, _ in found)
        assert names == [("fine", 0), ("good", 0), ("wrong", 0)]
        for chunk, embeddings in found:
            np.testing.assert_array_equal(embeddings, expected[chunk.video_id])

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        embedded = pipeline | beam.Create(elements) | EmbedExamples(VggishModelHandler("random:0", 8))
        assert_that(embedded.embeddings, check, label="embeddings")
        rejected = embedded.rejected | beam.Map(lambda r: (r.video_id, r.stage, r.reason.value))
        # Once, although several of its chunks failed.
        assert_that(rejected, equal_to([("wrong", "embed_examples", "not_embedded")]), label="rejected")


def test_embeddings_that_are_not_finite_are_rejected(random_weights):
    scope = "vggish/fc2/weights"
    model = Embedder(ChainMap({scope: random_weights[scope] * np.float32(1e30)}, random_weights), 8)
    good = np.random.default_rng(0).uniform(-4, 4, (3, 96, 64)).astype(np.float32)
    outcomes = list(embed_chunks(model, [(chunk("loud"), good * np.float32(1e10)), (chunk("good"), good)]))
    assert isinstance(outcomes[0][1], ClipError) and "NaN or infinite" in str(outcomes[0][1])
    assert outcomes[1][1].shape == (3, 128)
    np.testing.assert_array_equal(outcomes[1][1], model.embed(good))


def test_a_clip_is_rejected_for_one_frame_that_is_not_finite(embedder, monkeypatch):
    frames = np.ones((5, 128), np.float32)
    frames[1, 7] = np.inf
    monkeypatch.setattr(embedder, "embed", lambda examples: frames)
    clips = [np.zeros((length, 96, 64), np.float32) for length in (2, 3)]
    first, second = embedder.embed_clips(clips)
    assert first is None
    np.testing.assert_array_equal(second, frames[2:])


@pytest.mark.parametrize("count", [1, 3])
def test_a_lack_of_memory_is_not_blamed_on_clips(count):
    class Full:
        def embed_clips(self, clips):
            raise OutOfMemoryError("the model does not fit into memory")

    examples = np.zeros((1, 96, 64), np.float32)
    with pytest.raises(OutOfMemoryError, match="does not fit"):
        list(embed_chunks(Full(), [(chunk(f"id{n}"), examples) for n in range(count)]))


def test_a_clip_with_several_failed_chunks_has_the_message_of_the_first():
    failures = [(chunk("wrong", index), f"message {index}") for index in (2, 1, 3)]
    for order in (failures, failures[::-1]):
        reject = _reject_once(order)
        assert (reject.video_id, reject.reason, reject.message) == ("wrong", Reason.NOT_EMBEDDED, "message 1")


def test_batches_are_counted_in_examples():
    kwargs = VggishModelHandler("random:0", 64).batch_elements_kwargs()
    assert kwargs["min_batch_size"] == kwargs["max_batch_size"] == 256
    assert kwargs["element_size_fn"]((None, np.zeros((5, 96, 64)))) == 5


@pytest.mark.parametrize("handler", [VggishModelHandler, FusedModelHandler])
def test_a_batch_of_beam_has_room_for_every_chunk(handler):
    assert handler("random:0", 1).batch_elements_kwargs()["max_batch_size"] >= MAX_EXAMPLES


def test_windows_of_all_rates_become_bytes_in_one_batch():
    def windows(num_examples: int, rate_hz: int, size: int) -> PcmWindows:
        samples = np.random.default_rng(rate_hz).integers(-9_999, 9_999, (num_examples, size), np.int16)
        return PcmWindows(samples, rate_hz)

    elements = [
        (chunk("a"), windows(3, 16_000, 15_600)),
        (chunk("wrong"), windows(2, 16_000, 15_000)),
        (chunk("b"), windows(5, 48_000, 47_520)),
        (chunk("c"), windows(1, 16_000, 15_600)),
    ]

    def check(found):
        kinds = {chunk.video_id: (codes.dtype.name, codes.shape) for chunk, codes in found}
        assert kinds == {"a": ("uint8", (3, 128)), "b": ("uint8", (5, 128)), "c": ("uint8", (1, 128))}
        assert all(len(np.unique(codes)) > 20 for _, codes in found)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        embedded = pipeline | beam.Create(elements) | EmbedExamples(FusedModelHandler("random:0", 8))
        assert_that(embedded.embeddings, check, label="embeddings")
        rejected = embedded.rejected | beam.Map(lambda r: (r.video_id, r.reason.value))
        assert_that(rejected, equal_to([("wrong", "not_embedded")]), label="rejected")


def test_a_model_is_made_at_its_first_use_and_once_for_all_threads():
    made, found = [], []

    def make() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    model = LazyModel(make)
    assert made == []
    threads = [threading.Thread(target=lambda: found.append(model.get())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and found == made * 4


def test_without_examples_no_model_is_made(monkeypatch):
    monkeypatch.setattr(VggishModelHandler, "make_model", lambda handler: 1 / 0)
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        embedded = (
            pipeline
            | beam.Create([(chunk("a"), np.zeros((1, 96, 64), np.float32))])
            | beam.Filter(lambda element: False)
            | EmbedExamples(VggishModelHandler("random:0", 8))
        )
        assert_that(embedded.embeddings, equal_to([]))


def test_a_model_that_cannot_be_made_fails_the_run_and_rejects_no_clip(monkeypatch):
    def fail(handler) -> None:
        raise SettingError("the weights are gone")

    monkeypatch.setattr(VggishModelHandler, "make_model", fail)
    elements = [(chunk("a"), np.zeros((1, 96, 64), np.float32))]
    with (
        pytest.raises(Exception, match="the weights are gone"),
        beam.Pipeline(runner="FnApiRunner") as pipeline,
    ):
        pipeline | beam.Create(elements) | EmbedExamples(VggishModelHandler("random:0", 8))
