"""The report as a file; `integration/test_report_in_browser.py` opens it."""

import html
import html.parser
import json
import re
import shutil
from collections import Counter
from importlib import resources

import pytest
from hypothesis import given
from sounds import write_bad_files, write_noise
from test_printable import TEXTS, UNSAFE
from trial_runs import TRIAL, json_lines

from pipeline import report, run
from pipeline.cli.console import run_command
from pipeline.cli.progress_display import Sample
from pipeline.output.account import Account
from pipeline.report import plots, write_report
from pipeline.report.map import EmbeddingMap
from pipeline.report.notes import Note
from pipeline.report.write import Figure, _progress_figures, _sample_text, _text, _tiles, render_page
from pipeline.verify import verify_folder
from transforms.printable import printable
from transforms.write_account import AUDIO_MS

pytestmark = pytest.mark.usefixtures("stand_in_network")

PICTURES = ["clip-0", "clip-1", "clip-2", "map", "lengths", "values", "saturation"]


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


def pictures(text: str) -> list[str]:
    """The names of the page's pictures, without that of the progress, which a short run lacks."""
    names = re.findall(r'<figure class="card" id="([\w-]+)"><h3>[^<]*</h3><svg ', text)
    return [name for name in names if name != "throughput"]


def page(folder) -> str:
    return (folder / "_run" / "report.html").read_text(encoding="utf-8")


def test_every_figure_uses_the_colours_of_the_page(reported):
    text = page(reported[0])
    assert pictures(text) == PICTURES
    assert "var(--c1)" in text and not re.search(r"#0000(0[1-3]|1[1-8])", text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))  # no picture has a part of another's


def test_the_page_needs_no_network(reported):
    text = page(reported[0])
    sources = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', text)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "<script src" not in text and "@import" not in text and "fetch(" not in text


def test_names_are_escaped(reported):
    text = page(reported[0])
    assert "train/clip0&lt;b&gt;" in text and "clip0<b>" not in text


def test_the_page_describes_the_run(reported):
    text = page(reported[0])
    for text in (
        "not_audio",
        "no known audio format",
        "The weights are random (random:0).",
        "apache-beam",
        "batch_size",
    ):
        assert text in text


def test_the_folder_stays_unchanged_and_the_next_run_writes_the_report_again(reported, monkeypatch):
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
        return re.search(r'<figure class="card" id="lengths".*<h2>Clips with', html, re.DOTALL)[0]

    assert features(after) == features(before)


def test_raw_embeddings_also_have_a_report(reported, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "write_report", write_report)
    _, flags = reported
    assert run.run([*flags[:-1], f"--output={tmp_path}/out", "--postprocess=raw"]) == 0
    assert pictures(page(tmp_path / "out")) == [name for name in PICTURES if name != "saturation"]


