"""Commands print names with escape sequences, newlines, overrides or invalid UTF-8 safely."""

import contextlib
import dataclasses
import fcntl
import io
import json
import os
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
from commands import ROOT, run_command, run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import write_noise
from test_printable import TEXTS, UNSAFE
from trial_runs import TRIAL

from pipeline import run, verify
from pipeline.cli import console
from pipeline.output import lock
from pipeline.output.lock_owner import LockOwner
from pipeline.verification.check_folder import verify_folder
from transforms.audioset.example import encode_example
from transforms.audioset.layout import shard_path, shard_prefix
from transforms.audioset.segments import Segment
from transforms.features.folder_shards import LOCK_FILE
from transforms.rejects import read_rejected
from transforms.storage.tfrecord import frame_records

pytestmark = pytest.mark.usefixtures("stand_in_network")

ESCAPE, NEWLINE, OVERRIDE = "\x1b[31mred\x1b]0;title\x07", "a\r\npipeline.run: error: b", "\u202egpj"
NAMES = [ESCAPE, NEWLINE, OVERRIDE, "c1\x9b2J", "é 日本語 😀", "%s{0}$x_$"]


def assert_safe(*texts: str) -> None:
    for text in texts:
        assert not {*text} & {*UNSAFE} - {"\n"}
        assert "\npipeline.run: error: b" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_whose_owner_has_any_host_is_one_line(tmp_path, monkeypatch, capsys, name):
    path = tmp_path / "_run" / LOCK_FILE
    path.parent.mkdir()
    mine = dataclasses.replace(LockOwner.this_process(), host=name, since=name)
    path.write_bytes(mine.encode())
    write_noise(tmp_path / "a.wav", 1.5)
    flags = [*TRIAL, f"--input={tmp_path}/a.wav", f"--output={tmp_path}"]
    assert console.run_command("pipeline.run", lambda: run.run(flags)) == 2
    refused = capsys.readouterr().err
    # Of another machine, which may live.
    monkeypatch.setattr(lock, "DEAD_S", 0)
    path.write_bytes(dataclasses.replace(mine, boot_id=name).encode())
    with lock.lock_folder(str(tmp_path)):
        waits = capsys.readouterr().err
    for shown in (refused, waits):
        assert_safe(shown)
        assert shown.count("\n") == 1 and "on " in shown
    assert ("é 日本語 😀" in refused) == ("é 日本語 😀" in waits) == (name == "é 日本語 😀")


@settings(max_examples=20)
@given(st.lists(TEXTS.filter(lambda text: 0 < len(text) < 40), min_size=1, max_size=5, unique=True))
def test_verify_prints_any_id_safely(tmp_path_factory, ids):
    folder = tmp_path_factory.mktemp("folder")
    frames = np.zeros((2, 128), np.uint8)
    ids = [name.encode(errors="replace").decode() for name in ids]
    for name in ids:  # a shard of its own, and once more in one where none of them belongs
        encoded = encode_example(Segment("train", name, 0, 2, ()), frames)
        for place in (shard_path("train", shard_prefix(name)), shard_path("train", "zzz")):
            path = folder / place
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(frame_records([encoded]))
    problems = verify_folder(str(folder)).problems
    assert problems and all(isinstance(problem, str) for problem in problems)
    shown = printed(lambda: verify.run([str(folder)]))
    assert_safe(shown)
    assert shown.count("\n") == len(problems) + 8
    result = json.loads(printed(lambda: verify.run([str(folder), "--json"])))
    assert result["problems"] == problems


def printed(command) -> str:
    """What a command prints on its output stream, in this process."""
    stream = io.StringIO()
    with contextlib.redirect_stdout(stream):
        command()
    return stream.getvalue()


