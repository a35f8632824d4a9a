"""What many clips take on each local runner: python -m benchmarks.runners [--clips 10000 100000]

The graph and the clips of benchmarks/scale.py, with its stand-in for the model, so that the pipeline and the
runner are all that is measured. Each run is a process of its own; its peak is the sum of its own and of those
of all processes that it starts: decoders, workers, Prism, Java, whose heap is 0.5 GB at most. One clip is
what starting takes. Installs Prism and Beam's job server for Flink as the tests do. Prints JSON, and
writes it to results/runners.json. Linux only.
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
        "FlinkRunner, [local]": [
            "--runner=FlinkRunner",
            "--flink_master=[local]",
            flink,
            "--job_server_jvm_properties=-Xmx512m",
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000])
    sizes = [1, *parser.parse_args().clips]
    command = " ".join(["python -m benchmarks.runners --clips", *map(str, sizes[1:])])
    report = {"command": command, **machine.describe("apache-beam", "numpy")}
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for size in sizes:
            scale.make_files(folder / str(size), size)
        for name, flags in all_flags().items():
            rows[name] = {}
            for size in sizes:
                run = scale.measure_run(f"{folder}/{size}/*", folder / "features", flags)
                rows[name][str(size)] = {"wall_s": round(run["wall_s"], 1), "peak_mb": round(run["peak_mb"])}
    machine.write("runners", report | {"runners": rows})


if __name__ == "__main__":
    main()
