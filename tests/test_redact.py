"""What is shown of addresses, options and texts, and what is hidden in messages of libraries."""

import json

import pytest

from transforms import redact
from transforms.errors import ClipError, OutOfMemoryError, OutputError, Reason, SettingError
from transforms.redact import shown, shown_address, shown_option, shown_text


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(redact, "_remembered", {})
    monkeypatch.setattr(redact, "_pattern", None)


ADDRESSES = [
    ("https://host/w.ckpt", "https://host/w.ckpt"),
    ("https://host:8080/a@b/w.ckpt", "https://host:8080/a@b/w.ckpt"),
    ("http://[::1]:80/x@y", "http://[::1]:80/x@y"),
    ("https://user:pw@host/w.ckpt", "https://***@host/w.ckpt"),
    ("https://token@host:8/w.ckpt", "https://***@host:8/w.ckpt"),
    ("https://u:p@w@host/w.ckpt", "https://***@host/w.ckpt"),
    ("https://u:p/w@host/w.ckpt", "https://***@host/w.ckpt"),
    ("https://u:p?w@host/w.ckpt", "https://***@host/w.ckpt"),
    ("https://u:p#w@host/w.ckpt", "https://***@host/w.ckpt"),
    ("https://u:p w'\"@host/w.ckpt", "https://***@host/w.ckpt"),
    ("HTTPS://u:p@host", "HTTPS://***@host"),
    ("https://host/w.ckpt?sig=a%2Bb&alt=media", "https://host/w.ckpt?sig=***&alt=***"),
    ("https://host/w.ckpt?abcdef", "https://host/w.ckpt?***"),
    ("https://host/w.ckpt?a=1#b=2", "https://host/w.ckpt?a=***#***"),
    ("https://host/w.ckpt#access_token=x", "https://host/w.ckpt#***"),
    ("gs://bucket/a?b=*.wav", "gs://bucket/a?b=*.wav"),
    ("s3://KEY:SECRET@bucket/x", "s3://***@bucket/x"),
    ("s3://bucket/x?X-Amz-Signature=abc&versionId=3", "s3://bucket/x?X-Amz-Signature=***&versionId=3"),
    (
        "gs://b/x?X-Goog-Credential=me&X-Goog-Signature=abc",
        "gs://b/x?X-Goog-Credential=***&X-Goog-Signature=***",
    ),
]


@pytest.mark.parametrize("address, expected", ADDRESSES)
def test_an_address_is_shown_without_user_password_and_values(address, expected):
    assert shown_address(address) == expected
    assert shown_address(expected) == expected
    assert shown({"path": [address], "n": 3}) == {"path": [expected], "n": 3}
    assert shown_text(expected) == expected


@pytest.mark.parametrize("end", ["", ").", ": cannot be fetched", ", and", "]"])
def test_a_sentence_around_an_address_stays(end):
    text = shown_text(f"give (https://u:p@host/w?sig=abc{end}")
    assert text == f"give (https://***@host/w?sig=***{end}"


