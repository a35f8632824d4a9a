"""A process of benchmarks/model.py that embeds when told to: a task a line in, what it took a line out."""

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from transforms.vggish.checkpoint import read_weights
from transforms.vggish.model import Embedder, build_vggish


def main(weights: str) -> None:
    models: dict[tuple, Any] = {}
    calls: dict[tuple, Callable] = {}

    def model(precision: str, fused: bool) -> Any:
        if (precision, fused) not in models:
            if fused:
                built = build_vggish(read_weights(weights), precision)
                built.compile(optimizer=None, jit_compile=False)
            else:
                built = Embedder(read_weights(weights), 8, precision)._model
            models[precision, fused] = built
        return models[precision, fused]

    def call(precision: str, way: str, size: int, fused: bool) -> Callable:
        built = model(precision, fused)
        if way == "keras":
            return built.predict_on_batch
        import tensorflow as tf

        signature = [tf.TensorSpec((size, 96, 64), tf.float32)]
        function = tf.function(
            lambda batch: built(batch, training=False), signature, jit_compile=way == "xla"
        )
        return lambda batch: function(batch).numpy()

    for line in sys.stdin:
        task = json.loads(line)
        size = task["size"]
        key = task["precision"], task.get("call", "keras"), size, task.get("fused", False)
        calls[key] = calls.get(key) or call(*key)
        if "examples" in task:
            examples = np.load(task["examples"])
            padded = np.pad(examples, ((0, -len(examples) % size), (0, 0), (0, 0)))
            embeddings = np.concatenate([calls[key](batch) for batch in padded.reshape(-1, size, 96, 64)])
            np.save(task["output"], embeddings[: len(examples)])
            print("{}", flush=True)
            continue
        batch = np.random.default_rng(0).uniform(-4.6, 4.0, (size, 96, 64)).astype(np.float32)
        calls[key](batch)  # another process has had the caches
        repeat = task.get("repeat", -(-task["at_least"] // size))
        started, used = time.perf_counter(), time.process_time()
        for _ in range(repeat):
            calls[key](batch)
        took = {"wall_s": time.perf_counter() - started, "cpu_s": time.process_time() - used}
        memory = psutil.Process().memory_info().rss
        peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        took |= {"examples": repeat * size, "resident_gb": memory / 1e9, "peak_gb": peak / 1e9}
        print(json.dumps(took), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
