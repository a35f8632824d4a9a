"""Files of our own that somebody else made, or damaged: one line that names the file, and no harm."""

import json

import pytest
from sounds import write_noise
from test_run import REJECTED, TRIAL, refusal

from pipeline import run
from pipeline.verify import verify_folder
from transforms.errors import SettingError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    write_noise(folder / "audio" / "ab1.wav", 1.0)
    (folder / "audio" / "bad.wav").write_text("no audio")
    assert run.run([*TRIAL, f"--input={folder}/audio/*", f"--output={folder}/out"]) == 0
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"settings": [1]},
        {"settings": None},
        {"finished": {}},
        {"clips": [1]},
        {"clips": {"train": "many"}},
        {"history": 5},
    ],
)
def test_a_manifest_of_something_else_is_one_line(finished, change):
    path = finished / "out" / "_run" / "manifest.json"
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), **change}))
        message = refusal([*TRIAL, f"--input={finished}/audio/*", f"--output={finished}/out"])
        assert f"{path}: cannot be read" in message and "restore or remove it" in message
        with pytest.raises(SettingError, match=r"manifest\.json: cannot be read"):
            verify_folder(str(finished / "out"))
    finally:
        path.write_text(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "null", "5", '"x"', "[]", "\xff"])
def test_a_manifest_that_is_none_is_one_line(finished, text):
    path = finished / "out" / "_run" / "manifest.json"
    before = path.read_bytes()
    try:
        path.write_bytes(text.encode("latin-1"))
        message = refusal([*TRIAL, f"--input={finished}/audio/*", f"--output={finished}/out"])
        assert f"{path}: cannot be read" in message and "\n" not in message
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "from_the_future"},
        {"start_s": "0"},
        {"start_s": float("nan")},
        {"offset": "1"},
        {"file": None},
        {"id": 5},
        {"split": ["train"]},
        {"sha256": 1},
    ],
)
def test_a_rejected_clip_of_something_else_is_one_line(finished, change):
    path = finished / "out" / "_run" / REJECTED
    text = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(text), **change}) + "\n")
        for flags in ([f"--input_rejects={path}"], [f"--input={finished}/audio/*"]):
            message = refusal([*TRIAL, *flags, f"--output={finished}/out"])
            assert f"{path}, line 1: " in message and "give the lists that a run wrote" in message
    finally:
        path.write_text(text)


def test_a_deep_line_of_rejects_is_one_line(finished, tmp_path):
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    message = refusal([*TRIAL, f"--input_rejects={tmp_path}/deep.jsonl", f"--output={tmp_path}/out"])
    assert "deep.jsonl, line 1: not a rejected clip" in message


@pytest.mark.parametrize(
    "text, cause",
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "line 2: aliases are not supported"),
        ("input: " + "[" * 100_000, "nested more than 8 levels deep"),
        ("input: " + "[" * 9 + "]" * 9, "nested more than 8 levels deep"),
        ("\n".join("- " * 9 for _ in range(2)), "nested more than 8 levels deep"),
        ("#" * (1 << 20) + "\ninput: x", "it has more than 1,048,576 bytes"),
        ("input: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
    ],
)
def test_a_config_that_grows_is_one_line(tmp_path, text, cause):
    (tmp_path / "config.yaml").write_text(text)
    message = refusal([f"--config={tmp_path}/config.yaml", f"--output={tmp_path}/out"])
    assert f"config {tmp_path}/config.yaml: cannot be read" in message and cause in message
