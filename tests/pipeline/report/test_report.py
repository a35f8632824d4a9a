"""The report as a file; `integration/test_report_in_browser.py` opens it."""

import re

import numpy as np
import pytest
from sounds import write_bad_files, write_noise
from test_run import TRIAL

from pipeline import report, run
from pipeline.report import write_report
from pipeline.report.write import stuck_notes
from pipeline.verify import verify_folder
from transforms.features.sample import FrameStatistics

PICTURES = ["throughput", "lengths", "frames", "values", "saturation", "map", "clip-0", "clip-1", "clip-2"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A folder with labels, rejects and a report; the flags that made it."""
    folder = tmp_path_factory.mktemp("reported")
    audio = folder / "audio"
    for n in range(4):
        write_noise(audio / f"clip{n}<b>.wav", 3.0 + n, seed=n)
    write_bad_files(audio)
    flags = [*TRIAL, f"--input={audio}/*", f"--output={folder}/out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "write_report", write_report)
        assert run.run(flags) == 0
    return folder / "out", flags


def page(folder) -> str:
    return (folder / "_run" / "report.html").read_text()


def test_every_picture_is_there_with_colours_of_the_page(reported):
    html = page(reported[0])
    assert re.findall(r'<figure class="card" id="([\w-]+)"><h3>[^<]*</h3><svg ', html) == PICTURES
    assert "var(--c1)" in html and not re.search(r"#0000(0[1-3]|1[1-8])", html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))  # no picture has a part of another's


def test_it_needs_no_network_and_runs_no_script(reported):
    html = page(reported[0])
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', html)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "<script" not in html and "@import" not in html


def test_names_are_text_and_no_markup(reported):
    html = page(reported[0])
    assert "train/clip0&lt;b&gt;" in html and "clip0<b>" not in html


def test_it_says_what_the_run_did(reported):
    html = page(reported[0])
    for text in (
        "not_audio",
        "no known audio format",
        "Weights random:0 are noise",
        "apache-beam",
        "batch_size",
    ):
        assert text in html


def test_the_folder_stays_as_it_is_and_a_further_run_writes_it_anew(reported, monkeypatch):
    folder, flags = reported
    shards = {path: path.read_bytes() for path in folder.glob("*/*.tfrecord")}
    before = page(folder)
    assert verify_folder(str(folder), strict=True, by_list=True).problems == []
    monkeypatch.setattr(report, "write_report", write_report)
    assert run.run(flags) == 0  # nothing is left to compute
    assert {path: path.read_bytes() for path in folder.glob("*/*.tfrecord")} == shards
    after = page(folder)
    assert after != before

    def features(html):
        return re.search(r'<figure class="card" id="lengths".*<h2>Rejected', html, re.DOTALL)[0]

    assert features(after) == features(before)


def test_raw_embeddings_have_a_report_too(reported, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write_report", write_report)
    _, flags = reported
    assert run.run([*flags[:-1], f"--output={tmp_path}/out", "--postprocess=raw"]) == 0
    names = re.findall(r'<figure class="card" id="([\w-]+)"', page(tmp_path / "out"))
    assert names == [name for name in PICTURES if name != "saturation"]


def test_a_run_without_a_record_has_one_as_well_and_is_no_success(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "write_report", write_report)
    write_noise(tmp_path / "short.wav", 0.5)
    assert run.run([*TRIAL, f"--input={tmp_path}/short.wav", f"--output={tmp_path}/out"]) == 4
    line = f"none of 1 inputs could be embedded (too_short 1); {tmp_path}/short.wav: "
    assert line in capsys.readouterr().out
    assert "No features to look at" in page(tmp_path / "out")


def test_a_stuck_dimension_is_called_out():
    frames = np.random.default_rng(0).integers(0, 256, (50, 128), np.uint8)
    assert list(stuck_notes(FrameStatistics.of(frames))) == []
    frames[:, 127] = 255
    assert list(stuck_notes(FrameStatistics.of(frames))) == [
        "Stuck at 255 in most frames: dimension 127 (100%).",
        "The same value in every frame: dimension 127.",
    ]
