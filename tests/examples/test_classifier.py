"""The classifier's layers, models and batches."""

import classifier
import numpy as np
import pytest
from classifier import RECIPES, AttentionPooling, Clips, build_classifier

from transforms.audioset.reading import VALUES


def random_clips(num_clips: int) -> Clips:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (num_clips, 10, 128)).astype(np.uint8)
    return Clips(np.array([b"%d" % n for n in range(num_clips)]), codes, rng.random((num_clips, 3)) < 0.5)


def test_attention_pooling_is_a_weighted_mean_per_head():
    frames = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
    layer = AttentionPooling(3)
    pooled = np.asarray(layer(frames))
    kernel, bias = layer.get_weights()
    weights = np.exp(frames @ kernel + bias)
    weights /= weights.sum(axis=1, keepdims=True)
    expected = np.einsum("nfh,nfd->nhd", weights, frames).reshape(2, 24)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_a_new_classifier_returns_the_frequency_of_the_classes(name):
    model, scores = build_classifier(RECIPES[name], 3, 0.02)
    silence = np.zeros((2, 7, 128), np.float32)
    assert model(silence).shape == (2, RECIPES[name].members, 3)
    np.testing.assert_allclose(scores(silence), 0.02, rtol=1e-4)


def test_batches_without_mixing_are_full_and_have_each_clip_at_most_once_per_epoch():
    clips = random_clips(22)
    batches = classifier._Mixed(clips, 5, 0.0, seed=1)
    assert len(batches) == 4
    orders = []
    for _ in range(2):
        frames = np.concatenate([batches[number][0] for number in range(4)])
        rows = [int(np.flatnonzero((VALUES[clips.codes] == clip).all(axis=(1, 2)))[0]) for clip in frames]
        assert len(set(rows)) == 20
        labels = np.concatenate([batches[number][1] for number in range(4)])
        np.testing.assert_array_equal(labels, clips.labels[rows])
        orders.append(rows)
        batches.on_epoch_end()
    assert orders[0] != orders[1]


def test_mixing_adds_two_clips_with_the_same_shares_for_frames_and_labels():
    clips = random_clips(8)
    plain, mixed = (classifier._Mixed(clips, 8, mixup, seed=1)[0] for mixup in (0.0, 0.5))
    same = classifier._Mixed(clips, 8, 0.5, seed=1)[0]
    for one, other in zip(mixed, same, strict=True):
        np.testing.assert_array_equal(one, other)
    for frames, labels in zip(*mixed, strict=True):
        # The two shares that explain the frames best explain them exactly, sum to 1, and give the labels.
        pairs = np.stack([np.ravel(clip) for clip in plain[0]], axis=1)
        shares = np.linalg.lstsq(pairs, np.ravel(frames), rcond=None)[0]
        np.testing.assert_allclose(shares.sum(), 1.0, atol=1e-4)
        assert np.sum(np.abs(shares) > 1e-4) <= 2
        np.testing.assert_allclose(shares @ plain[1], labels, atol=1e-4)


def test_clips_are_chosen_in_all_their_parts():
    clips = random_clips(4)
    chosen = clips.where(np.array([False, True, False, True]))
    assert chosen.video_ids.tolist() == [b"1", b"3"]
    np.testing.assert_array_equal(chosen.codes, clips.codes[[1, 3]])
    np.testing.assert_array_equal(chosen.labels, clips.labels[[1, 3]])
