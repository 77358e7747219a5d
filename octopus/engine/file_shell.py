"""The helper shell of a file session: one exec that is kept and fed operations on its standard input, a millisecond each."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.resources import files
from typing import Any

from octopus.core.errors import ContainerUnavailable, OctopusError
from octopus.core.types import ExecSpec
from octopus.engine.engines import Engine
from octopus.engine.file_answers import argument, failure, last_argument, mark_begun
from octopus.engine.file_replies import Replies, give
from octopus.engine.hijack import Hijacked
from octopus.engine.launch import exec_config
from octopus.engine.limits import FileLimits, faults, unavailable

SCRIPT = files("octopus.engine").joinpath("files.sh").read_text()
_RARE = {ord("0"): "^", ord("1"): "\x1e"}


class _Awaited:
    """An answer that is to come, ended by ``mark``; ``begun`` takes the first of two parts, or the only one."""

    __slots__ = ("begun", "mark", "said")

    def __init__(self, mark: bytes, said: asyncio.Future[bytes], begun: asyncio.Future[bytes] | None) -> None:
        self.mark = mark
        self.said = said
        self.begun = begun

    def settle(self, said: bytes) -> None:
        """Give it to whoever waits."""
        for future in (self.begun, self.said):
            give(future, said)

    def fail(self, error: OctopusError) -> None:
        """Tell whoever waits why there is none."""
        for future in (self.begun, self.said):
            if future and not future.done():
                future.set_exception(error)
                future.exception()  # who leaves off does not ask any more


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
        self._replies = Replies(stream, limits)
        self._turn = asyncio.Lock()
        self._pending: deque[_Awaited] = deque()
        self._work = asyncio.Event()
        self._answered = asyncio.Event()
        self._reading = False
        self._tasks: set[asyncio.Task[Any]] = set()

    async def call(self, op: str, *arguments: bytes, data: bytes = b"", mark: bytes = b"") -> bytes:
        """Do one operation and return what it says. Raise FileFailure, ContainerUnavailable."""
        mark = mark or new_mark()
        return await self._request(mark, _lines(op, arguments, mark) + data).said

    async def quick(self, op: str, words: Sequence[bytes], path: bytes, *, data: bytes = b"", mark: bytes) -> bytes:
        """Do one of the operations in capitals and return what it says. Raise FileFailure without a reason, ContainerUnavailable."""
        return await self._request(mark, _line(op, words, path, mark) + data).said

    async def begin(self, op: str, words: Sequence[bytes], path: bytes, *, mark: bytes) -> tuple[bytes, asyncio.Future[bytes]]:
        """Do one of those that answer in two parts, of which a mark and a B end the first; return that, and the future second.

        Where there is only one part, that is the first, and the future done. Raise as ``quick``.
        """
        begun: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        said = self._request(mark, _line(op, words, path, mark), begun).said
        return await begun, said

    def say(self, op: str, words: Sequence[bytes], path: bytes, *, data: bytes, mark: bytes) -> bool:
        """Have an operation done to which there is no answer, where it need not wait; tell whether it is sent."""
        return self._sent_now(_line(op, words, path, mark) + data)

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
        self._replies.unread(chunk[at:])
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
            said, status, errors = await self._replies.answer(mark, None)
        if status:
            raise failure(errors)
        return said

    async def _next_chunk(self) -> bytes:
        self._check()
        with self._in_time():
            return await self._replies.chunk()

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

    def _request(self, mark: bytes, request: bytes, begun: asyncio.Future[bytes] | None = None) -> _Awaited:
        """Send a request, those before it answered or not: the helper reads no further than each one's end."""
        awaited = _Awaited(mark, asyncio.get_running_loop().create_future(), begun)
        self.waiting += 1
        if self._sent_now(request):
            self._expect(awaited)
        else:
            self._keep(self._request_in_turn(awaited, request))
        return awaited

    def _sent_now(self, request: bytes) -> bool:
        return not self._turn.locked() and self._stream.write_now(request)

    async def _request_in_turn(self, awaited: _Awaited, request: bytes) -> None:
        try:
            async with self._turn:
                await self._send(request)
                self._expect(awaited)
        except OctopusError as error:
            self.waiting -= 1
            awaited.fail(error)

    def _expect(self, awaited: _Awaited) -> None:
        self._pending.append(awaited)
        self._work.set()
        if not self._reading:
            self._reading = True
            self._keep(self._read_answers())

    async def _read_answers(self) -> None:
        """Give each answer to whoever waits for it, and those for whom nobody waits any more to nobody."""
        while True:
            if not self._pending:
                self._work.clear()
                await self._work.wait()
            awaited = self._pending[0]
            try:
                awaited.settle(await self._receive_answer(awaited.mark, awaited.begun))
            except OctopusError as error:
                awaited.fail(error)
            self.waiting -= 1
            self._pending.popleft()
            self._answered.set()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="file operations")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def leave(self) -> None:
        """End the input: the helper removes what is unfinished and ends. Never raises."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(self._limits.leave), self._turn:
                while self._pending:
                    self._answered.clear()
                    await self._answered.wait()
                if not self.gone:
                    await self._stream.write_eof()
                    while await self._stream.read(self._limits.read):
                        pass
        self._give_up()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(self, request: bytes) -> None:
        self._check()
        with self._in_time():
            await self._stream.write(request)

    async def _receive_answer(self, mark: bytes, begun: asyncio.Future[bytes] | None) -> bytes:
        self._check()
        with self._in_time():
            said, status, errors = await self._replies.answer(mark, begun)
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
