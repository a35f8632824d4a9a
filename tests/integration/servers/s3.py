"""s3:// with moto, a fake of Amazon's services."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config

from servers import HOST, Server, free_ports, proxy, running

_BUCKET = "corpus"
_REGION = "us-east-1"


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Runs the server with one bucket.

    Args:
      folder: folder for its log; its objects are in memory.
    """
    (port,) = free_ports(1)
    own_url, faults = f"http://{HOST}:{port}", proxy.Faults()
    client = boto3.client(
        "s3",
        endpoint_url=own_url,
        region_name=_REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )

    def put(name: str, data: bytes) -> None:
        client.put_object(Bucket=_BUCKET, Key=name, Body=data)

    def names(folder: str) -> list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix=f"{folder}/")
        return [item["Key"].removeprefix(f"{folder}/") for page in pages for item in page.get("Contents", ())]

    def read(name: str) -> bytes:
        return client.get_object(Bucket=_BUCKET, Key=name)["Body"].read()

    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with running(command, folder / "s3.log", client.list_buckets), proxy.proxy(port, faults) as url:
        client.create_bucket(Bucket=_BUCKET)
        flags = [
            f"--s3_endpoint_url={url}",
            f"--s3_region_name={_REGION}",
            "--s3_access_key_id=test",
            "--s3_secret_access_key=test",
        ]

        def be_away(pause_s: float) -> None:  # a restart would lose its objects
            faults.is_away = True
            time.sleep(pause_s)
            faults.is_away = False

        yield Server(
            f"s3://{_BUCKET}", "s3://no-such-bucket/audio", flags, {}, put, names, read, faults, be_away
        )
