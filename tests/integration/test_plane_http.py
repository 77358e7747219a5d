"""The HTTP between the planes against servers that close, cut answers short, say nonsense, never end or never begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from octopus.session.plane_http import Answer, PlaneHttp

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Server:
    """Gives each connection the answers of its number, one a request, then closes it; counts connections."""

    def __init__(self, *answers: Sequence[bytes]) -> None:
        self.connections = 0
        self._answers = answers

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        """Serve at ``path``."""
        server = await asyncio.start_unix_server(self._serve, path)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = self._answers[min(self.connections, len(self._answers) - 1)]
        self.connections += 1
        try:
            for answer in answers:
                await reader.readuntil(b"{}")
                writer.write(answer)
                await writer.drain()
            await reader.readuntil(b"{}")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@pytest.fixture
def http(tmp_path: Path) -> PlaneHttp:
    """Give a client of the server that a test starts."""
    return PlaneHttp(tmp_path / "plane", timeout=30, max_calls=4, max_answer=1000)


async def test_a_connection_serves_many_calls(http: PlaneHttp, tmp_path: Path) -> None:
    """One after another; several at a time have one each."""
    server = Server([OK] * 4)
    async with server.listening(tmp_path / "plane"):
        for _ in range(3):
            assert await http.post("/x", b"{}") == Answer(200, b"ok")
        assert server.connections == 1
        await asyncio.gather(http.post("/x", b"{}"), http.post("/x", b"{}"))
        assert server.connections == 2
        http.close()


async def test_a_call_that_a_kept_connection_fails_is_made_again(http: PlaneHttp, tmp_path: Path) -> None:
    """The server closes it when the next call comes; a call may be made twice."""
    server = Server([OK])
    async with server.listening(tmp_path / "plane"):
        for connections in (1, 2, 3):
            assert (await http.post("/x", b"{}")).body == b"ok"
            assert server.connections == connections
        http.close()


@pytest.mark.parametrize("answer", [None, b"nonsense\r\n\r\n", HEAD_ONLY.replace(b"2", b"2000") + b"x" * 2000])
async def test_an_answer_that_is_none_is_an_error(http: PlaneHttp, tmp_path: Path, answer: bytes | None) -> None:
    """Closed at once, garbled, or longer than any answer is."""
    async with Server([answer] if answer else []).listening(tmp_path / "plane"):
        with pytest.raises(OSError, match="answer"):
            await http.post("/x", b"{}")


async def test_an_answer_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    """The time is for the whole of it, not for each part."""
    http = PlaneHttp(tmp_path / "plane", timeout=0.1, max_calls=1)
    async with Server([HEAD_ONLY]).listening(tmp_path / "plane"):
        with pytest.raises(TimeoutError):
            await http.post("/x", b"{}")


async def test_nobody_there_is_an_error(http: PlaneHttp) -> None:
    """No socket, no answer."""
    with pytest.raises(FileNotFoundError):
        await http.post("/x", b"{}")


async def test_a_stream_ends_with_its_connection(http: PlaneHttp, tmp_path: Path) -> None:
    """Parts come as they are sent; an end in the middle is an error."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
    server = Server([chunked, b"3\r\ntwo\r\n"])
    async with server.listening(tmp_path / "plane"), http.stream("/x", b"{}{}{}") as (status, parts):
        assert status == 200
        assert [await anext(parts), await anext(parts)] == [b"one", b"two"]
        with pytest.raises(ConnectionError):
            await anext(parts)
