import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.storage.globs import (
    Glob,
    escape,
    has_magic,
    join,
    matches_below,
    plain_path,
    split_glob,
    unescape,
)


@pytest.mark.parametrize(
    "pattern, folder, is_below",
    [
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a/.b", False),
        ("/a/*.wav", "/a", True),
        ("/a/*.wav", "/a/b", False),
        ("/a/*/x/*", "/a/b/x", True),
        ("/a/*/x/*", "/a/b/y", False),
        ("/*/x.wav", "/a", True),
        ("*/x.wav", "a", True),
        ("/b/**", "/a", False),
        ("/a/b/*", "/a", False),
        ("gs://a/**", "gs://a/b", True),
        ("/a/**.wav", "/a", False),
    ],
)
def test_matches_below(pattern, folder, is_below):
    assert matches_below(pattern, folder) is is_below


@given(st.text("ab*?[]\\!-/.", min_size=1))
def test_an_escaped_text_is_not_a_glob(text):
    assert not has_magic(escape(text)) and unescape(escape(text)) == text
    assert has_magic(text) == any(character in text for character in "*?[") or unescape(text) != text


def test_split_glob():
    for pattern, folder in (
        ("*.wav", ""),
        ("/*", "/"),
        ("a/b*/c", "a"),
        ("gs://b/*", "gs://b"),
        ("gs://b/a/", "gs://b/a"),
        ("gs://b/a\nb/*", "gs://b/a\nb"),
    ):
        assert split_glob(pattern)[0] == folder


@pytest.mark.parametrize("rest", ["", "/x", "/a\nb/*"])
def test_a_bucket_with_wildcards_is_refused_whatever_follows(rest):
    with pytest.raises(ValueError, match="the name of a bucket or server cannot have wildcards"):
        split_glob(f"gs://buck*{rest}")


def test_states_of_the_example_in_the_documentation():
    glob = Glob(["**", "*.wav"])
    assert glob.start == {0, 1}
    after = glob.step(glob.start, "a")
    assert after == {0, 1} and glob.may_match_below(after) and not glob.matches(after)
    found = glob.step(after, "b.wav")
    assert found == {0, 1, 2} and glob.matches(found)
    assert not glob.step(Glob(["a"]).start, "b") - {0, 1}


def test_wildcards_match_hidden_names_only_on_request():
    glob = Glob(["*"])
    assert glob.step(glob.start, ".x") == frozenset()
    assert glob.matches(glob.step(glob.start, ".x", hidden=True))
    dotted = Glob([".x"])
    assert dotted.matches(dotted.step(dotted.start, ".x"))


@pytest.mark.parametrize("parts", [["a**"], ["*", ".."], ["**b", "c"]])
def test_parts_that_are_not_supported_are_refused(parts):
    with pytest.raises(ValueError, match=r"\*\* must be alone|\.\. after a wildcard"):
        Glob(parts)


def test_literal_names_and_prefix():
    glob = Glob(["a[*]b", "c"])
    assert glob.literal_names(glob.start) == ["a*b"]
    assert Glob(["ab*c"]).literal_names(frozenset({0})) is None
    assert Glob(["ab*c"]).prefix == "ab" and Glob(["./", "x"]).prefix == "./"


def test_join():
    assert [join("", "a"), join("/", "a"), join("b", "a")] == ["a", "/a", "b/a"]


def test_addresses_are_not_changed_and_local_paths_are_normalized(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert plain_path("gs://a//b/~") == "gs://a//b/~"
    assert plain_path("~/x//y") == "/home/me/x/y"
    assert plain_path("file:///none/a%20b") == "/none/a b"


@pytest.mark.parametrize(
    ("pattern", "existing", "folder"),
    [
        ("[2019] Live/*.wav", {"[2019] Live"}, "[2019] Live"),
        ("[2019] Live/*.wav", set(), ""),  # a folder such as "2 Live"
        ("a*/x", {"a*"}, ""),  # it matches itself, and may match others
        ("in/[x]/y/*", {"in/[x]"}, "in/[x]/y"),
        ("[[]x]/*", set(), "[x]"),
    ],
)
def test_an_existing_folder_whose_name_as_a_glob_does_not_match_itself_is_literal(pattern, existing, folder):
    assert split_glob(pattern, existing.__contains__)[0] == folder


def test_a_bucket_cannot_have_wildcards():
    with pytest.raises(ValueError, match="cannot have wildcards"):
        split_glob("gs://buck*/x")
    assert not matches_below("gs://buck*/x", "gs://bucket")