def test_a_run_without_records_has_a_report_and_status_4(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(report, "write_report", write_report)
    write_noise(tmp_path / "short.wav", 0.5)
    assert run.run([*TRIAL, f"--input={tmp_path}/short.wav", f"--output={tmp_path}/out"]) == 4
    line = f"none of the inputs (1) could be embedded (too_short 1); {tmp_path}/short.wav: "
    assert line in capsys.readouterr().out
    text = page(tmp_path / "out")
    assert "The folder contains no features." in text and "All clips were rejected." in text
    # Nothing is shown that says nothing: no heading without content, no chart, and no numbers of no clips.
    assert not {"Some clips", "All features", "Clips with features"} & {*re.findall("<h2>(.*?)</h2>", text)}
    assert "<figure" not in text and "of audio embedded" not in text and "in 0 shards" not in text


def test_what_is_wrong_comes_before_the_features(reported):
    text = page(reported[0])
    order = [text.index(part) for part in ('class="note bad"', 'id="reasons"', 'id="rejects"', "<figure")]
    assert order == sorted(order)


def test_a_chart_of_the_progress_needs_several_steps():
    samples = [Sample(float(n), done, 0, done) for n, done in enumerate([0, 0, 16, 16, 16, 16])]
    assert not list(_progress_figures(samples))
    samples = [Sample(float(n), n, 0, n) for n in range(5)]
    assert [figure.name for figure in _progress_figures(samples)] == ["throughput"]


def test_the_rate_of_a_run_is_shown_from_a_minute_on():
    account = Account(Counter({("train", AUDIO_MS): 9_000_000}))
    rates = [
        [tile[0] for tile in _tiles(account, [], wall_s) if "playback" in tile[1]] for wall_s in (59, 60)
    ]
    assert rates == [[], ["150x"]]


def test_values_of_the_manifest_are_words():
    values = [None, True, False, 0.96, [-2.0, 2.0], {"libsndfile": "1.2", "libavcodec": "62"}]
    assert [*map(_text, values)] == [
        "none",
        "yes",
        "no",
        "0.96",
        "-2.0, 2.0",
        "libsndfile 1.2, libavcodec 62",
    ]


def test_text_has_enough_contrast_in_both_modes():
    style = resources.files("pipeline.report").joinpath("page.css").read_text(encoding="utf-8")
    for mode in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        colours = {name: luminance(colour) for name, colour in re.findall(r"--(\w+): (#\w{6})", mode)}
        for name, least in [(n, 4.5) for n in ("ink", "muted", "good", "bad", "warn")] + [
            (f"c{n}", 2.5) for n in range(1, 9)
        ]:
            for background in ("page", "card"):
                low, high = sorted((colours[name], colours[background]))
                assert (high + 0.05) / (low + 0.05) >= least, (name, background)


def luminance(colour: str) -> float:
    """The relative luminance of WCAG."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_sample_is_described_in_the_singular_or_plural():
    assert _sample_text([None], 1) == "From the only clip in the folder."
    assert _sample_text([None] * 2, 2) == "From all 2 clips in the folder."


# Ids, names of classes and of files: formulas, markup, formats, options of plots, no letters, and 255 bytes.
HOSTILE = [
    "$x_$",
    "$\\frac$",
    "_hidden",
    "__",
    "%s %(a)s {0} {x}",
    "{{ 7*7 }}{% raw %}",
    "<b>&amp;'\"",
    '<g id="x" #000001 font: 9px a;',
    "\x1b[31mred\x1b]0;title\x07",
    "a\r\nb",
    "\u202egpj",
    "日本語 العربية 😀",
    "c1\x9b31m\u2028",
    "a" * 200,
]


@pytest.mark.parametrize("count", [len(HOSTILE), 8], ids=["by split", "by clip"])
def test_names_with_markup_or_formulas_are_text(tmp_path, monkeypatch, capfd, recwarn, count):
    monkeypatch.setattr(report, "write_report", write_report)
    ids = [name for name in HOSTILE if "\\" not in name][:count]
    for n, name in enumerate(ids):
        write_noise(tmp_path / "audio" / f"{name}.wav", 1.5, seed=n)
    flags = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={tmp_path}/out"]
    assert run_command("pipeline.run", lambda: run.run(flags)) == 0
    shown = capfd.readouterr()
    assert "warning" not in shown.err and not set(shown.out + shown.err) & {*UNSAFE} - {"\n"}
    assert not [str(warning.message) for warning in recwarn if "matplotlib" in warning.filename]
    html_text = page(tmp_path / "out")
    assert not set(html_text) & {*UNSAFE} - {"\n"}
    legend, points = names_on_map(html_text)
    assert points == {*map(printable, ids)}
    if count == 8:  # then clips have colours, and the legend their ids
        assert sorted(legend) == sorted(map(plots.short, ids))


def names_on_map(html_text: str) -> tuple[list[str], set[str]]:
    """The names in the legend of the map, and those of its points, as a browser shows them."""
    figure = re.search(r'<figure class="card" id="map">.*?</figure>', html_text, re.DOTALL)[0]
    legend = re.findall(r"<li .*?</svg> (.*?)</li>", figure)
    return [html.unescape(name) for name in legend], {
        html.unescape(title) for title in re.findall(r"<title>(.*?)</title>", figure)
    }


def test_hostile_class_names_are_text_in_the_legend(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(report, "write_report", write_report)
    names = HOSTILE[:8]
    rows = [f'{n},/m/{n},"{name.replace(chr(34), chr(34) * 2)}"' for n, name in enumerate(names)]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["index,mid,display_name", *rows]) + "\n", encoding="utf-8")
    segments = tmp_path / "segments.csv"
    segments.write_text("".join(f'clip{n}, 0.0, 1.5, "/m/{n}"\n' for n in range(8)))
    for n in range(8):
        write_noise(tmp_path / f"clip{n}.wav", 1.5, seed=n)
    flags = [f"--input={tmp_path}/*.wav", f"--segments=train={segments}", f"--class_labels={labels}"]
    assert run.run([*TRIAL, *flags, f"--output={tmp_path}/out"]) == 0
    assert "warning" not in capfd.readouterr().err
    legend, points = names_on_map(page(tmp_path / "out"))
    assert legend == [*map(plots.short, sorted(names))]
    assert points == {f"clip{n}, {printable(name)}" for n, name in enumerate(names)}


class Page(html.parser.HTMLParser):
    """A page as a browser reads it: its tags with their attributes, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, attributes))

    def handle_data(self, data):
        self.text += data


