"""Recordings and finished files on their way to an object store, against a real one: whole, once, and from where it was left."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from octopus.control.audit_file import finished_files
from octopus.control.audit_log import FileAuditLog
from octopus.control.audit_verify import verify
from octopus.core.errors import ShippingUnavailable
from octopus.core.types import AuditEvent
from octopus.shipping.evidence import EvidenceShipper
from octopus.shipping.object_store import ObjectStore, Stopped
from octopus.shipping.position_file import StateFile
from octopus.shipping.shipment import Shipment
from octopus.shipping.trail_reader import TrailReader
from tests.integration.test_shipping_lines import until
from tests.parts.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, Swift
from tests.parts.proxy import Proxy, in_front_of

pytestmark = pytest.mark.timeout(180)

PART = 5 << 20


@contextmanager
def store(directory: Path, url: str, **more: Any) -> Iterator[ObjectStore]:
    """Give a client of the store."""
    settings = {"bucket": BUCKET, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "part_size": PART, "timeout": 5.0, **more}
    one = ObjectStore(StateFile(directory / "shipping" / "s3-upload.json"), endpoint=url, **settings)
    try:
        yield one
    finally:
        one.close()


def put(one: ObjectStore, path: Path, stopping: threading.Event | None = None) -> None:
    """Put a file there under its name."""
    one.put(path.name, path, hashlib.sha256(path.read_bytes()).hexdigest(), stopping or threading.Event())


@asynccontextmanager
async def in_between(swift: Swift) -> AsyncIterator[Proxy]:
    """Give a proxy in front of the store."""
    async with in_front_of(f"tcp://127.0.0.1:{swift.port}").serve() as proxy:
        yield proxy


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three parts and a bit."""
    path = tmp_path / "large"
    path.write_bytes(hashlib.shake_256(b"large").digest(3 * PART + 7))
    return path


def test_files_arrive_whole(tmp_path: Path, swift: Swift, large: Path) -> None:
    """In one piece or in parts, with their SHA-256 beside them; what is there is known to be."""
    small = tmp_path / "small"
    small.write_bytes(b"x" * 1000)
    with store(tmp_path, swift.url) as one:
        for path in (small, large):
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            assert not one.holds(path.name, sha256, path.stat().st_size)
            put(one, path)
            assert one.holds(path.name, sha256, path.stat().st_size)
            assert not one.holds(path.name, "0" * 64, path.stat().st_size)
    assert swift.objects() == {"small": small.read_bytes(), "large": large.read_bytes()}
    assert not (tmp_path / "shipping" / "s3-upload.json").exists()


async def test_an_upload_goes_on_after_a_cut(tmp_path: Path, swift: Swift, large: Path) -> None:
    """Parts that arrived are not sent again by the next process."""
    async with in_between(swift) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with store(tmp_path, url) as one:
            proxy.hang_at = re.compile(rb"PUT /\S+partNumber=3")
            sending = asyncio.create_task(asyncio.to_thread(put, one, large))
            await proxy.hung.wait()
            proxy.cut()
            with pytest.raises(ShippingUnavailable):
                await sending
        proxy.thaw()
        proxy.requests.clear()
        with store(tmp_path, url) as again:
            await asyncio.to_thread(put, again, large)
        sent = [request for request in proxy.requests if b"partNumber" in request and request.startswith(b"PUT")]
        assert len(sent) == 2, proxy.requests
    assert swift.objects() == {"large": large.read_bytes()}


def test_a_stop_comes_between_two_parts(tmp_path: Path, swift: Swift, large: Path) -> None:
    """And the next process goes on."""
    stopping = threading.Event()
    stopping.set()
    with store(tmp_path, swift.url) as one, pytest.raises(Stopped):
        put(one, large, stopping)
    assert (tmp_path / "shipping" / "s3-upload.json").exists()
    with store(tmp_path, swift.url) as one:
        put(one, large)
    assert swift.objects() == {"large": large.read_bytes()}


def test_an_upload_the_store_forgot_is_begun_anew(tmp_path: Path, swift: Swift, large: Path) -> None:
    """And one of another file is given up."""
    stopping = threading.Event()
    stopping.set()
    state = tmp_path / "shipping" / "s3-upload.json"
    with store(tmp_path, swift.url) as one:
        with pytest.raises(Stopped):
            put(one, large, stopping)
        known = json.loads(state.read_bytes())
        swift.client.abort_multipart_upload(Bucket=BUCKET, Key="large", UploadId=known["upload"])
        put(one, large)
        with pytest.raises(Stopped):
            put(one, large, stopping)
        other = tmp_path / "other"
        other.write_bytes(large.read_bytes()[::-1])
        put(one, other)
    assert swift.objects() == {"large": large.read_bytes(), "other": other.read_bytes()}
    assert not swift.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")


