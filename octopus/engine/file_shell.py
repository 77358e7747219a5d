"""The helper shell of a file session: one exec that is kept and fed operations on its standard input, a millisecond each."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files

from octopus.core.docker_frames import FrameDecoder
from octopus.core.errors import BadUpstream, ContainerUnavailable, OctopusError
from octopus.core.types import ExecSpec
from octopus.engine.engines import Engine
from octopus.engine.file_answers import argument, failure, last_argument, mark_begun, mark_found
from octopus.engine.hijack import Hijacked
from octopus.engine.launch import exec_config
from octopus.engine.limits import FileLimits, faults, unavailable

SCRIPT = files("octopus.engine").joinpath("files.sh").read_text()
MAX_ERRORS = 16 * 1024
_RARE = {ord("0"): "^", ord("1"): "\x1e"}


class FileShell:
    """One helper. Calls are sent and answered in their order; one that is cancelled is still brought to its end, to stay in step."""

    def __init__(self, engine: Engine, stream: Hijacked, limits: FileLimits) -> None:
        self.waiting = 0
        """Calls under way and in line."""
        self.gone = False
        """Whether it ended, or is out of step: of no more use."""
        self._engine = engine
        self._stream = stream
        self._limits = limits
        self._frames = FrameDecoder()
        self._received = b""
        self._stray = b""
        self._turn = asyncio.Lock()
        self._last: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[bytes]] = set()

    async def call(self, op: str, *arguments: bytes, data: bytes = b"", mark: bytes = b"") -> bytes:
        """Do one operation and return what it says. Raise FileFailure, ContainerUnavailable."""
        mark = mark or new_mark()
        return await self._do(mark, _lines(op, arguments, mark) + data)

    async def quick(self, op: str, words: Sequence[bytes], path: bytes, *, data: bytes = b"", mark: bytes) -> bytes:
        """Do one of the operations in capitals and return what it says. Raise FileFailure without a reason, ContainerUnavailable."""
        return await self._do(mark, _line(op, words, path, mark) + data)

    async def begin(self, op: str, words: Sequence[bytes], path: bytes, *, mark: bytes) -> tuple[bytes, asyncio.Task[bytes]]:
        """Do one of those that answer in two parts, of which a mark and a B end the first; return that, and the task of the second.

        Where there is only one part, that is the first, and the task done. Raise as ``quick``.
        """
        begun: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        task = self._task(mark, _line(op, words, path, mark), begun)
        await asyncio.wait({begun, task}, return_when=asyncio.FIRST_COMPLETED)
        return (begun.result() if begun.done() else task.result()), task

    async def say(self, op: str, words: Sequence[bytes], path: bytes, *, data: bytes, mark: bytes) -> bool:
        """Have an operation done to which there is no answer, unless others are being done; tell whether it was sent. Raise nothing."""
        if self.gone or self._turn.locked():
            return False
        async with self._turn:
            with suppress(OctopusError):
                await self._send(_line(op, words, path, mark) + data)
                return True
        return False

    async def ask(self, op: str, *arguments: bytes) -> bytes:
        """Have an operation done whose answer is taken by ``pieces``; return its mark. For who has the helper alone."""
        mark = long_mark()
        await self._send(_lines(op, arguments, mark))
        return mark

    async def pieces(self, mark: bytes) -> AsyncIterator[bytes]:
        """Yield what the operation says, as it comes; nothing is read while the caller is busy. Raise FileFailure, ContainerUnavailable.

        Who leaves off can do nothing more with the helper but leave.
        """
        held = b""
        while (at := (chunk := held + await self._next_chunk()).find(mark)) < 0:
            cut = len(chunk) - mark_begun(mark, chunk)
            chunk, held = chunk[:cut], chunk[cut:]
            if chunk:
                yield chunk
        self._received = chunk[at:]
        if at:
            yield chunk[:at]
        await self._receive_answer(mark, None)

    async def pour(self, op: str, *arguments: bytes) -> asyncio.Task[bytes]:
        """Begin a helper's last operation, that takes what is fed until ``end``; return the task that brings its answer."""
        mark = await self.ask(op, *arguments)
        task = asyncio.get_running_loop().create_task(self._told(mark), name="file operation")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda told: told.cancelled() or told.exception())  # who leaves off does not ask any more
        return task

    async def feed(self, data: bytes) -> None:
        """Send bytes to the operation that takes them. Raise ContainerUnavailable."""
        await self._send(data)

    async def end(self) -> None:
        """End what is fed. Raise ContainerUnavailable."""
        self._check()
        with self._in_time():
            await self._stream.write_eof()

    async def _told(self, mark: bytes) -> bytes:
        """Return an answer that comes when it comes."""
        with faults(self._engine.agent, "files"):
            said, status, errors = await self._answer(mark, None)
        if status:
            raise failure(errors)
        return said

    async def _next_chunk(self) -> bytes:
        self._check()
        chunk, self._received = self._received, b""
        while not chunk:
            with self._in_time():
                chunk = await self._receive(b"")
        return chunk

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        """Drop the connection where what is done with it takes too long, or fails: a quarter of what ``deadline`` costs."""
        loop = asyncio.get_running_loop()
        late = loop.call_later(self._limits.call, self._give_up)
        try:
            with faults(self._engine.agent, "files"):
                yield
        except BaseException as error:
            self._give_up()
            if isinstance(error, ContainerUnavailable) and loop.time() >= late.when():
                raise unavailable(self._engine.agent, "files", f"no answer within {self._limits.call:g} s") from error
            raise
        finally:
            late.cancel()

    async def _do(self, mark: bytes, request: bytes) -> bytes:
        return await asyncio.shield(self._task(mark, request))

    def _task(self, mark: bytes, request: bytes, begun: asyncio.Future[bytes] | None = None) -> asyncio.Task[bytes]:
        task = asyncio.get_running_loop().create_task(self._in_turn(mark, request, begun), name="file operation")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def leave(self) -> None:
        """End the input: the helper removes what is unfinished and ends. Never raises."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.leave), self._turn:
                if self._last is not None:
                    await self._last
                if not self.gone:
                    await self._stream.write_eof()
                    while await self._stream.read(self._limits.read):
                        pass
        self._give_up()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _in_turn(self, mark: bytes, request: bytes, begun: asyncio.Future[bytes] | None) -> bytes:
        self.waiting += 1
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            async with self._turn:
                before, self._last = self._last, answered
                await self._send(request)
            if before is not None:
                await before
            return await self._receive_answer(mark, begun)
        finally:
            answered.set_result(None)
            self.waiting -= 1

    async def _send(self, request: bytes) -> None:
        """Send a request, those before it answered or not: the helper reads no further than each one's end."""
        self._check()
        with self._in_time():
            await self._stream.write(request)

    async def _receive_answer(self, mark: bytes, begun: asyncio.Future[bytes] | None) -> bytes:
        self._check()
        with self._in_time():
            said, status, errors = await self._answer(mark, begun)
        if status:
            raise failure(errors)
        return said

    def _check(self) -> None:
        if self.gone:
            raise unavailable(self._engine.agent, "files", "the helper is gone")

    def _give_up(self) -> None:
        """Drop the connection: a helper that lives sees the end of its input and tidies up."""
        self.gone = True
        self._stream.close()

    async def _answer(self, mark: bytes, begun: asyncio.Future[bytes] | None) -> tuple[bytes, int, bytes]:
        if begun is None:
            said = await self._until(mark + b"E", self._limits.answer)
        else:
            said = await self._until(mark, self._limits.answer)
            while not self._received:
                self._received = await self._receive(said)
            last, self._received = self._received.startswith(b"E"), self._received[1:]
            if not last:
                begun.set_result(said)
                said = await self._until(mark + b"E", self._limits.answer)
        status, space, errors = (await self._until(mark + b"\n", MAX_ERRORS)).partition(b" ")
        if not space or not re.fullmatch(rb"[0-9]{1,3}", status):
            raise BadUpstream("files helper", "no status", status)
        return said, int(status), errors

    async def _until(self, mark: bytes, limit: int) -> bytes:
        """Return what comes before a mark, put together once."""
        parts: list[bytes] = []
        size, tail, chunk, self._received = 0, b"", self._received, b""
        while (at := mark_found(mark, tail, chunk)) is None:
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise BadUpstream("files helper", f"an answer of more than {limit} bytes")
            tail = (tail + chunk[1 - len(mark) :])[1 - len(mark) :]
            chunk = await self._receive(tail)
        if at < 0:  # it began in what came before
            parts, chunk, at = [], b"".join([*parts, chunk]), at + size
        self._received = chunk[at + len(mark) :]
        return b"".join([*parts, chunk[:at]])

    async def _receive(self, tail: bytes) -> bytes:
        data = await self._stream.read(self._limits.read)
        if not data:
            raise BadUpstream("files helper", "it ended", self._stray or tail)
        received = []
        for output in self._frames.feed(data):
            if output.stderr:
                self._stray = (self._stray + output.data)[-200:]
            else:
                received.append(output.data)
        return received[0] if len(received) == 1 else b"".join(received)


