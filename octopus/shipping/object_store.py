"""An object store that speaks S3's protocol: files go there whole, large ones in parts, from where it was left. Blocking."""

from __future__ import annotations

import base64
import hashlib
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from octopus.core.errors import ShippingUnavailable, printable
from octopus.shipping.position_file import Resumable, StateFile

MAX_PART = 8 << 20
"""Bytes of a part; a file up to that size goes whole. S3 wants at least 5 MiB of all but the last, and takes 10,000 parts."""
_GONE = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}


class Stopped(ShippingUnavailable):
    """We are to stop; what was shipped of the file is remembered."""


class ObjectStore:
    """One bucket. ``endpoint`` "" is Amazon's; ``state`` remembers the upload that is under way.

    Each object carries the file's SHA-256 as metadata (``sha256``). All calls raise ShippingUnavailable, OSError.
    """

    def __init__(
        self,
        state: StateFile,
        *,
        bucket: str,
        access_key: str,
        secret_key: str,
        endpoint: str = "",
        region: str = "us-east-1",
        ca_file: str = "",
        path_style: bool = True,
        part_size: int = MAX_PART,
        timeout: float = 30.0,
    ) -> None:
        self.name = f"{endpoint or 's3:'}/{bucket}"
        self._bucket = bucket
        self._state = state
        self._part_size = part_size
        self._client: Any = boto3.session.Session().client(
            "s3",
            endpoint_url=endpoint or None,
            region_name=region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=ca_file or None,
            config=Config(
                connect_timeout=timeout,
                read_timeout=timeout,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path" if path_style else "virtual"},
                # Stores other than Amazon's know nothing of its newer checksums; each request carries an MD5.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def probe(self) -> None:
        """Return when the bucket is there and ours to use."""
        self._call("head_bucket")

    def holds(self, key: str, sha256: str, size: int) -> bool:
        """Tell whether the object is there, with that content."""
        try:
            found = self._call("head_object", Key=key)
        except _Missing:
            return False
        metadata = {name.lower(): value for name, value in found["Metadata"].items()}
        return bool(found["ContentLength"] == size and metadata.get("sha256") == sha256)

    def put(self, key: str, path: Path, sha256: str, stopping: threading.Event) -> None:
        """Return once the file is there, stop after a part when told to. Raise Stopped too."""
        with path.open("rb") as file:
            if path.stat().st_size <= self._part_size:
                body = file.read()
                self._call("put_object", Key=key, Body=body, ContentMD5=_md5(body)[0], Metadata={"sha256": sha256})
            else:
                self._put_parts(key, file, sha256, stopping)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _put_parts(self, key: str, file: BinaryIO, sha256: str, stopping: threading.Event) -> None:
        upload, there = self._begun(key, sha256)
        parts: list[dict[str, Any]] = []
        while body := file.read(self._part_size):
            number = len(parts) + 1
            md5, tag = _md5(body)
            if there.get(number) != tag:
                if stopping.is_set():
                    raise Stopped(f"{self.name}: stopped at part {number} of {key}")
                # The store's own tag: by a key of KMS it encrypts, and then that is no MD5.
                tag = self._call("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=body, ContentMD5=md5).get("ETag", tag)
            parts.append({"PartNumber": number, "ETag": tag})
        try:
            self._call("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        finally:
            # Whatever it says: next time it is looked for, and begun anew where it is not there.
            self._state.clear()

    def _begun(self, key: str, sha256: str) -> tuple[str, dict[int, str]]:
        """Return the upload and the parts the store holds of it by their tags: one that was left, or a new one."""
        known = self._state.resumable()
        if (known.key, known.sha256, known.part_size) == (key, sha256, self._part_size):
            try:
                return known.upload, self._parts(key, known.upload)
            except _Missing:
                self._state.clear()
        elif known.upload:
            self._abort(known)
        upload = self._call("create_multipart_upload", Key=key, Metadata={"sha256": sha256})["UploadId"]
        self._state.save(Resumable(key=key, sha256=sha256, upload=upload, part_size=self._part_size))
        return upload, {}

    def _parts(self, key: str, upload: str) -> dict[int, str]:
        parts: dict[int, str] = {}
        answer: dict[str, Any] = {"IsTruncated": True, "NextPartNumberMarker": 0}
        while answer.get("IsTruncated"):
            answer = self._call("list_parts", Key=key, UploadId=upload, PartNumberMarker=answer["NextPartNumberMarker"])
            parts |= {one["PartNumber"]: one["ETag"] for one in answer.get("Parts", [])}
        return parts

    def _abort(self, known: Resumable) -> None:
        with suppress(_Missing):
            self._call("abort_multipart_upload", Key=known.key, UploadId=known.upload)
        self._state.clear()

    def _call(self, name: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, name)(Bucket=self._bucket, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            kind = _Missing if code in _GONE else ShippingUnavailable
            raise kind(f"{self.name}: {name}: {printable(str(error))}") from error
        except (BotoCoreError, ValueError) as error:
            raise ShippingUnavailable(f"{self.name}: {name}: {printable(str(error))}") from error


class _Missing(ShippingUnavailable):
    """The store has no such thing."""


def _md5(body: bytes) -> tuple[str, str]:
    """Return the MD5 as a request holds it, and as a store answers it."""
    digest = hashlib.md5(body, usedforsecurity=False)
    return base64.b64encode(digest.digest()).decode(), f'"{digest.hexdigest()}"'
