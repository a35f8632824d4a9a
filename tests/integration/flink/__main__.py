"""python tests/integration/flink: runs the Flink cluster of `configs/flink.yaml` until Ctrl-C."""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import Event

sys.path.append(str(Path(__file__).resolve().parents[1]))

import install

from flink import Cluster

with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt), Cluster(Path(folder)) as cluster:
    print(f"Flink is at {cluster.url}, its logs are in {folder}. In another shell, with options of your own:")
    jar = install.flink_job_server()
    print(f"python -m pipeline.run --config=configs/flink.yaml --flink_job_server_jar={jar}")
    Event().wait()
