"""Time per kernel on the accelerator while a function runs, from JAX's profiler."""

import collections
import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SHOWN_KERNELS, _SHOWN_CHARACTERS = 12, 100


def kernel_times(call: Callable[[], object]) -> dict[str, Any] | None:
    """Profile one call of a compiled function that waits for its own results.

    Returns:
      `wall_ms` from the start of the first kernel to the end of the last one; `busy_ms`, the sum of all
      kernels and copies (more than `wall_ms` if copies overlap with kernels); `kernels`, [name, calls, ms]
      of those that take longest. None if the profiler records no accelerator, for example on a CPU.
    """
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        traces = list(Path(folder).rglob("*.trace.json.gz"))
        events = json.loads(gzip.decompress(traces[0].read_bytes()))["traceEvents"] if traces else []
    devices, streams = set(), set()
    for event in events:
        match event:
            case {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}} if (
                "/device:" in name
            ):
                devices.add(pid)
            # Other lines of the trace repeat the kernels by module and by operation.
            case {"ph": "M", "name": "thread_name", "args": {"name": name}} if name.startswith("Stream"):
                streams.add((event["pid"], event["tid"]))
    total_us, calls = collections.Counter[str](), collections.Counter[str]()
    starts_us, ends_us = [], []
    for event in events:
        if event.get("ph") == "X" and event["pid"] in devices and (event["pid"], event["tid"]) in streams:
            total_us[event["name"]] += event["dur"]
            calls[event["name"]] += 1
            starts_us.append(event["ts"])
            ends_us.append(event["ts"] + event["dur"])
    if not calls:
        return None
    return {
        "wall_ms": round((max(ends_us) - min(starts_us)) / 1e3, 3),
        "busy_ms": round(total_us.total() / 1e3, 3),
        "kernels": [
            [name[:_SHOWN_CHARACTERS], calls[name], round(us / 1e3, 3)]
            for name, us in total_us.most_common(_SHOWN_KERNELS)
        ],
    }
