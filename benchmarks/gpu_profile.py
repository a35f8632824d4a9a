"""Time per kernel on the accelerator while a function runs, from JAX's profiler."""

import collections
import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

_SHOWN_KERNELS = 12
_SHOWN_CHARACTERS = 100


def kernel_times(call: Callable[[], object]) -> dict[str, Any] | None:
    """Profile one call.

    Args:
      call: a compiled function that waits for its own results.

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
    devices, threads = set(), {}
    for event in events:
        if event.get("ph") == "M" and event["name"] == "process_name":
            if "/device:" in event["args"]["name"]:
                devices.add(event["pid"])
        elif event.get("ph") == "M" and event["name"] == "thread_name":
            threads[event["pid"], event["tid"]] = event["args"]["name"]
    # Other lines of the trace repeat the kernels by module and by operation.
    kernels = [
        event
        for event in events
        if event.get("ph") == "X"
        and event["pid"] in devices
        and threads.get((event["pid"], event["tid"]), "").startswith("Stream")
    ]
    if not kernels:
        return None
    total_us, calls = collections.Counter[str](), collections.Counter[str]()
    for event in kernels:
        total_us[event["name"]] += event["dur"]
        calls[event["name"]] += 1
    span_us = max(e["ts"] + e["dur"] for e in kernels) - min(e["ts"] for e in kernels)
    return {
        "wall_ms": round(span_us / 1e3, 3),
        "busy_ms": round(total_us.total() / 1e3, 3),
        "kernels": [
            [name[:_SHOWN_CHARACTERS], calls[name], round(us / 1e3, 3)]
            for name, us in total_us.most_common(_SHOWN_KERNELS)
        ],
    }
