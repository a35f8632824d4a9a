"""A Flink cluster on this machine, with a pool of Beam's Python workers for each TaskManager. Linux only."""

import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import requests
import yaml
from install import flink_cluster, java
from runs import kill
from servers import HOST, free_ports, wait_until_ready

ROOT = Path(__file__).resolve().parents[3]
CONFIG = ROOT / "configs" / "flink.yaml"
TASK_MANAGERS = 2
SLOTS = 2  # per TaskManager

_ENTRYPOINTS = "org.apache.flink.runtime"
# The same packages as in Flink's start scripts for Java 17.
_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")
_OPENS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
)
# Restarts fail until Flink notices that a TaskManager is lost, so the attempts must continue for longer.
_FLINK = {
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 15,
    "restart-strategy.fixed-delay.delay": "2 s",
    "heartbeat.interval": 1_000,
    "heartbeat.timeout": 10_000,
    "taskmanager.load-balance.mode": "SLOTS",  # so that both TaskManagers get work
}
_TASK_MANAGER = {
    "taskmanager.numberOfTaskSlots": SLOTS,
    "taskmanager.cpu.cores": 1.0,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.framework.off-heap.size": "64m",
    "taskmanager.memory.task.off-heap.size": "64m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.network.min": "256m",
    "taskmanager.memory.network.max": "256m",
    # The default of 512 for each of the job's sixty shuffles would take gigabytes.
    "taskmanager.network.sort-shuffle.min-buffers": 16,
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
}


@dataclass(frozen=True)
class Addresses:
    """The ports of the cluster in `configs/flink.yaml`.

    Attributes:
      rest_port: port of the JobManager.
      workers_port: port of the worker pool on the host of each TaskManager.
    """

    rest_port: int
    workers_port: int

    @classmethod
    def of_config(cls) -> "Addresses":
        config = yaml.safe_load(CONFIG.read_text())
        rest, workers = (config[key].rpartition(":")[2] for key in ("flink_master", "environment_config"))
        return cls(int(rest), int(workers))


@dataclass(frozen=True)
class _TaskManager:
    """A running TaskManager: the process id of its worker pool, and the stack that ends both."""

    workers: int
    stack: ExitStack


