import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.audioset.layout import (
    MAX_SHARDS,
    MAX_SPLIT_CHARACTERS,
    Sharding,
    check_split,
    colliding_ids,
    parse_sharding,
    shard_path,
    shard_prefix,
)
from transforms.errors import SettingError
from transforms.storage.files import write_atomic


@pytest.mark.parametrize("split", ["bal_train", "eval", "unbal_train", "2024", "my-corpus.v1", "A"])
def test_split_of_safe_characters_is_returned(split):
    assert check_split(split) == split


@pytest.mark.parametrize(
    "split",
    ["", "_run", ".", "..", "-x", "a/b", "a\\b", "a b", "a\n", "ä", "a:b", "/a", "a" * 129, "a" * 9999],
)
def test_split_that_cannot_name_a_folder_is_refused(split):
    with pytest.raises(SettingError, match="split"):
        check_split(split)


def test_the_longest_split_makes_names_that_file_systems_take(tmp_path):
    split = "s" * MAX_SPLIT_CHARACTERS
    for name in (Sharding().shard_name(split, "\U0010ffff" * 9), Sharding(99_999).shard_name(split, "x")):
        write_atomic(str(tmp_path / shard_path(check_split(split), name)), b"features")
    assert len(list(tmp_path.rglob("*.tfrecord"))) == 2


@pytest.mark.parametrize(
    ("video_id", "prefix"), [("--PJHxphWEs", "--"), ("_aB", "_a"), ("0", "0"), ("éa1", "éa"), ("zZ9", "zZ")]
)
def test_prefix_is_the_first_two_characters(video_id, prefix):
    assert shard_prefix(video_id) == prefix


@pytest.mark.parametrize(
    ("video_id", "prefix"),
    [
        ("a/b", "a%2F"),
        ("\\x", "%5Cx"),
        ("%2F", "%252"),
        ("\x00\n", "%00%0A"),
        ("?*", "%3F%2A"),
        (":x", "%3Ax"),
        (".x", "%2Ex"),  # globs do not see a file with a dot in front
        ("..", "%2E."),
        (".", "%2E"),
        ("x.", "x."),
    ],
)
def test_characters_that_a_path_or_a_glob_cannot_contain_are_percent_encoded(video_id, prefix):
    assert shard_prefix(video_id) == prefix


@given(video_id=st.text(min_size=1))
def test_no_id_leaves_its_folder(video_id):
    path = shard_path("eval", shard_prefix(video_id))
    for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath):
        assert kind(path).parts[0] == "eval"
        assert len(kind(path).parts) == 2
        assert ".." not in kind(path).parts
    assert "\x00" not in path


def test_id_from_a_file_name_that_is_not_utf8_has_a_prefix():
    # As os.listdir gives a Latin-1 name on Linux.
    video_id = b"\xe9t\xe9".decode("utf-8", "surrogateescape")
    assert shard_prefix(video_id).isprintable()


@given(one=st.text(max_size=3), other=st.text(max_size=3))
def test_ids_share_a_prefix_if_and_only_if_their_first_characters_are_equal(one, other):
    assert (shard_prefix(one) == shard_prefix(other)) == (one[:2] == other[:2])


def test_a_shard_is_in_the_folder_of_its_split():
    assert shard_path("bal_train", "--") == "bal_train/--.tfrecord"


def test_released_shards_are_named_by_their_prefix(shared):
    shards = list((shared / "data" / "audioset_release" / "bal_train").iterdir())
    assert len(shards) == 4_070
    assert all(shard.name == f"{shard_prefix(shard.stem)}.tfrecord" for shard in shards)


def test_ids_collide_if_their_prefixes_differ_only_in_case():
    assert colliding_ids(["abc", "abd", "Xyz"]) is None
    assert colliding_ids(["abc", "zz", "ABd"]) == ("abc", "ABd")
    assert colliding_ids(["aBc", "aBd", "ab"]) == ("aBc", "ab")
    assert colliding_ids(["ßa", "ssb"]) is None  # the prefixes are compared, not the ids


@given(video_id=st.text(min_size=1, max_size=20), num_shards=st.integers(1, 500))
def test_the_name_of_a_hashed_shard_contains_its_sharding(video_id, num_shards):
    name = Sharding(num_shards).shard_name("eval", video_id)
    assert Sharding.of_shard("eval", name) == Sharding(num_shards)
    assert 0 <= int(name.split("-")[1]) < num_shards


def test_the_names_of_the_fewest_and_most_shards_contain_their_sharding():
    for number in (1, MAX_SHARDS):
        assert Sharding.of_shard("train", f"train-00000-of-{number:05d}") == Sharding(number)
    assert Sharding.of_shard("train", "train-00000-of-00000") == Sharding()


def test_hashed_shards_are_stable():
    # A changed hash would put clips of a second run beside those of the first.
    assert Sharding(10).shard_name("train", "--4gqARaEJE") == "train-00006-of-00010"


@pytest.mark.parametrize(
    "text", ["", "hash", "hash:", "hash:0", "hash:-1", "hash:x", "prefix", "foo:3", "hash:100000"]
)
def test_other_shardings_are_refused(text):
    with pytest.raises(SettingError, match="--sharding="):
        parse_sharding(text)


def test_a_sharding_refuses_a_number_that_its_names_cannot_have():
    for number in (0, MAX_SHARDS + 1):
        with pytest.raises(ValueError, match=f"the number of shards is {number}; give 1 to {MAX_SHARDS}"):
            Sharding(number)


def test_shardings_are_read():
    assert (parse_sharding("audioset"), parse_sharding("hash:64")) == (Sharding(), Sharding(64))


def test_names_that_a_shard_may_have():
    assert all(Sharding().may_name("train", name) for name in ("a", "ab", "--", "%2Fa", "Éü", "a%25"))
    assert not any(
        Sharding().may_name("train", name) for name in ("", "abc", "precious", "%61b", "a%", "%2f")
    )
    latin = b"\xe9t\xe9".decode("utf-8", "surrogateescape")  # a file name that is not UTF-8
    assert Sharding().may_name("train", shard_prefix(latin))
    assert Sharding(3).may_name("train", "train-00002-of-00003")
    assert not any(Sharding(3).may_name("train", name) for name in ("train-00003-of-00003", "ab"))