@asynccontextmanager
async def file_shell(engine: Engine, container: str, shell: str, spec: ExecSpec, limits: FileLimits) -> AsyncIterator[FileShell]:
    """Start a helper; on leaving it tidies up and ends. Raise ContainerUnavailable."""
    config = exec_config([shell, "-c", SCRIPT, "octopus-files"], spec, shell, await engine.api.version())
    exec_id = await engine.create(container, config)
    async with engine.started(exec_id, {"Detach": False, "Tty": False}) as stream:
        helper = FileShell(engine, stream, limits)
        try:
            yield helper
        finally:
            await helper.leave()


def _lines(op: str, arguments: Sequence[bytes], mark: bytes) -> bytes:
    return b"".join([b"%s %s %d\n" % (mark, op.encode(), len(arguments)), *(argument(one) + b"\n" for one in arguments)])


def _line(op: str, words: Sequence[bytes], path: bytes, mark: bytes) -> bytes:
    return b"%s %s %s %s\n" % (mark, op.encode(), b",".join(words) or b",", last_argument(path))


def long_mark() -> bytes:
    """Return such a word that is quickly looked for in many bytes: of two rare ones, alike in their last six bits.

    By those bits Python's ``find`` (stringlib's two-way search) tells how far it may go on: mostly by the word's whole length.
    """
    return format(secrets.randbits(96), "096b").translate(_RARE).encode()


def new_mark() -> bytes:
    """Return a word that no answer holds by chance: 24 hexadecimal digits."""
    return secrets.token_hex(12).encode()
