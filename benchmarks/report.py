"""Updates the tables of docs/benchmarks.md and docs/runners.md, and docs/benchmarks.svg, from the results."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT, read_result

DOCS = ROOT / "docs"
PAGES = (DOCS / "benchmarks.md", DOCS / "runners.md")
FORMS = {"wav_44": "WAV, 44.1 kHz stereo", "flac_44": "FLAC, 44.1 kHz stereo", "wav_16": "WAV, 16 kHz mono"}
Report = Mapping[str, Any]

# Key in the report -> name in the table.
RATES = {
    "recipe": "recipe",
    "pipeline_float32": "pipeline, float32",
    "pipeline_bfloat16": "pipeline, bfloat16",
    "pipeline_float32_2_workers": "2 processes",
    "pipeline_float32_4_workers": "4 processes",
    "model_float32": "bare model, float32",
    "model_bfloat16": "bare model, bfloat16",
    "decoding_all_cores": "decoding alone",
}
RATIOS = {
    "over_recipe": "speed relative to the recipe",
    "over_bare_model": "speed relative to the bare model",
    "time_over_floors": "time relative to its lower bound",
}
RESAMPLING = {
    "resampy_ms": "resampy, ms",
    "ours_ms": "ours, ms",
    "soxr_ms": "soxr HQ, ms",
    "resampy_over_ours": "resampy / ours",
    "ours_over_soxr": "ours / soxr",
    "max_difference": "difference",
}


def table(header: Sequence[str], rows: Iterable[Sequence[object]], alignment: str = "---:") -> str:
    """Return a Markdown table; all columns but the first are aligned, by default to the right."""
    lines = [header, ["---", *[alignment] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def provenance(report: Report) -> str:
    """Return the command, the machine and the versions of a report as a sentence."""
    machine = report["machine"]
    cores = "1 core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    features = ", ".join(machine["features"])
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    return (
        f"`{report['command']}` on {cores} of {machine['cpu']} ({features}), with a load of "
        f"{machine['load_before']} before the start; {versions}."
    )


def blocks(results: Mapping[str, Report]) -> dict[str, str]:
    """Return the parts of the pages that follow from the results, by the name in the comment before them."""
    forms = results["end_to_end"]["forms"]
    names = [FORMS[form] for form in forms]
    rates = ([name, *(form["clips_per_s"][key] for form in forms.values())] for key, name in RATES.items())
    ratios = (
        [f"{precision}: {name}", *(form["ratios"][f"{precision}_{key}"] for form in forms.values())]
        for precision in ("float32", "bfloat16")
        for key, name in RATIOS.items()
    )
    resampling = (
        [f"{int(rate_hz):,} Hz", *(row[key] for key in RESAMPLING)]
        for rate_hz, row in results["front_end"]["resampling"].items()
    )
    log_mel = (
        [name.replace("_", " ").replace("resampling apart", "without resampling"), value]
        for name, value in results["front_end"]["log_mel"]["reference_over_ours"].items()
    )
    runners = results["runners"]["runners"]
    sizes, kinds = next(iter(runners.values())), {"wall_s": "s", "peak_mb": "peak, MB"}
    runner_rows = (
        [f"`{name}`", *(row[size][kind] for size in sizes for kind in kinds)] for name, row in runners.items()
    )
    runner_columns = [f"{int(size):,}: {unit}" for size in sizes for unit in kinds.values()]
    start_up = ([name, command["seconds"]] for name, command in results["start_up"]["commands"].items())
    imports = results["start_up"]["imports"].items()
    return {
        "start_up": table(["command", "s"], start_up),
        "imports": table(["imported package", "s"], imports),
        "rates": table(["", *names], rates),
        "ratios": table(["ratio", *names], ratios),
        "resampling": table(["10 s to 16 kHz", *RESAMPLING.values()], resampling),
        "log_mel": table(["10 s, relative to the reference's float64 in NumPy", "times as fast"], log_mel),
        "runners": table(["runner, clips", *runner_columns], runner_rows),
        **{f"how_{name}": provenance(results[name]) for name in ("start_up", "end_to_end", "front_end")},
    }


def updated(page: str, results: Mapping[str, Report]) -> str:
    """Return a page in which the table or paragraph after each comment `<!-- NAME -->` is up to date."""
    new = blocks(results)
    block = re.compile(r"(<!-- (\w+) -->\n\n).*?(?=\n\n|\n\Z)", re.DOTALL)
    return block.sub(lambda match: match[1] + new[match[2]], page)


def plot(results: Mapping[str, Report], path: Path) -> None:
    """Write a picture of the clips per second and of the speed of resampling."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "benchmarks"  # the same results give the same bytes
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    forms = results["end_to_end"]["forms"]
    for number, key in enumerate(("recipe", "pipeline_float32", "pipeline_bfloat16")):
        positions = [form + 0.27 * (number - 1) for form in range(len(forms))]
        rates = [result["clips_per_s"][key] for result in forms.values()]
        left.bar_label(left.barh(positions, rates, 0.25, label=RATES[key]), fmt="%.0f", padding=2)
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


def write_pages() -> None:
    """Update the pages and the plot from the committed results."""
    results = read_results()
    plot(results, DOCS / "benchmarks.svg")
    for path in PAGES:
        path.write_text(updated(path.read_text(), results))


if __name__ == "__main__":
    write_pages()
