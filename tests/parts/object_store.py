"""A private object store that speaks S3's protocol: OpenStack Swift, as Debian packages it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from octopus.demo.engines import free_port
from octopus.demo.process import Daemon, new_directory
from tests.parts.tools import missing, need

ACCESS_KEY = "test:tester"
SECRET_KEY = "store-secret-of-the-tests"
BUCKET = "octopus-audit"


class Swift:
    """A store with one empty bucket at ``url``; ``client`` is boto3's, for looking at what it holds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        config = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=10,
            read_timeout=30,
        )
        self.client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )

    def objects(self, bucket: str = BUCKET) -> dict[str, bytes]:
        """Return all objects by their keys."""
        keys = [one["Key"] for one in self.client.list_objects_v2(Bucket=bucket).get("Contents", [])]
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@pytest.fixture(scope="session")
def swift_server() -> Iterator[Swift]:
    """Give a store that is up for the whole run."""
    python = need("/usr/bin/python3", "python3-swift")
    if subprocess.run([python, "-I", "-c", "import swift.proxy"], capture_output=True, check=False).returncode:
        missing("no Swift: install Debian's package python3-swift")
    directory, port = new_directory("swift"), free_port("127.0.0.1")
    server = Swift(port)
    script = Path(__file__).with_name("swift.py")
    command = ["/usr/bin/env", f"SWIFT_SECRET={SECRET_KEY}", python, "-I", str(script), str(directory / "data"), str(port)]
    (directory / "data").mkdir()
    try:
        with Daemon(directory, command, lambda: _answers(port), start_timeout=90):
            yield server
    finally:
        server.client.close()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def swift(swift_server: Swift) -> Swift:
    """Give the store with one empty bucket."""
    known = {one["Name"] for one in swift_server.client.list_buckets()["Buckets"]}
    if BUCKET in known:
        for key in swift_server.objects():
            swift_server.client.delete_object(Bucket=BUCKET, Key=key)
    else:
        swift_server.client.create_bucket(Bucket=BUCKET)
    return swift_server


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False
