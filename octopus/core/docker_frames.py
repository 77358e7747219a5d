"""Docker's multiplexed stream (Engine API, "Attach to a container"): an 8-byte header, then that many bytes of payload."""

from __future__ import annotations

import struct

from octopus.core.errors import BadUpstream
from octopus.core.types import Output

HEADER = struct.Struct(">II")
_STDERR = {1 << 24: False, 2 << 24: True}
"""By a header's first four bytes."""


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
        if self._header:
            data, self._header = self._header + data, b""
        outputs: list[Output] = []
        run: list[memoryview] = []
        view, size, at = memoryview(data), len(data), 0
        while at < size:
            if not self._left:
                if size - at < HEADER.size:
                    self._header = data[at:]
                    break
                stream, self._left = HEADER.unpack_from(data, at)
                if (stderr := _STDERR.get(stream)) is None:
                    raise BadUpstream("engine", "not a frame header", data[at : at + HEADER.size].hex())
                at += HEADER.size
                if run and stderr != self._stderr:
                    outputs.append(Output(data=b"".join(run), stderr=self._stderr))
                    run = []
                self._stderr = stderr
            if self._left and at < size:
                payload = view[at : at + self._left]
                run.append(payload)
                self._left -= len(payload)
                at += len(payload)
        if run:
            outputs.append(Output(data=b"".join(run), stderr=self._stderr))
        return outputs

    def finish(self) -> None:
        """Say that the stream is at its end. Raise BadUpstream inside a frame: the output was cut."""
        if self._left or self._header:
            raise BadUpstream("engine", f"the output ends inside a frame, {self._left} bytes are missing")
