"""The page and the plot of the results: docs/benchmarks.md and docs/benchmarks.svg."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, read_result

DOCS = ROOT / "docs"
FORMS = {"wav_44": "WAV, 44.1 kHz stereo", "flac_44": "FLAC, 44.1 kHz stereo", "wav_16": "WAV, 16 kHz mono"}


def table(header: Sequence[str], rows: Iterable[Sequence[object]], alignment: str = "---:") -> str:
    """Return a Markdown table; all columns but the first are aligned, by default to the right."""
    lines = [header, ["---", *[alignment] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def provenance(report: Mapping[str, Any]) -> str:
    """Return the command, the machine and the versions of a report as a sentence."""
    machine = report["machine"]
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    features = ", ".join(machine["features"])
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return (
        f"`{report['command']}` on {cores} of {machine['cpu']} ({features}), with a load of "
        f"{machine['load_before']} before the start; {versions}."
    )


def end_to_end(report: Mapping[str, Any]) -> str:
    """Return the clips per second of the recipe, the pipeline and its parts, and their ratios."""
    text = (
        f"Clips of 10 s per second ({report['clips']} clips, without start-up; medians, except one run each "
        "with 2 and 4 processes). The recipe processes one file after the other: resampy, float64 log-mel in "
        "NumPy, TensorFlow with one batch per file, its model loaded once. The lower bound of the time is "
        "decoding on all cores and then the bare model at its best batch size. Ratios are medians over "
        "rounds; the parts of a round run one after the other."
    )
    columns = {
        "recipe": "recipe",
        "pipeline_float32": "pipeline, float32",
        "pipeline_bfloat16": "pipeline, bfloat16",
        "pipeline_float32_2_workers": "2 processes",
        "pipeline_float32_4_workers": "4 processes",
        "model_float32": "bare model, float32",
        "model_bfloat16": "bare model, bfloat16",
        "decoding_all_cores": "decoding alone",
    }
    rates = {form: result["clips_per_s"] for form, result in report["forms"].items()}
    forms = [FORMS[form] for form in rates]
    speeds = ([name, *(rates[form][key] for form in rates)] for key, name in columns.items())
    names = {
        "over_recipe": "speed relative to the recipe",
        "over_bare_model": "speed relative to the bare model",
        "time_over_floors": "time relative to its lower bound",
    }
    ratios = (
        [f"{precision}: {name}", *(form["ratios"][f"{precision}_{key}"] for form in report["forms"].values())]
        for precision in ("float32", "bfloat16")
        for key, name in names.items()
    )
    return "\n\n".join([text, table(["", *forms], speeds), table(["ratio", *forms], ratios)])


def front_end(report: Mapping[str, Any]) -> str:
    """Return the tables of resampling and log-mel."""
    columns = {
        "resampy_ms": "resampy, ms",
        "ours_ms": "ours, ms",
        "soxr_ms": "soxr HQ, ms",
        "resampy_over_ours": "resampy / ours",
        "ours_over_soxr": "ours / soxr",
        "max_difference": "difference",
    }
    rates = (
        [f"{int(rate_hz):,} Hz", *(row[key] for key in columns)]
        for rate_hz, row in report["resampling"].items()
    )
    ratios = (
        [name.replace("_", " ").replace("resampling apart", "without resampling"), value]
        for name, value in report["log_mel"]["reference_over_ours"].items()
    )
    return "\n\n".join(
        [
            "On one core. The difference is to `resampy.resample` in float64, for full-scale noise.",
            table(["10 s to 16 kHz", *columns.values()], rates),
            table(["10 s, relative to the reference's float64 in NumPy", "times as fast"], ratios),
        ]
    )


def runners(report: Mapping[str, Any]) -> str:
    """Return the table of docs/runners.md: time and peak memory of each local runner."""
    sizes = next(iter(report["runners"].values()))
    kinds = {"wall_s": "s", "peak_mb": "peak, MB"}
    header = [f"{int(size):,}: {unit}" for size in sizes for unit in kinds.values()]
    rows = (
        [f"`{name}`", *(row[size][kind] for size in sizes for kind in kinds)]
        for name, row in report["runners"].items()
    )
    return table(["runner, clips", *header], rows)


def plot(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write a picture of the clips per second and of the speed of resampling."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"  # the same results give the same bytes
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    bars = {
        "recipe": "per-file recipe",
        "pipeline_float32": "pipeline, float32",
        "pipeline_bfloat16": "pipeline, bfloat16",
    }
    forms = results["end_to_end"]["forms"]
    for number, (key, name) in enumerate(bars.items()):
        positions = [form + 0.27 * (number - 1) for form in range(len(forms))]
        rates = [result["clips_per_s"][key] for result in forms.values()]
        left.bar_label(left.barh(positions, rates, 0.25, label=name), fmt="%.0f", padding=2)
    left.set_yticks(range(len(forms)), [FORMS[form] for form in forms])
    left.invert_yaxis()
    left.set_xlabel("clips of 10 s per second")
    left.legend(frameon=False)
    resampling = results["front_end"]["resampling"]
    speeds = [row["resampy_over_ours"] for row in resampling.values()]
    right.bar_label(right.barh(list(resampling), speeds, color="tab:green"), fmt="%.0f", padding=2)
    right.invert_yaxis()
    right.set_xlabel("times resampy's speed, one core, Hz to 16 kHz")
    figure.savefig(path, metadata={"Date": None})


def read_results() -> dict[str, dict[str, Any]]:
    """Return all reports by name."""
    return {path.stem: read_result(path.stem) for path in sorted(RESULTS.glob("*.json"))}


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page in Markdown."""
    parts = [
        "# Benchmarks",
        "`python -m benchmarks` runs all of them and writes this page; `python -m benchmarks NAME ...` runs "
        "some. The machines are shared and noisy, so compare ratios, whose parts are measured side by side. "
        "[Performance](performance.md) explains the settings, [Scale](scale.md) computes hours and prices of "
        "large corpora, and the folder `benchmarks/results` has every number.",
        "![Clips per second, and the speed of resampling relative to resampy](benchmarks.svg)",
    ]
    for section, title in ((end_to_end, "End to end"), (front_end, "Resampling and log-mel")):
        result = results[section.__name__]
        parts += [f"## {title}", section(result), provenance(result)]
    return "\n\n".join(parts) + "\n"


def write_page() -> None:
    """Write the page and its plot from the committed results."""
    results = read_results()
    plot(results, DOCS / "benchmarks.svg")
    (DOCS / "benchmarks.md").write_text(page(results))


if __name__ == "__main__":
    write_page()