class Cluster:
    """A JobManager, and TaskManagers that can be killed and started again.

    Each TaskManager uses its own loopback address as `localhost`: 127.0.0.2 and so on, as if it were on a
    separate machine. Beam has one address for all worker pools, at which each TaskManager finds its own pool.

    Args:
      folder: folder for configuration, logs and temporary files.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._addresses = Addresses.of_config()
        (self._rpc_port,) = free_ports(1)
        self._stack = ExitStack()
        self._task_managers: deque[_TaskManager] = deque()
        self._started = 0
        self.url = f"http://{HOST}:{self._addresses.rest_port}"

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            self._start_job_manager(stack)
            stack.callback(self._kill_task_managers)
            for _ in range(TASK_MANAGERS):
                self.start_task_manager()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, path: str) -> dict:
        """Returns the JobManager's answer to a REST request."""
        response = requests.get(f"{self.url}/{path}", timeout=10)
        response.raise_for_status()
        return response.json()

    def last_job(self) -> str:
        """Returns the id of the job that was started last."""
        jobs = self.get("jobs/overview")["jobs"]
        return max(jobs, key=lambda job: job["start-time"])["jid"]

    def is_decoding(self) -> bool:
        """Returns whether workers of the oldest TaskManager decode clips."""
        for process in psutil.Process(self._task_managers[0].workers).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # the process may have ended
                if "transforms.audio.isolated.decoder_process" in " ".join(process.cmdline()):
                    return True
        return False

    def _start_job_manager(self, stack: ExitStack) -> None:
        with suppress(OSError), socket.create_connection((HOST, self._addresses.rest_port), 1):
            raise RuntimeError(f"something listens on port {self._addresses.rest_port} already; stop it")
        settings = {"rest.address": HOST, "rest.bind-address": HOST, "rest.port": self._addresses.rest_port}
        entrypoint = f"{_ENTRYPOINTS}.entrypoint.StandaloneSessionClusterEntrypoint"
        process = stack.enter_context(self._java("job-manager", entrypoint, ["-Xmx512m"], settings))
        wait_until_ready(process, self._log("job-manager"), lambda: self.get("overview"))

    def start_task_manager(self) -> None:
        """Starts a TaskManager with its worker pool, and waits until it is registered at the JobManager."""
        self._started += 1
        name, host = f"task-manager-{self._started}", f"127.0.0.{1 + self._started}"
        (port,) = free_ports(1)
        hosts = self._folder / f"{name}.hosts"
        hosts.write_text(f"{host} localhost\n{HOST} {socket.gethostname()}\n")
        with ExitStack() as stack:
            pool = stack.enter_context(self._worker_pool(f"{name}-workers", port))
            log = self._log(f"{name}-workers")
            wait_until_ready(pool, log, lambda: socket.create_connection((HOST, port), 1).close())
            stack.enter_context(_forwarded((host, self._addresses.workers_port), port))
            options = ["-Xmx512m", "-XX:MaxDirectMemorySize=384m", f"-Djdk.net.hosts.file={hosts}"]
            settings = {**_TASK_MANAGER, "taskmanager.host": HOST, "taskmanager.resource-id": name}
            entrypoint = f"{_ENTRYPOINTS}.taskexecutor.TaskManagerRunner"
            process = stack.enter_context(self._java(name, entrypoint, options, settings))
            wait_until_ready(process, self._log(name), lambda: self._check_known(name))
            self._task_managers.append(_TaskManager(pool.pid, stack.pop_all()))

    def kill_task_manager(self) -> None:
        """Kills the oldest TaskManager and its workers, as if their machine were lost."""
        self._task_managers.popleft().stack.close()

    def _kill_task_managers(self) -> None:
        while self._task_managers:
            self.kill_task_manager()

    def _check_known(self, name: str) -> None:
        if not any(found["id"] == name for found in self.get("taskmanagers")["taskmanagers"]):
            raise RuntimeError(f"the JobManager does not know {name}")

    @contextmanager
    def _java(
        self, name: str, entrypoint: str, options: Sequence[str], settings: Mapping[str, object]
    ) -> Iterator[subprocess.Popen]:
        configuration = self._folder / name
        temporary = configuration / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        addresses = {"jobmanager.rpc.address": HOST, "jobmanager.rpc.port": self._rpc_port}
        all_settings = {**_FLINK, **addresses, "io.tmp.dirs": str(temporary), **settings}
        (configuration / "config.yaml").write_text(yaml.safe_dump(all_settings))
        class_path = f"{flink_cluster()}/*"
        command = [
            java(),
            *options,
            *_OPENS,
            "-cp",
            class_path,
            entrypoint,
            "--configDir",
            str(configuration),
        ]
        with self._running(name, command) as process:
            yield process

    @contextmanager
    def _worker_pool(self, name: str, port: int) -> Iterator[subprocess.Popen]:
        command = [
            sys.executable,
            "-m",
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={port}",
        ]
        # The pool starts workers with the first `python` in PATH.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with self._running(name, command, PATH=path, PYTHONPATH=str(ROOT)) as process:
            yield process

    @contextmanager
    def _running(self, name: str, command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen]:
        """Runs a process, and kills it and its descendants at the end."""
        with self._log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        try:
            yield process
        finally:
            kill(process)

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


@contextmanager
def _forwarded(address: tuple[str, int], port: int) -> Iterator[None]:
    """Forwards connections from an address to a port; the address of a worker pool is not configurable."""
    with socket.create_server(address) as server:
        server.settimeout(None)  # Beam's gcp.auth sets a timeout for all new sockets of a process
        threading.Thread(target=_accept, args=(server, port), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, port: int) -> None:
    with suppress(OSError):  # closed
        while True:
            client, _ = server.accept()
            client.settimeout(None)
            upstream = socket.create_connection((HOST, port), timeout=None)
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
