"""The figures of the report: names, colours, ids."""

import re
import xml.etree.ElementTree
from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_printable import TEXTS

from pipeline.report import plots
from transforms.audio.dsp.log_mel import log_mel_examples
from transforms.audio.sine import sine


def svg_texts(svg: str) -> list[str]:
    root = xml.etree.ElementTree.fromstring(svg)
    return ["".join(text.itertext()) for text in root.iter() if text.tag.endswith("text")]


@settings(max_examples=15)
@given(st.lists(TEXTS, min_size=1, max_size=8, unique=True))
def test_any_name_is_text_in_a_figure(names):
    shown = [*map(plots.short, names)]
    texts = svg_texts(plots.frames_by_split(dict.fromkeys(names, 5.0)))
    assert Counter(texts) == Counter(filter(None, shown)) + Counter({"5": len(names)})
    assert all(len(name) <= 32 for name in shown)


def ids(svg: str) -> list[str]:
    return re.findall(r' id="([^"]+)"', svg)


def test_figures_have_the_colours_and_the_font_of_the_page():
    svg = plots.throughput([0.0, 1.0, 2.0], [0, 3, 6], [0, 0, 1])
    assert "var(--c1)" in svg and "var(--c4)" in svg and "var(--ink)" in svg
    assert not re.search(r"#0000(0[1-3]|1[1-8])", svg) and "font:" not in svg
    assert svg.startswith("<svg ") and not re.search(r"<svg [^>]*(width|height)=", svg)
    assert {"clips done", "rejected", "seconds since the start"} <= {*svg_texts(svg)}
    assert "minutes since the start" in svg_texts(plots.throughput([0.0, 301.0], [0, 1], [0, 0]))


def test_parts_of_two_figures_have_different_ids():
    frames = np.zeros((2, 128), np.uint8)
    log_mel = np.random.default_rng(0).normal(size=(192, 64)).astype(np.float32)
    pictures = [plots.clip_pictures(log_mel, frames, 0.96, f"clip-{n}") for n in range(2)]
    assert ids(pictures[0]) and not {*ids(pictures[0])} & {*ids(pictures[1])}
    assert plots.clip_pictures(log_mel, frames, 0.96, "clip-0") == pictures[0]


def test_histograms_name_their_axes():
    edges = np.linspace(0, 256, 257)
    assert "byte" in svg_texts(plots.values(np.ones(256), edges, False))
    assert "value" in svg_texts(plots.values(np.ones(256), edges, True))
    assert {"at 0", "at 255"} <= {*svg_texts(plots.saturation(np.full(128, 0.3), np.zeros(128)))}
    assert "seconds" in svg_texts(plots.lengths(np.array([10.0, 10.0])))


def test_a_long_name_is_shortened_in_the_middle():
    assert plots.short("a" * 32) == "a" * 32 and plots.short("a\x1bb") == r"a\u001bb"
    short = plots.short("a" * 20 + "b" * 20)
    assert len(short) == 32 and short == "a" * 15 + "…" + "b" * 16


def test_the_ends_of_the_range_do_not_hide_the_other_bytes():
    edges = np.arange(257) - 0.5
    counts = np.full(256, 10)
    counts[0], counts[255] = 5_000, 2_000
    svg = plots.values(counts, edges, False)
    assert {"0: 52.4%, beyond the axis", "255: 21.0%, beyond the axis"} <= {*svg_texts(svg)}
    assert not any("beyond" in text for text in svg_texts(plots.values(np.ones(256), edges, False)))
    counts[1:255] = 0
    assert not any("beyond" in text for text in svg_texts(plots.values(counts, edges, False)))


def test_frequencies_are_at_the_centres_of_their_bands():
    for frequency_hz in (250, 1_000, 4_000):
        sine_wave = sine(1.0, frequency_hz)
        loudest = log_mel_examples(sine_wave)[0].mean(axis=0).argmax()
        assert abs(plots.band_of(frequency_hz) - (loudest + 0.5)) <= 0.5
    assert plots.band_of(125) == -0.5 and abs(plots.band_of(7_500) - 64.5) < 1e-9
    svg = plots.clip_pictures(np.zeros((96, 64), np.float32), np.zeros((1, 128), np.uint8), 0.96, "x")
    assert {"Hz", "250", "4,000", "log energy"} <= {*svg_texts(svg)}