def test_an_output_whose_name_is_not_utf8_is_refused_in_one_line(tmp_path, capsys):
    write_noise(tmp_path / "a.wav", 1.5)
    flags = [*TRIAL, f"--input={tmp_path}/a.wav", f"--output={tmp_path}/\udcff\x1b[31m"]
    assert console.run_command("pipeline.run", lambda: run.run(flags)) == 2
    assert capsys.readouterr().err == (
        f"pipeline.run: error: --output={tmp_path}/\\udcff\\u001b[31m: its name is not UTF-8; "
        "give another path\n"
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Files with all names, one without audio and one with a name that is not UTF-8, in a hostile folder."""
    folder = tmp_path_factory.mktemp("hostile") / "in\x1b[32m\n\u202e"
    for n, name in enumerate(NAMES):
        write_noise(folder / f"{name}.wav", 1.5, seed=n)
    (folder / "bad\x1b[2J\npipeline.run: error: b.wav").write_bytes(b"\x1b[31m\x9b no audio")
    with open(os.fsencode(folder) + b"/\xff\xfe.wav", "wb") as file:
        file.write(b"no audio")
    return folder


def as_glob(folder) -> str:
    return str(folder).replace("[", "[[]") + "/*"


@pytest.mark.integration
def test_real_commands_print_nothing_but_text(hostile, tmp_path):
    glob, output = f"--input={as_glob(hostile)}", f"{tmp_path}/out\x1b[31m\n\u2028"
    trial = ["-m", "pipeline.run", glob, f"--output={output}", *TRIAL]
    multi = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    embed = ["-m", "pipeline.embed_file", f"{hostile}/{ESCAPE}.wav", *TRIAL[1:3]]
    for command, status, said in [
        (trial, 0, "written 6 + rejected 2"),
        ([*trial, "--json"], 0, '"exit_status": 0'),
        ([*trial, "--plan"], 0, "in\\u001b[32m\\n\\u202e/"),
        ([*trial, "--print_config"], 0, "out\\e[31m\\n\\L"),
        ([*trial[:-5], *multi, *TRIAL[1:], "--overwrite"], 0, "written 6 + rejected 2"),
        ([*trial, "--max_reject_fraction=0"], 4, "more than"),
        (["-m", "pipeline.verify", output, "--against", output], 0, "is good"),
        (["-m", "pipeline.verify", f"{output}/train", "--json"], 2, "error: "),
        (["-m", "pipeline.make_shards", glob, f"--output={output}/shards", "--format=tar"], 0, "packed 7"),
        (["-m", "pipeline.run", f"--input={hostile}/\x1bnone*", f"--output={output}"], 2, "\\u001bnone"),
        (["-m", "pipeline.run", "--in\x1b[31mput=x"], 2, "unknown option --in\\u001b[31mput"),
        ([*embed, f"{output}.tfrecord"], 0, "out\\u001b[31m\\n\\u2028.tfrecord"),
    ]:
        result = run_command(*command)
        assert_safe(result.stdout, result.stderr)
        assert result.returncode == status, result.stderr
        assert said in result.stdout + result.stderr, (command, result.stdout, result.stderr)
        assert "Traceback" not in result.stderr and "Glyph" not in result.stderr


@pytest.mark.integration
def test_text_files_of_a_run_are_safe_to_print_and_exact(hostile, tmp_path):
    output = tmp_path / "out"
    assert run.run([*TRIAL, f"--input={as_glob(hostile)}", f"--output={output}"]) == 0
    files = [path for path in (output / "_run").iterdir() if path.suffix in (".json", ".jsonl")]
    assert len(files) == 4
    for path in files:
        assert_safe(path.read_text(encoding="utf-8"))
    rejected = {clip.file for clip in read_rejected(str(output / "_run" / "rejected-00000-of-00001.jsonl"))}
    bad = f"{hostile}/bad\x1b[2J\npipeline.run: error: b.wav"
    assert rejected == {bad, f"{hostile}/\\udcff\\udcfe.wav"}
    manifest = json.loads((output / "_run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["options"]["input"] == [as_glob(hostile)]


CRASH = """
import logging, sys, warnings
from pipeline.cli.console import run_command

def command():
    text = "\\x1b[31m\\u202e\\x9b\\udcff"
    warnings.warn("warned " + text)
    logging.getLogger("apache_beam").warning("logged %s", text)
    print("printed " + text)
    raise RuntimeError("raised " + text)

sys.exit(run_command("test", command))
"""


@pytest.mark.integration
def test_what_libraries_print_and_a_traceback_are_escaped_too(tmp_path):
    (tmp_path / "crash.py").write_text(CRASH)
    result = run_python(str(tmp_path / "crash.py"), PYTHONPATH=str(ROOT))
    assert result.returncode == 1
    assert_safe(result.stdout, result.stderr)
    escaped = r"\u001b[31m\u202e\u009b\udcff"
    for said in ("warned", "logged", "raised"):
        assert f"{said} {escaped}" in result.stderr
    assert f"printed {escaped}" in result.stdout


@pytest.mark.integration
def test_a_bar_still_moves_on_a_terminal(tmp_path):
    write_noise(tmp_path / "a.wav", 60)
    flags = [*TRIAL, f"--input={tmp_path}/a.wav", f"--output={tmp_path}/\x1bout"]
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.run", *flags],
        cwd=ROOT,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    screen = b""
    try:
        while True:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            screen += data
    finally:
        process.kill()
        out, _ = process.communicate()
        os.close(ours)
    assert "\\u001bout" in out
    assert b"\rloading the model" in screen or b"\rembedding" in screen
    assert b"\\r" not in screen
