"""Docker's multiplexed stream (Engine API, "Attach to a container"): an 8-byte header, then that many bytes of payload."""

from __future__ import annotations

from octopus.core.errors import BadUpstream
from octopus.core.types import Output

HEADER = 8
_STDERR = {1: False, 2: True}


class FrameDecoder:
    """Incremental decoder: payload is passed on as it comes, a frame is never collected.

    A header is stream (1 out, 2 err), three zero bytes, and the payload's length as 32 bits, big-endian.
    """

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._stderr = False

    def feed(self, data: bytes) -> list[Output]:
        """Return the payload in ``data``, in order; frames of one stream in a row are one piece. Raise BadUpstream at a wrong header."""
        outputs: list[Output] = []
        run: list[memoryview] = []
        view = memoryview(data)
        at = 0
        while at < len(data):
            if self._left:
                payload = view[at : at + self._left]
                self._left -= len(payload)
                run.append(payload)
                at += len(payload)
            else:
                part = data[at : at + HEADER - len(self._header)]
                at += len(part)
                before = self._stderr
                self._read_header(part)
                if run and self._stderr != before:
                    outputs.append(Output(data=b"".join(run), stderr=before))
                    run = []
        if run:
            outputs.append(Output(data=b"".join(run), stderr=self._stderr))
        return outputs

    def finish(self) -> None:
        """Say that the stream is at its end. Raise BadUpstream inside a frame: the output was cut."""
        if self._left or self._header:
            raise BadUpstream("engine", f"the output ends inside a frame, {self._left} bytes are missing")

    def _read_header(self, part: bytes) -> None:
        self._header += part
        if len(self._header) < HEADER:
            return
        stream, reserved = self._header[0], self._header[1:4]
        if stream not in _STDERR or reserved != b"\0\0\0":
            raise BadUpstream("engine", "not a frame header", self._header.hex())
        self._stderr = _STDERR[stream]
        self._left = int.from_bytes(self._header[4:], "big")
        self._header = b""
