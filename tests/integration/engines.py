"""What the engines of tests are, fetched and built: pinned versions, checked, in the user's cache."""

import zipfile
from pathlib import Path

from servers import cached, call, maven_jars, program

_PRISM = "github.com/apache/beam/sdks/v2/go/cmd/prism@v2.77.0"
_POMS = Path(__file__).with_name("flink")
_FLINK_JOB_SERVER_SHA256 = "d48aa836447648803693560de9fa84be15fa7f9c408f3ee20b6cd6d4da4f16f6"
_FLINK_CLUSTER_SHA256 = "80442b8eb7b0a7cf69cd5e5ff10bef5b5b998602085c06c49ad712b83cf385ed"
_MANIFEST_LINE = 70


def flink_job_server() -> Path:
    """A jar that runs Beam's job server for Flink, of jars that it names."""
    jars = maven_jars(_POMS / "job_server.xml", _FLINK_JOB_SERVER_SHA256)
    return _runnable_jar(jars, "org.apache.beam.runners.flink.FlinkJobServerDriver")


def flink_cluster() -> Path:
    """The folder of the jars that a JobManager and a TaskManager run on."""
    return maven_jars(_POMS / "cluster.xml", _FLINK_CLUSTER_SHA256)


def prism() -> Path:
    """Prism, built from its Go module, which Go checks against its database of checksums."""

    def build(folder: Path) -> None:
        call([program("go", "install Go, 1.21 or later"), "install", _PRISM], GOBIN=str(folder))

    return cached(_PRISM.rpartition("/")[2], build) / "prism"


def java() -> str:
    """Path of Java."""
    return program("java", "install a JDK, 11 or 17")


def _runnable_jar(jars: Path, main_class: str) -> Path:
    """A jar beside a folder of jars, for `java -jar`: it has their names and a class's, and nothing else."""

    def write(folder: Path) -> None:
        names = " ".join(path.as_uri() for path in sorted(jars.glob("*.jar")))
        entry = f"Class-Path: {names}"
        lines = [entry[start : start + _MANIFEST_LINE] for start in range(0, len(entry), _MANIFEST_LINE)]
        manifest = f"Manifest-Version: 1.0\nMain-Class: {main_class}\n" + "\n ".join(lines) + "\n"
        with zipfile.ZipFile(folder / "run.jar", "w") as jar:
            jar.writestr("META-INF/MANIFEST.MF", manifest)

    return cached(f"{jars.name}-run", write) / "run.jar"
