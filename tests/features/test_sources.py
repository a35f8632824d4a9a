"""Several inputs for one record: any sequence of runs has the same result as one run over all inputs."""

import gzip
import itertools
import json
import os
import shutil

import pytest
from sounds import write_noise
from test_resume import computed, shards, totals  # noqa: F401
from test_run import REJECTED, TRIAL, json_lines, read

from pipeline import run
from pipeline.cli.console import run_command
from pipeline.make_shards import run as make_shards
from pipeline.output import account
from transforms import write_account
from transforms.clips import Clip
from transforms.errors import OutputError
from transforms.features import open_shard
from transforms.features import sources as sources_module
from transforms.features.sources import Source, read_sources, write_sources

pytestmark = pytest.mark.usefixtures("stand_in_network")


@pytest.fixture
def corpus(tmp_path):
    """Three recordings with the id "xy", the first one bad; two with the id "xz"; one alone."""
    folder = tmp_path / "audio"
    for n, name in enumerate(("b/xy", "c/xy", "d/xy", "b/xz", "c/xz", "c/zz")):
        write_noise(folder / f"{name}.wav", 1.0 + n % 2, seed=n)
    (folder / "a").mkdir()
    (folder / "a" / "xy.wav").write_text("no audio")
    return folder


def outcome(folder) -> tuple:
    names = (REJECTED, "shards.jsonl")
    return shards(folder), [(folder / "_run" / name).read_bytes() for name in names]


def sequence(corpus, out, *globs: str) -> int:
    """Run once per glob; return the status of the last run."""
    flags = [*TRIAL, "--max_reject_fraction=0.3", f"--output={out}"]
    for pattern in globs:
        status = run.run([*flags, f"--input={corpus}/{pattern}"])
    return status


@pytest.mark.integration  # ten runs; tests/adversary has a short form of it among the unit tests
def test_any_sequence_of_runs_has_the_result_of_one_run(corpus, tmp_path):
    assert sequence(corpus, tmp_path / "one", "*/*") == 4
    expected = outcome(tmp_path / "one")
    assert totals(tmp_path / "one") == (7, 3, 4, 0)
    duplicates = {row["file"]: row["message"] for row in json_lines(tmp_path / "one" / "_run" / REJECTED)}
    assert duplicates[f"{corpus}/d/xy.wav"] == f"{corpus}/b/xy.wav is this clip already; it sorts first"
    orders = [
        ("a/*", "b/*", "c/*", "d/*"),
        ("d/*", "c/*", "b/*", "a/*"),
        ("c/*", "*/*"),
        ("[cd]/*", "[ab]/*"),
    ]
    for number, order in enumerate(orders):
        out = tmp_path / str(number)
        sequence(corpus, out, *order)
        assert outcome(out) == expected, order
        # Once more over everything: nothing changes, and the rejects stay.
        assert sequence(corpus, out, "*/*") == 4
        assert outcome(out) == expected and totals(out) == (7, 0, 4, 3)


@pytest.mark.integration  # three runs
def test_the_same_command_twice_lists_the_same_duplicates(corpus, tmp_path, computed):  # noqa: F811
    out = tmp_path / "out"
    assert sequence(corpus, out, "*/*") == 4
    first = (out / "_run" / REJECTED).read_bytes()
    computed.clear()
    assert sequence(corpus, out, "*/*") == 4
    assert (out / "_run" / REJECTED).read_bytes() == first
    # Duplicates are tried again, as all rejected clips are; existing clips are not.
    assert sorted(computed) == ["xy", "xy", "xz"]
    again = [f"--input_rejects={out}/_run/rejected-*", "--max_reject_fraction=0.3", f"--output={out}"]
    assert run.run([*TRIAL, *again]) == 4
    assert (out / "_run" / REJECTED).read_bytes() == first


def test_a_recording_that_sorts_first_replaces_the_record(corpus, tmp_path):
    out = tmp_path / "out"
    assert sequence(corpus, out, "c/xz.wav") == 0
    before = read(out)["xz"]
    assert sequence(corpus, out, "b/xz.wav") == 0
    assert totals(out) == (1, 1, 0, 0)
    assert read(out)["xz"][1].tobytes() != before[1].tobytes()
    (line,) = json_lines(out / "_run" / REJECTED)
    assert (line["file"], line["reason"]) == (f"{corpus}/c/xz.wav", "duplicate")
    assert line["sha256"] and f"{corpus}/b/xz.wav is this clip already" in line["message"]
    counted = json.loads((out / "_run" / "manifest.json").read_text())["account"]
    assert counted["balanced"] and counted["rejected_earlier"] == 1


