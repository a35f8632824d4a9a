"""The committed results are those of the docs, and the benchmarks' commands exist."""

import importlib.util
import json
import re
import sys
from pathlib import Path

from benchmarks import corpora, flops, harness, report
from benchmarks.__main__ import BENCHMARKS


def test_the_pages_have_the_figures_of_the_results():
    results, found = report.read_results(), []
    for path in report.PAGES:
        page = path.read_text()
        assert report.updated(page, results) == page
        found += re.findall(r"<!-- (\w+) -->", page)
    assert sorted(found) == sorted(report.blocks(results))
    changed = results | {"runners": {"runners": {"OtherRunner": {"7": {"wall_s": 1.5, "peak_mb": 90}}}}}
    assert "| `OtherRunner` | 1.5 | 90 |\n\n" in report.updated(report.PAGES[1].read_text(), changed)


def test_the_plot_is_a_picture_with_every_form_and_rate(tmp_path):
    results = report.read_results()
    report.plot(results, tmp_path / "plot.svg")
    svg = (tmp_path / "plot.svg").read_text()
    assert svg.startswith("<?xml") and svg.count("<path") > 50


def test_the_page_of_scale_has_the_tables_of_the_results(capsys):
    corpora.main()
    tables = capsys.readouterr().out.split("\n\n")[1:]
    page = (report.DOCS / "scale.md").read_text()
    assert len(tables) == 4
    for table in tables:
        assert table.strip() in page


def test_each_benchmark_is_a_command_of_its_module():
    for name, (module, *command) in BENCHMARKS.items():
        source = Path(importlib.util.find_spec(module).origin).read_text()
        (names,) = re.findall(r"^    harness\.main\((.*)\)$", source, re.MULTILINE)
        assert name in names.split(", ") and f"def {name}(" in source
        assert command == ([name] if "," in names else [])


def test_the_peak_of_a_device_is_found_by_the_part_of_its_name():
    assert flops.peak_tflops("NVIDIA L4", "bfloat16") == 121.0
    assert flops.peak_tflops("NVIDIA L40S", "float32") == 91.6
    assert flops.peak_tflops("NVIDIA H100 PCIe", "float16") == 756.0
    assert flops.peak_tflops("cpu", "float32") is None


def test_the_network_takes_the_number_of_operations_of_the_paper():
    # Two for each multiply-and-add.
    assert 1.72e9 < flops.network_flop() < 1.74e9


def test_a_report_has_the_figures_the_machine_and_the_command_without_local_paths(tmp_path, monkeypatch):
    def double(*, clips: int = 1, sizes: tuple[int, ...] = (1, 2), audio: str = "") -> dict[str, int]:
        return {"clips": 2 * clips, "sizes": sum(sizes)}

    flags = ["--clips=3", "--sizes", "4", "5", "--audio=/home/me/*.wav", f"--results={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["benchmark", *flags])
    harness.main(double)
    written = json.loads((tmp_path / "double.json").read_text())
    assert (written["clips"], written["sizes"]) == (6, 9)
    assert written["machine"]["cores"] >= 1 and "numpy" in written["versions"]
    assert written["command"] == "python -m benchmarks.test_benchmarks --clips=3 --sizes 4 5 --audio=AUDIO"


def test_a_run_has_the_peak_memory_of_all_processes():
    child = "import time; block = bytearray(100 << 20); time.sleep(1); print(7)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    run = harness.run([sys.executable, "-c", f"block = bytearray(100 << 20); {parent}"])
    assert run.result == 7 and run.wall_s > 1
    assert 210 < run.peak_mb < 400
