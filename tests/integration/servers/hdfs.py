"""hdfs:// with Hadoop: a NameNode and a DataNode from its jars on Maven Central."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import hdfs
import install

from servers import HOST, Server, free_ports, running

_FOLDER = "/corpus"
_SERVERS = "org.apache.hadoop.hdfs.server"
_LOGGING = """\
log4j.rootLogger=WARN,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.SimpleLayout
"""


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Formats and runs the filesystem.

    Args:
      folder: folder for its configuration, data and logs.
    """
    jars = install.hadoop()
    name_rpc, name_http, *data_ports = free_ports(5)
    _configure(folder, name_rpc, name_http, data_ports)
    # Hadoop's JAXB defines classes with a method that Java has hidden since version 16.
    jvm = [install.java(), "-Xmx256m", "--add-opens=java.base/java.lang=ALL-UNNAMED"]
    jvm += ["-cp", f"{folder}:{jars}/*"]
    name_node, data_node = f"{_SERVERS}.namenode.NameNode", f"{_SERVERS}.datanode.DataNode"
    client = hdfs.InsecureClient(f"http://{HOST}:{name_http}", user="test")

    def put(name: str, data: bytes) -> None:
        client.write(f"{_FOLDER}/{name}", data=data, overwrite=True)

    def names(folder: str) -> list[str]:
        path = f"{_FOLDER}/{folder}"
        if client.status(path, strict=False) is None:
            return []
        return [
            f"{parent}/{name}".removeprefix(f"{path}/")
            for parent, _, found in client.walk(path)
            for name in found
        ]

    def read(name: str) -> bytes:
        with client.read(f"{_FOLDER}/{name}") as reader:
            return reader.read()

    install.call([*jvm, name_node, "-format", "-nonInteractive"])
    with (
        running([*jvm, name_node], folder / "name.log", lambda: client.status("/")),
        running([*jvm, data_node], folder / "data.log", lambda: put("ready", b"ready")),
    ):
        flags = [f"--hdfs_host={HOST}", f"--hdfs_port={name_http}", "--hdfs_user=test"]
        yield Server(f"hdfs:/{_FOLDER}", "hdfs://no-such-folder/audio", flags, {}, put, names, read)


def _configure(folder: Path, name_rpc: int, name_http: int, data_ports: list[int]) -> None:
    data, data_http, data_ipc = data_ports
    settings = {
        "fs.defaultFS": f"hdfs://{HOST}:{name_rpc}",
        "hadoop.tmp.dir": folder / "tmp",
        "dfs.namenode.name.dir": f"file://{folder}/name",
        "dfs.datanode.data.dir": f"file://{folder}/data",
        "dfs.namenode.http-address": f"{HOST}:{name_http}",
        "dfs.datanode.address": f"{HOST}:{data}",
        "dfs.datanode.http.address": f"{HOST}:{data_http}",
        "dfs.datanode.ipc.address": f"{HOST}:{data_ipc}",
        "dfs.datanode.hostname": "localhost",
        "dfs.replication": 1,
        "dfs.permissions.enabled": "false",
    }
    properties = "".join(
        f"<property><name>{name}</name><value>{escape(str(value))}</value></property>"
        for name, value in settings.items()
    )
    for name in ("core-site.xml", "hdfs-site.xml"):
        (folder / name).write_text(f"<configuration>{properties}</configuration>")
    (folder / "log4j.properties").write_text(_LOGGING)
    for name in ("hdfs", "datanode"):  # the servers need these folders of web pages, which the jars lack
        (folder / "webapps" / name).mkdir(parents=True)
