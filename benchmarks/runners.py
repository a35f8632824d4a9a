"""What many clips take on each local runner: python -m benchmarks.runners [--clips=10000]

The graph and the clips of benchmarks/scale.py, with its stand-in for the model, so that the pipeline and the
runner are all that is measured. Each run is a process of its own; its peak is the sum of its own and of those
of all processes that it starts: decoders, workers, Prism, Java. One clip is what starting takes. Installs
Prism and Beam's job server for Flink as the tests do. Prints JSON, and writes it to results/runners.json.
Linux only.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks import machine, scale

sys.path.append(str(Path(__file__).parents[1] / "tests" / "integration"))

import install  # of the tests, which pin the versions


def all_flags() -> dict[str, list[str]]:
    """Runner -> Beam's flags."""
    flink = f"--flink_job_server_jar={install.flink_job_server()}"
    return {
        "FnApiRunner": ["--runner=FnApiRunner"],
        "FnApiRunner, multi_processing, 2 workers": [
            "--runner=FnApiRunner",
            "--direct_running_mode=multi_processing",
            "--direct_num_workers=2",
        ],
        "PrismRunner": ["--runner=PrismRunner", f"--prism_location={install.prism()}"],
        "FlinkRunner, [local]": ["--runner=FlinkRunner", "--flink_master=[local]", flink],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=10_000)
    num_clips = parser.parse_args().clips
    report = {"command": f"python -m benchmarks.runners --clips={num_clips}", "clips": num_clips}
    report |= machine.describe("apache-beam", "numpy")
    rows = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, size in (("one", 1), ("many", num_clips)):
            scale.make_files(folder / name, size)
        for name, flags in all_flags().items():
            one = scale.measure_run(f"{folder}/one/*", folder / "features", flags)
            many = scale.measure_run(f"{folder}/many/*", folder / "features", flags)
            rows[name] = {"one_clip_s": round(one["wall_s"], 1)}
            rows[name] |= {"wall_s": round(many["wall_s"], 1), "peak_mb": round(many["peak_mb"])}
    machine.write("runners", report | {"runners": rows})


if __name__ == "__main__":
    main()
