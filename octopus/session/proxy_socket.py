"""Reads the PROXY header off a connection, and not a byte more."""

from __future__ import annotations

import asyncio
import socket

from octopus.core.proxy_header import MAX_V1, SIGNATURE, V2_FIXED, parse_v1, parse_v2, payload_length


async def real_client(sock: socket.socket, *, within: float) -> str | None:
    """Return who connects as ``ip:port``, None where the balancer speaks for itself.

    Raise ValueError for no or a wrong header, ConnectionError when the connection ends in it, TimeoutError after ``within`` seconds.
    """
    async with asyncio.timeout(within):
        start = await _exactly(sock, len(SIGNATURE))
        if start == SIGNATURE:
            fixed = start + await _exactly(sock, V2_FIXED - len(start))
            return parse_v2(fixed, await _exactly(sock, payload_length(fixed)))
        while not start.endswith(b"\r\n"):
            if len(start) >= MAX_V1 or not start.startswith(b"PROXY "):
                raise ValueError("not a PROXY header")
            start += await _exactly(sock, 1)
        return parse_v1(start)


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < count:
        more = await loop.sock_recv(sock, count - len(data))
        if not more:
            raise ConnectionError("the connection ended in its PROXY header")
        data += more
    return data