@pytest.mark.parametrize(
    "text",
    [
        "all 3 clips: a=b, c?d",
        "--columns=audio=wav,key=__key__",
        "(?P<id>[a-z]+)_(?P<start>\\d+)",
        "argument --s3_secret_access_key: expected one argument",
        "unknown option --s3_secret (did you mean --s3_secret_access_key?)",
        "/data/a@b/c:d.wav?x",
        "train/0a.tfrecord at 17",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert shown_text(text) == text == shown(text)


@pytest.mark.parametrize(
    "text",
    [
        "--s3_session_token=zq9",
        "s3_session_token: zq9",
        "{'s3_session_token': 'zq9'}",
        "{\\'s3_session_token\\': \\'zq9\\'}",
        '{"beam:option:s3_session_token:v1": "zq9"}',
        "['--s3_session_token', 'zq9']",
        "Max retries exceeded with url: /w?a=1&sig=zq9 (Caused by",
        "GET /w?X-Amz-Signature=zq9",
        "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=zq9==",
    ],
)
def test_a_short_secret_is_hidden_next_to_its_name(text):
    assert "zq9" not in shown_text(text) and "***" in shown_text(text)
    assert shown_text(shown_text(text)) == shown_text(text)


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("s3_secret_access_key", "x", "***"),
        ("azure_connection_string", "AccountKey=x", "***"),
        ("dataflow_kms_key", "projects/p/cryptoKeys/k", "projects/p/cryptoKeys/k"),
        ("some_new_password", "x", "***"),
        ("profiler_extra_env_vars", "A=1,B=2", "A=***,B=***"),
        ("profiler_extra_env_vars", ["A=1", "B"], ["A=***", "***"]),
        ("job_server_jvm_properties", "-Dx.y=1", "-Dx.y=***"),
        ("environment_config", "host:50000", "host:50000"),
        ("environment_config", '{"os": "linux", "env": {"A": "1"}}', '{"os": "linux", "env": {"A": "***"}}'),
        ("environment_config", '{"env": {"A": "1"', "***"),
        ("flink_master", "[local]", "[local]"),
        ("experiments", "shuffle_mode=service", "shuffle_mode=service"),
        ("experiments", "a=b,my_token=x", "a=b,my_token=***"),
        ("maven_repository_url", "https://u:p@host/m", "https://***@host/m"),
        ("beam_services", {"a": "https://u:p@host"}, {"a": "https://***@host"}),
        ("num_workers", 3, 3),
        ("s3_verify", None, None),
    ],
)
def test_an_option_of_beam_is_shown_by_its_kind(name, value, expected):
    assert shown_option(name, value) == expected


def test_a_remembered_secret_is_hidden_in_every_form_that_libraries_print():
    redact.remember_option("s3_secret_access_key", "abc/def+gh'i\"j")
    redact.remember_option("azure_connection_string", "AccountName=acc;AccountKey=QWxhZGRpbg==;Suffix=net")
    redact.remember_address("https://someuser:pa55word@host/w.ckpt?h=zq9&t=0123456789abcdefghij")
    for text in (
        "abc/def+gh'i\"j",
        repr("abc/def+gh'i\"j"),
        json.dumps("abc/def+gh'i\"j"),
        "abc%2Fdef%2Bgh%27i%22j",
        "key QWxhZGRpbg== of acc",
        "Failed to parse: someuser:pa55word",
        "nonnumeric port: 'pa55word@host'",
        "Basic c29tZXVzZXI6cGE1NXdvcmQ=",
        "with url: /w.ckpt?h=zq9&t=0123456789abcdefghij (Caused by",
        "t is 0123456789abcdefghij",
    ):
        hidden = shown_text(text)
        assert "***" in hidden
        assert not any(part in hidden for part in ("def", "QWx", "pa55", "c29t", "zq9", "0123")), hidden


def test_secrets_in_variables_are_hidden_and_locations_are_not():
    redact.remember_environment(
        {
            "AWS_SECRET_ACCESS_KEY": "envsecret1",
            "AZURE_STORAGE_CONNECTION_STRING": "AccountName=acc;AccountKey=envsecret2",
            "HTTPS_PROXY": "http://me:envsecret3@proxy:3128",
            "GOOGLE_APPLICATION_CREDENTIALS": "/home/me/credentials.json",
            "AWS_WEB_IDENTITY_TOKEN_FILE": "relative/token.txt",
            "GIT_AUTHOR_NAME": "Somebody Else",
            "TOKENIZERS_PARALLELISM": "false",
        }
    )
    assert shown_text("envsecret1 envsecret2 me:envsecret3@proxy") == "*** *** ***@proxy"
    for text in ("/home/me/credentials.json", "relative/token.txt", "Somebody Else", "false"):
        assert shown_text(text) == text


@pytest.mark.parametrize("kind", [SettingError, OutputError, OutOfMemoryError])
def test_no_error_of_the_project_contains_a_secret(kind):
    assert str(kind("https://u:p@host/w?sig=abc: no")) == "https://***@host/w?sig=***: no"
    assert str(ClipError(Reason.CORRUPT, "https://u:p@host")) == "https://***@host"


def test_an_error_on_an_address_is_without_any_part_of_it():
    text = shown_text("Failed to parse: 'usr:p5' is not a valid host or port", "https://usr:p5/w@host/w")
    assert "p5" not in text and "usr" not in text