@pytest.mark.integration  # seconds each
def test_clips_in_shards_are_distinguished_by_their_offsets(corpus, tmp_path):
    for name in "bcd":
        flags = [f"--input={corpus}/{name}/*", f"--output={tmp_path}/packed/{name}", "--format=tar"]
        assert make_shards([*flags, "--runner=FnApiRunner"]) == 0
    packed = tmp_path / "packed"
    assert sequence(packed, tmp_path / "one", "*/*.tar") == 4
    for number, order in enumerate(itertools.permutations(("b/*.tar", "c/*.tar", "d/*.tar"))):
        if number % 2:
            sequence(packed, tmp_path / str(number), *order, "*/*.tar")
            assert outcome(tmp_path / str(number)) == outcome(tmp_path / "one"), order


@pytest.mark.integration  # four runs
def test_another_spelling_of_a_path_is_the_same_input(corpus, tmp_path, computed, monkeypatch):  # noqa: F811
    out = tmp_path / "out"
    assert sequence(corpus, out, "b/*") == 0
    computed.clear()
    monkeypatch.chdir(corpus)
    for spelling in ("b/*", "../audio/b/*", f"{corpus}/../audio/b/*"):
        assert run.run([*TRIAL, f"--input={spelling}", f"--output={out}"]) == 0
        assert totals(out) == (2, 0, 0, 2)
    assert computed == []


def test_another_recording_replaces_a_source_that_is_gone(corpus, tmp_path):
    out = tmp_path / "out"
    assert sequence(corpus, out, "b/xz.wav") == 0
    (corpus / "b" / "xz.wav").unlink()
    assert sequence(corpus, out, "c/xz.wav") == 0
    assert totals(out) == (1, 1, 0, 0) and json_lines(out / "_run" / REJECTED) == []


def test_an_unknown_source_becomes_the_first_input(corpus, tmp_path, computed):  # noqa: F811
    out = tmp_path / "out"
    assert sequence(corpus, out, "b/xz.wav") == 0
    shutil.rmtree(out / "_run" / "sources")
    computed.clear()
    assert sequence(corpus, out, "*/xz.wav") == 4
    assert totals(out) == (2, 0, 1, 1) and computed == []
    assert [row["file"] for row in json_lines(out / "_run" / REJECTED)] == [f"{corpus}/c/xz.wav"]
    (path,) = (out / "_run" / "sources").iterdir()
    assert [source.file for source in read_sources(str(path)).values()] == [f"{corpus}/b/xz.wav"]


def killed(*arguments):
    raise RuntimeError


def killed_before_rejects(group, path, count, put=write_account._write_lines):
    if path.endswith("rejected"):
        raise RuntimeError
    put(group, path, count)


@pytest.mark.integration  # four runs each
@pytest.mark.parametrize(
    "module, killed_before, kill",
    [
        (open_shard, "write_sources", killed),
        (open_shard, "write_output", killed),
        (write_account, "_write_lines", killed_before_rejects),
        (account, "open_file", killed),
    ],
)
def test_a_kill_before_a_shard_its_sources_or_the_lists_changes_nothing(
    corpus, tmp_path, monkeypatch, module, killed_before, kill
):
    out, expected = tmp_path / "out", tmp_path / "one"
    shutil.copy(corpus / "b" / "xz.wav", corpus / "c" / "xz.wav")  # another input with the same record
    sequence(corpus, expected, "*/*")
    sequence(corpus, out, "[cd]/*")
    monkeypatch.setattr(module, killed_before, kill)
    with pytest.raises(RuntimeError):
        sequence(corpus, out, "[ab]/*")
    monkeypatch.undo()
    sequence(corpus, out, "[ab]/*")
    assert outcome(out) == outcome(expected)
    assert not (out / "_run" / "displaced.jsonl").exists()