class Encrypting(BaseHTTPRequestHandler):
    """S3 with a key of KMS: the ETag of a part is not its MD5 (API reference, Object), and to complete takes the ETags it gave."""

    given: ClassVar[list[str]] = []
    completed: ClassVar[list[bool]] = []

    def do_POST(self) -> None:
        """Begin an upload, or complete it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("?uploads"):
            return self._answer(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
        self.completed.append(re.findall(r"<ETag>(.*?)</ETag>", body.decode().replace("&quot;", '"')) == self.given)
        if self.completed[-1]:
            return self._answer(200, b"<CompleteMultipartUploadResult/>")
        return self._answer(400, b"<Error><Code>InvalidPart</Code><Message>not the part's entity tag</Message></Error>")

    def do_PUT(self) -> None:
        """Take a part."""
        left = int(self.headers["Content-Length"])
        while left and (data := self.rfile.read(min(left, 1 << 16))):
            left -= len(data)
        self.given.append(f'"kms-{len(self.given)}"')
        self._answer(200, b"", self.given[-1])

    def _answer(self, status: int, body: bytes, tag: str = "") -> None:
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_parts_are_named_by_the_tags_the_store_gave(tmp_path: Path, large: Path) -> None:
    """They are MD5s only where the store does not encrypt by a key of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Encrypting) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            with store(tmp_path, f"http://127.0.0.1:{server.server_port}") as one:
                put(one, large)
        finally:
            server.shutdown()
            serving.join()
    assert Encrypting.completed == [True]


@pytest.mark.parametrize("wrong", [{"secret_key": "x"}, {"bucket": "no-such-bucket"}, {"access_key": "test:nobody"}])
def test_what_the_store_says_is_told(tmp_path: Path, swift: Swift, wrong: dict[str, str]) -> None:
    """Without the secret in it."""
    with store(tmp_path, swift.url, **wrong) as one, pytest.raises(ShippingUnavailable) as refused:
        one.probe()
    assert BUCKET in str(refused.value) or "no-such-bucket" in str(refused.value)
    assert SECRET_KEY not in str(refused.value)


async def write(log: FileAuditLog, recordings: Path, number: int) -> None:
    """Have a session, with its recording."""
    path = f"2026/01/02/s-{number}.cast"
    content = f'{{"version": 2}}\n[0.1, "o", "{number}"]\n'.encode()
    (recordings / path).parent.mkdir(parents=True, exist_ok=True)
    (recordings / path).write_bytes(content)
    told = {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    session = f"s-{number}"
    await log.append(AuditEvent(event="session.requested", key=f"{session}/requested", session=session))
    await log.append(AuditEvent(event="session.ended", key=session, session=session, data={"recordings": [told]}))


async def test_the_store_holds_a_trail_that_verifies(tmp_path: Path, swift: Swift) -> None:
    """Over outages and restarts: every recording and every finished file is there, as they are on the disk."""
    audit, state = tmp_path / "audit", StateFile(tmp_path / "audit" / "shipping" / "s3.json")

    @asynccontextmanager
    async def shipping(log: FileAuditLog, url: str) -> AsyncIterator[Shipment]:
        with store(audit, url) as one:
            reader = TrailReader(audit, log.last)
            shipment = Shipment("s3", EvidenceShipper(audit, reader, one, state, prefix="octopus/"), interval=0.02, max_wait=0.1)
            running = asyncio.create_task(shipment.run())
            try:
                yield shipment
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    async with in_between(swift) as proxy:
        for start in range(0, 30, 10):
            async with FileAuditLog(audit, clock=lambda: 1_700_000_000.0, rotate_size=4000) as log:
                for number in range(start, start + 5):
                    await write(log, audit / "recordings", number)
                async with shipping(log, f"http://127.0.0.1:{proxy.port}") as shipment:
                    await until(lambda: shipment.waiting() == 0)
                    proxy.freeze()
                    proxy.cut()
                    for number in range(start + 5, start + 10):
                        await write(log, audit / "recordings", number)
                    await until(lambda: shipment.problem)
                    proxy.thaw()
                    proxy.cut()
                    await until(lambda: shipment.waiting() == 0)
    finished = {f"octopus/{path.name}": path.read_bytes() for path in finished_files(audit)}
    recordings = {f"octopus/{path.relative_to(audit)}": path.read_bytes() for path in audit.rglob("*.cast")}
    assert len(finished) >= 5
    assert len(recordings) == 30
    assert await asyncio.to_thread(swift.objects) == finished | recordings
    assert verify(audit).faults == ()


async def test_what_the_trail_does_not_vouch_for_is_not_shipped(tmp_path: Path, swift: Swift) -> None:
    """A recording that was altered or is gone keeps nobody else from the store."""
    audit = tmp_path / "audit"
    async with FileAuditLog(audit, clock=lambda: 1_700_000_000.0) as log:
        for number in range(3):
            await write(log, audit / "recordings", number)
        (audit / "recordings" / "2026/01/02/s-0.cast").write_bytes(b"another")
        (audit / "recordings" / "2026/01/02/s-1.cast").unlink()
        with store(audit, swift.url) as one:
            shipper = EvidenceShipper(audit, TrailReader(audit, log.last), one, StateFile(audit / "shipping" / "s3.json"))
            while await asyncio.to_thread(shipper.step, threading.Event()):
                pass
    assert list(await asyncio.to_thread(swift.objects)) == ["recordings/2026/01/02/s-2.cast"]
