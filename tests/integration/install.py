"""Installs the servers and engines of the integration tests: python tests/integration/install.py

Versions are pinned, and downloads are verified. Everything is in the user's cache, and is downloaded or built
once; a test installs the parts that it needs and that are missing. This module needs only Python's standard
library, so that it can run before or during the installation of the environment. It needs Java, Maven and Go.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

_PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
_BOOT = "github.com/apache/beam/sdks/v2/python/container@v2.77.0"  # as docker/Dockerfile has it
_FAKE_GCS_SERVER = "github.com/fsouza/fake-gcs-server@v1.56.1"
_HERE = Path(__file__).parent
_FLINK_JOB_SERVER_SHA256 = "d48aa836447648803693560de9fa84be15fa7f9c408f3ee20b6cd6d4da4f16f6"
_FLINK_CLUSTER_SHA256 = "80442b8eb7b0a7cf69cd5e5ff10bef5b5b998602085c06c49ad712b83cf385ed"
_HADOOP_SHA256 = "39874601612b2e4981e85fa5912f6748237e2c0d86a18aeee227b7d314323d41"
_MAVEN_DEPENDENCY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
_MANIFEST_LINE = 70


def flink_job_server() -> Path:
    """Returns a jar that runs Beam's job server for Flink; it refers to other jars."""
    jars = _maven_jars(_HERE / "flink" / "job_server.xml", _FLINK_JOB_SERVER_SHA256)
    return _runnable_jar(jars, "org.apache.beam.runners.flink.FlinkJobServerDriver")


def flink_cluster() -> Path:
    """Returns the folder with the jars of a JobManager and a TaskManager."""
    return _maven_jars(_HERE / "flink" / "cluster.xml", _FLINK_CLUSTER_SHA256)


def hadoop() -> Path:
    """Returns the folder with the jars of a NameNode and a DataNode."""
    return _maven_jars(_HERE / "servers" / "hadoop.xml", _HADOOP_SHA256)


def prism() -> Path:
    """Builds Prism from its Go module, which Go verifies with its checksum database; returns its path."""
    return _go_program(_PRISM)


def boot() -> Path:
    """Beam's program that starts workers in a container, built in the same way."""
    return _go_program(_BOOT)


def fake_gcs_server() -> Path:
    """Builds fake-gcs-server in the same way; returns its path."""
    return _go_program(_FAKE_GCS_SERVER)


def java() -> str:
    """Returns the path of Java."""
    return _program("java", "install a JDK, 11 or 17")


def call(command: Sequence[str], **environment: str) -> None:
    """Runs a command to its end; raises RuntimeError with its output if it fails."""
    result = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit status {result.returncode}\n{result.stdout[-4000:]}")


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    """Returns a folder in the user's cache, after creating it atomically if it does not exist.

    Only one process creates a folder at a time, since Maven's repository does not support several.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audioset-beam-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / name
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            temporary = cache / f"{name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
            temporary.mkdir()
            make(temporary)
            temporary.rename(folder)
    return folder


def _program(name: str, remedy: str) -> str:
    """Returns the path of a program; raises RuntimeError with the remedy if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"no program {name!r} on PATH; {remedy}")
    return path


def _go_program(module: str) -> Path:
    path, _, version = module.partition("@")
    name = path.rpartition("/")[2]

    def build(folder: Path) -> None:
        call([_program("go", "install Go, 1.21 or later"), "install", module], GOBIN=str(folder))

    return _cached(f"{name}@{version}", build) / name


def _maven_jars(pom: Path, sha256: str) -> Path:
    """Returns a folder with the jars of a pom.xml and their dependencies, verified after the download.

    Args:
      pom: the pom.xml; its file name is the name of the folder.
      sha256: SHA-256 in hex of the lines that `sha256sum *.jar` prints, sorted by name.

    Raises:
      RuntimeError: Maven is not installed, a jar cannot be downloaded, or a jar has another checksum.
    """

    def fetch(folder: Path) -> None:
        mvn = _program("mvn", "install Apache Maven, 3.6 or later")
        target = [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
        call([mvn, "-q", "-B", "-f", str(pom), f"{_MAVEN_DEPENDENCY}:copy-dependencies", *target])
        jars = sorted(folder.glob("*.jar"))
        sums = "".join(f"{hashlib.sha256(jar.read_bytes()).hexdigest()}  {jar.name}\n" for jar in jars)
        found = hashlib.sha256(sums.encode()).hexdigest()
        if found != sha256:
            raise RuntimeError(f"{pom.name}: {len(jars)} jars have the SHA-256 {found}, and not {sha256}")

    return _cached(f"{pom.stem}-{sha256[:12]}", fetch)


def _runnable_jar(jars: Path, main_class: str) -> Path:
    """Returns a jar for `java -jar` that contains only the paths of a folder of jars and the main class."""

    def write(folder: Path) -> None:
        names = " ".join(path.as_uri() for path in sorted(jars.glob("*.jar")))
        entry = f"Class-Path: {names}"
        lines = [entry[start : start + _MANIFEST_LINE] for start in range(0, len(entry), _MANIFEST_LINE)]
        manifest = f"Manifest-Version: 1.0\nMain-Class: {main_class}\n" + "\n ".join(lines) + "\n"
        with zipfile.ZipFile(folder / "run.jar", "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", manifest)

    return _cached(f"{jars.name}-run", write) / "run.jar"


if __name__ == "__main__":
    try:
        for part in (fake_gcs_server, prism, boot, flink_cluster, flink_job_server, hadoop):
            print(part())
    except RuntimeError as error:
        sys.exit(f"install: error: {error}")