def test_the_next_run_lists_inputs_that_a_killed_run_replaced(corpus, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    sequence(corpus, out, "c/xz.wav")
    monkeypatch.setattr(write_account, "_write_lines", killed_before_rejects)
    with pytest.raises(RuntimeError):
        sequence(corpus, out, "b/xz.wav")
    (note,) = (out / "_run").glob("before-*")
    data = note.read_bytes()
    note.write_bytes(data + b"x")
    capsys.readouterr()
    flags = [*TRIAL, f"--input={corpus}/d/xy.wav", f"--output={out}"]
    assert run_command("pipeline.run", lambda: run.run(flags)) == 1
    error = capsys.readouterr().err
    assert f"{note}: is damaged or cannot be read" in error and "delete it" in error
    note.write_bytes(data)
    with pytest.raises(RuntimeError):
        run.run(flags)
    assert not note.exists()
    monkeypatch.undo()
    assert run.run(flags) == 0
    (line,) = json_lines(out / "_run" / REJECTED)
    assert line["file"] == f"{corpus}/c/xz.wav" and line["sha256"]
    assert line["message"] == f"{corpus}/b/xz.wav is this clip already; it sorts first"


@pytest.mark.integration  # seconds each
@pytest.mark.parametrize("text", ["", "no gzip", "{", "[1]\n", '[1, "x", null]\n'])
def test_damaged_sources_give_one_line_with_a_remedy(corpus, tmp_path, capsys, text):
    data = text.encode() if text in ("", "no gzip") else gzip.compress(text.encode())
    out = tmp_path / "out"
    flags = [*TRIAL, f"--input={corpus}/b/xy.wav", f"--output={out}"]
    assert run.run(flags) == 0
    (path,) = (out / "_run" / "sources").iterdir()
    path.write_bytes(data)
    capsys.readouterr()
    assert run_command("pipeline.run", lambda: run.run(flags)) == 1
    error = capsys.readouterr().err
    assert f"{path}: is damaged or cannot be read" in error and "delete it" in error
    assert "Traceback" not in error
    path.unlink()
    assert run.run(flags) == 0 and totals(out) == (1, 0, 0, 1)


@pytest.mark.parametrize("kind", ["one line", "many lines", "bad deflate"])
def test_the_size_of_decompressed_sources_is_limited(kind, tmp_path, monkeypatch):
    """Hundreds of megabytes in a compressed file of one, and an invalid deflate code."""
    limit = 1 << 28
    if kind == "many lines":  # as many would take ten seconds
        monkeypatch.setattr(sources_module, "_MAX_BYTES", limit := 1 << 20)
    path = tmp_path / "sources.gz"
    line = b'["0123456789abcdef", "x.wav", null]\n'
    if kind == "bad deflate":
        path.write_bytes(gzip.compress(line)[:10] + b"\xff" * 20)
    else:
        block = bytes(1 << 20) if kind == "one line" else line * 2_000
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(limit // len(block) + 1):
                file.write(block)
        assert path.stat().st_size < 4e6
    expected = "invalid" if kind == "bad deflate" else f"more than {limit >> 20} MiB"
    with pytest.raises(OutputError, match=f"{expected}.*delete it"):
        read_sources(str(path))


def source_of(file: str, offset: int | None = None) -> Source:
    return Source.of(Clip("train", "xy", file, offset))


def test_all_spellings_of_a_path_are_one_source_and_other_inputs_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = source_of(f"{tmp_path}/a.wav")
    assert source_of("a.wav").hash == source_of("./x/../a.wav").hash == here.hash
    assert source_of("a.wav").path == here.path and str(source_of("a.wav")) == "a.wav"
    others = [source_of(f"{tmp_path}/a.wav", 0), source_of("b.wav"), source_of("gs://b/a.wav")]
    assert len({source.hash for source in (here, *others)}) == 4
    assert others[2].path == "gs://b/a.wav" and str(others[0]) == f"{tmp_path}/a.wav at 0"
    assert [source.shard_offset for source in (here, others[0])] == [None, 0]
    assert here.exists() is False
    (tmp_path / "a.wav").touch()
    assert here.exists() is True


def test_sources_are_read_back_and_their_bytes_depend_only_on_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "sources.gz")
    rows = [(f"{n:016x}", source_of(f"dir/{n}é\udc80.wav", n or None)) for n in range(3)]
    rows.append(("0" * 16, source_of("gs://b/x.tar", 0)))
    write_sources(path, rows)
    data = (tmp_path / "sources.gz").read_bytes()
    found = read_sources(path)
    assert found == {**dict(rows), "0" * 16: min(rows[0][1], rows[3][1])}
    assert rows[0][1].path == os.path.abspath(rows[0][1].file)
    write_sources(path, rows[::-1])
    assert (tmp_path / "sources.gz").read_bytes() == data
    assert read_sources(str(tmp_path / "none")) == {}
