"""A Flink cluster on this machine, with Beam's Python workers beside each TaskManager. Linux only."""

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
SLOTS = 2  # of each

_ENTRYPOINTS = "org.apache.flink.runtime"
# As Flink's own start scripts have them for Java 17.
_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent")
_OPENS = (
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
)
# Until it is known that a TaskManager is lost every try to begin again fails: tries go on for longer.
_FLINK = {
    "restart-strategy.type": "fixed-delay",
    "restart-strategy.fixed-delay.attempts": 15,
    "restart-strategy.fixed-delay.delay": "2 s",
    "heartbeat.interval": 1_000,
    "heartbeat.timeout": 10_000,
    "taskmanager.load-balance.mode": "SLOTS",  # both TaskManagers are to have work
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
    # 512, for each of the job's sixty shuffles, would take gigabytes.
    "taskmanager.network.sort-shuffle.min-buffers": 16,
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "64m",
    "taskmanager.memory.jvm-overhead.max": "64m",
}


@dataclass(frozen=True)
class Addresses:
    """Where `configs/flink.yaml` looks for the cluster.

    Attributes:
      rest_port: of the JobManager.
      workers_port: of the worker pool on each TaskManager's own host.
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
    """One that runs: the process id of its worker pool, and what ends both."""

    workers: int
    stack: ExitStack


class Cluster:
    """A JobManager, and TaskManagers that can be killed and started again.

    To every TaskManager `localhost` is a loopback address of its own, 127.0.0.2 and so on, as if it were on a
    machine of its own: Beam has one address for all worker pools, and each TaskManager finds its own there.

    Args:
      folder: for configuration, logs and temporary files.
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
        """The JobManager's answer to a request of its REST interface."""
        response = requests.get(f"{self.url}/{path}", timeout=10)
        response.raise_for_status()
        return response.json()

    def last_job(self) -> str:
        """The id of the job that was started last."""
        jobs = self.get("jobs/overview")["jobs"]
        return max(jobs, key=lambda job: job["start-time"])["jid"]

    def is_decoding(self) -> bool:
        """Whether workers of the TaskManager that is there the longest decode clips."""
        for process in psutil.Process(self._task_managers[0].workers).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # it may end meanwhile
                if "transforms.audio.isolated.decoder_process" in process.cmdline():
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
        """Starts a TaskManager with its worker pool, and waits until the JobManager knows it."""
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
        """Kills the TaskManager that is there the longest, and its workers, as when their machine is lost."""
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
        # The pool starts workers with the first `python` of the path.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with self._running(name, command, PATH=path, PYTHONPATH=str(ROOT)) as process:
            yield process

    @contextmanager
    def _running(self, name: str, command: Sequence[str], **environment: str) -> Iterator[subprocess.Popen]:
        """Runs a process, and kills it at the end with all that it started."""
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
    """Passes connections to an address on to a port; a worker pool cannot choose its address."""
    with socket.create_server(address) as server:
        server.settimeout(None)  # Beam's gcp.auth sets a minute for all new sockets of a process
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
