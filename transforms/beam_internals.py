"""All uses of Beam's private parts, and the changes of Beam itself, for Beam 2.77.

Each function says what Beam lacks. Check all of them for another version: commands refuse to start with one
(`pipeline/process/start.py`). Two modules that workers do not need import private names themselves:
`pipeline/cli/beam_values.py` and `pipeline/job/dry_run.py`.
"""

import functools
import inspect
import shutil
from collections.abc import Callable, Iterator
from typing import IO, Any

import google.auth
from apache_beam.internal.gcp import auth
from apache_beam.io.aws.clients.s3 import boto3_client
from apache_beam.io.aws.s3filesystem import S3FileSystem
from apache_beam.io.aws.s3io import S3IO, S3Uploader
from apache_beam.io.filesystem import FileMetadata, FileSystem
from apache_beam.io.gcp.gcsfilesystem import GCSFileSystem
from apache_beam.io.gcp.gcsio import GcsIO
from apache_beam.io.hadoopfilesystem import HadoopFileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core
from apache_beam.transforms.environments import SubprocessSDKEnvironment
from apache_beam.typehints import decorators
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.storage import Client
from google.cloud.storage.fileio import BlobReader


def change_worker_command(change: Callable[[str], str]) -> None:
    """Make Beam start this machine's workers by a changed shell command; Beam has no option for it."""
    make = SubprocessSDKEnvironment.from_command_string
    # Beam passes the argument by its name.
    SubprocessSDKEnvironment.from_command_string = lambda command_string: make(change(command_string))


@functools.cache
def cache_construction() -> None:
    """Cache the options and the signatures of functions that Beam parses thousands of times per pipeline.

    Only commands call this, because the cache of signatures never shrinks.
    """
    parse, inspect_function = PipelineOptions.view_as, decorators.get_signature
    views: dict[tuple[int, type], tuple[object, PipelineOptions]] = {}
    signatures: dict[tuple[type, object], inspect.Signature] = {}

    def view_as(options: PipelineOptions, group: type[PipelineOptions]) -> PipelineOptions:
        values = options._all_options  # all views of the same options share it
        key = id(values), group
        if key not in views or views[key][0] is not values:  # another object that has got the same id
            if len(views) > 1000:
                views.clear()
            views[key] = values, parse(options, group)
        return views[key][1]

    def signature(function: Any) -> inspect.Signature:
        try:
            key = type(function), getattr(function, "__func__", function)
            if key not in signatures:
                signatures[key] = inspect_function(function)
            return signatures[key]
        except TypeError:  # it has no hash
            return inspect_function(function)

    PipelineOptions.view_as = view_as
    decorators.get_signature = core.get_signature = signature


@functools.cache
def stop_job_servers() -> None:
    """Let the job servers of Prism, Flink and Spark stop at the end of this process.

    Beam deletes a server's folder before it stops the server. At the end of a command its temporary folder
    is already deleted, so Beam would print a traceback and leave the server running.
    """
    from apache_beam.runners.portability.job_server import SubprocessJobServer  # only commands need it

    def stop(server: SubprocessJobServer) -> None:
        if folder := server._local_temp_root:
            shutil.rmtree(folder, ignore_errors=True)
            server._local_temp_root = None
        server._server.stop()

    SubprocessJobServer.stop = stop


def gcs_client(filesystem: GCSFileSystem) -> Client:
    """Return Google's client with the filesystem's options; Beam has no way to it from the filesystem."""
    return GcsIO(pipeline_options=filesystem._pipeline_options).client


def blob_size(reader: BlobReader) -> int:
    """Return the size of a file on Google Cloud Storage in bytes; Beam has requested it already."""
    return reader._blob.size


def s3_client(filesystem: S3FileSystem) -> Any:
    """Return boto3's client with the filesystem's options; Beam has no way to it from the filesystem."""
    return S3IO(options=filesystem._options).client.client


def complete_empty_upload(file: IO[bytes]) -> None:
    """Complete the upload of an empty file: Beam makes an upload without parts, which S3 refuses."""
    uploader = getattr(getattr(file, "raw", None), "_uploader", None)
    if isinstance(uploader, S3Uploader):
        uploader._write_to_s3(b"")


def hdfs_status(filesystem: HadoopFileSystem, url: str) -> dict[str, Any] | None:
    """Return the status of a path in HDFS; None if it does not exist. Beam's own has no type."""
    return filesystem._hdfs_client.status(filesystem._parse_url(url)[1], strict=False)


def hdfs_list(filesystem: HadoopFileSystem, folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the names in a folder of HDFS and their status; Beam's own listing has no types."""
    return filesystem._hdfs_client.list(filesystem._parse_url(folder)[1], status=True)


def list_objects(filesystem: FileSystem, prefix: str) -> Iterator[FileMetadata]:
    """Return the objects of an object store with a prefix; Beam's public `match` would treat it as a glob."""
    return filesystem._list(prefix)


@functools.cache
def has_google_credentials() -> bool:
    """Return whether this machine has credentials for Google's APIs.

    Without credentials, Beam looks for them five times in each process, with pauses of half a minute in
    total. It then continues anonymously, which suffices for public buckets. This function looks only once.
    """
    try:
        google.auth.default()
    except DefaultCredentialsError:
        with auth._Credentials._credentials_lock:
            auth._Credentials._credentials_init = True
        return False
    return True


_beams_http_error_code = boto3_client.get_http_error_code


def _http_error_code(error: Exception) -> int | None:
    """Return the status of a server's response; None if there was none (Beam raises AttributeError then)."""
    return _beams_http_error_code(error) if getattr(error, "response", None) else None


boto3_client.get_http_error_code = _http_error_code