def page_of(text: str) -> Page:
    figure = Figure("name", text, "<svg></svg>", text)
    values = dict.fromkeys(("title", "hop", "when", "duration", "version", "sample"), text)
    values |= {"tiles": [(text, text, "warn")], "notes": [Note("warn", text, text)]}
    values |= {"account": [(text, 1, 2, 3, 4, 5)], "map": EmbeddingMap("<svg></svg>", [(1, text)], text)}
    values |= {"figures": [figure], "examples": [figure], "reasons": [(text, 3, text)]}
    values |= {"progress": [figure], "clip_count": 2_000, "reject_count": 1_000}
    values |= {"rejects": [(text, text, text)], "clips": [(text, text, 0.0, 1.0, 1, f"{text}.")]}
    html_text = render_page(**values, tables=[(text, [(text, text)])])
    assert not set(html_text) & {*UNSAFE} - {"\n"}
    return Page(html_text)


@pytest.fixture(scope="module")
def empty_page():
    return page_of("")


@given(text=TEXTS)
def test_any_text_on_the_page_is_escaped(empty_page, text):
    found = page_of(text)
    assert found.tags == empty_page.tags and ("svg", []) in found.tags
    shown = "".join(c if c not in UNSAFE else "" for c in text)
    if not set(text) & {*UNSAFE}:
        assert found.text.count(text) >= 18 if text else True
    assert shown.strip() in found.text or set(text) & {*UNSAFE}


def fail(*_, **__):
    raise ValueError("a \x1b[31mbug\nin the library")


def report_fails(monkeypatch, folder, how) -> None:
    monkeypatch.setattr(report, "write_report", write_report)
    if how == "matplotlib":
        monkeypatch.setattr(plots.Figure, "savefig", fail)
    else:
        (folder / "_run" / "report.html").mkdir(parents=True)
        (folder / "_run" / "report.html" / "mine").touch()


BUG = "ValueError: a \\u001b[31mbug in the library"
NO_FILE = "{path}: cannot be written (Is a directory); existing files are complete: fix the"


@pytest.mark.parametrize(
    "how, cause, flags, status",
    [
        ("folder", NO_FILE, [], 0),
        ("matplotlib", BUG, ["--max_reject_fraction=0.1"], 4),
        ("matplotlib", BUG, ["--overwrite"], 0),
    ],
)
def test_a_failed_report_is_a_warning(tmp_path, monkeypatch, capsys, how, cause, flags, status):
    for n in range(2):
        write_noise(tmp_path / "audio" / f"clip{n}.wav", 1.5, seed=n)
    write_noise(tmp_path / "audio" / "short.wav", 0.3)
    output, path = tmp_path / "out", tmp_path / "out" / "_run" / "report.html"
    command = [*TRIAL, f"--input={tmp_path}/audio/*", f"--output={output}", "--quiet"]
    report_fails(monkeypatch, output, how)
    assert run_command("pipeline.run", lambda: run.run([*command, *flags])) == status
    out, err = capsys.readouterr()
    assert "clips expected 3 = written 2 + rejected 1 + existing 0" in out
    assert "report  " not in out and (status == 0) == ("more than --max_reject_fraction" not in out)
    (line,) = err.splitlines()
    again = (
        "the same command without --overwrite again" if "--overwrite" in flags else "the same command again"
    )
    assert line.startswith(f"pipeline.run: warning: {path}: the report could not be written (")
    assert cause.format(path=path) in line and again in line
    # The run has ended as any other: nothing is left behind, and all else is there.
    names = {file.name for file in (output / "_run").iterdir()} - {"log.txt", "report.html", "sources"}
    assert names == {
        "manifest.json",
        "rejected-00000-of-00001.jsonl",
        "shards.jsonl",
        "unmatched-00000-of-00001.jsonl",
    }
    assert json.loads((output / "_run" / "manifest.json").read_text())["finished"]
    assert len(json_lines(output / "_run" / "rejected-00000-of-00001.jsonl")) == 1
    assert path.exists() == (how == "folder") and (how != "folder" or (path / "mine").exists())


def test_a_failed_report_deletes_the_earlier_one_and_can_be_written_again(
    reported, tmp_path, monkeypatch, capsys
):
    folder, flags = reported
    shutil.copytree(folder, tmp_path / "out")
    flags = [*flags[:-1], f"--output={tmp_path}/out", "--json"]
    old = page(tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_report", write_report)
        capsys.readouterr()
        patch.setattr(plots.Figure, "savefig", fail)
        assert run.run(flags) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["report"] == "" and "warning" in err
        assert not (tmp_path / "out" / "_run" / "report.html").exists()
    monkeypatch.setattr(report, "write_report", write_report)
    assert run.run(flags) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["report"].endswith("report.html") and "warning" not in err
    assert "Some clips" in page(tmp_path / "out") and old != ""
