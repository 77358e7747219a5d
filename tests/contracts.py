"""What every implementation of a port does, real or fake: suites to subclass, each giving its own fixtures."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable

import pytest

from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.ports import ExecBackend, ExecStream
from octopus.core.types import ExecSpec, Exit, Pty, Target, TermSize
from tests.streams import Choosy, until


class ExecBackendContract:
    """What every ExecBackend does. A subclass gives the fixtures ``exec_backend``, ``exec_target`` and ``end_container``."""

    async def test_the_status_comes_after_all_output(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """Output is drained, then the command's own status is told."""
        out, _, exit = await run_to_end(exec_backend, exec_target, spec_for("printf all; exit 7"))
        assert (out, exit) == (b"all", Exit(status=7))

    async def test_stdout_and_stderr_come_apart(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """Without a terminal each keeps its own way."""
        out, err, exit = await run_to_end(exec_backend, exec_target, spec_for("printf out; printf err >&2"))
        assert (out, err, exit.status) == (b"out", b"err", 0)

    async def test_input_is_binary_and_ends_by_half_close(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """Every byte value comes back, and the end of input alone ends the command."""
        data = bytes(range(256)) * 64
        out, _, exit = await run_to_end(exec_backend, exec_target, spec_for("cat"), data)
        assert (out, exit.status) == (data, 0)

    async def test_the_size_is_right_at_the_first_read(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """A program that asks at once sees the size of the request."""
        out, _, exit = await run_to_end(exec_backend, exec_target, spec_for("stty size", pty=PTY))
        assert (out, exit.status) == (b"45 123\r\n", 0)

    async def test_a_resize_arrives(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """The latest of several sizes is the one that is left."""
        spec = spec_for("until [ \"$(stty size)\" = '50 132' ]; do sleep 0.02; done; echo done", pty=PTY)
        async with exec_backend.start(exec_target, spec) as stream:
            for cols in (81, 100, 132):
                await stream.resize(TermSize(cols=cols, rows=50))
            out = b"".join([part.data async for part in stream.output()])
            assert (out, await stream.wait()) == (b"done\r\n", Exit(status=0))

    async def test_the_end_of_input_on_a_terminal_is_veof(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """``cat`` on a terminal ends, with its output whole, though its last line is not."""
        async with exec_backend.start(exec_target, spec_for("stty -echo; echo ready; cat", pty=PTY)) as stream:
            output = stream.output()
            assert (await anext(output)).data == b"ready\r\n"
            await stream.write(b"half a line")
            await stream.write_eof()
            assert b"".join([part.data async for part in output]) == b"half a line"
            assert (await stream.wait()).status == 0

    async def test_what_is_offered_and_what_is_yielded_is_all_there_is(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """Output that is taken at once and output that is not are together the command's, in its order; input at once arrives."""
        choosy = Choosy(every=3)
        said = choosy.came
        async with exec_backend.start(exec_target, spec_for("stty -echo; echo ready; cat", pty=PTY)) as stream:
            stream.offer(choosy.take)
            typing = asyncio.create_task(type_lines(stream, said))
            async for part in stream.output():
                said.append(part.data)
            await typing
            assert b"".join(said).replace(b"\r", b"") == b"ready\n" + b"".join(b"%d\n" % number for number in range(30))
            assert (await stream.wait()).status == 0

    async def test_a_signal_ends_the_command(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """128 + n tells by which."""
        async with exec_backend.start(exec_target, spec_for("echo ready; exec sleep 1000")) as stream:
            output = stream.output()
            assert (await anext(output)).data == b"ready\n"
            await stream.signal("TERM")
            assert [part async for part in output] == []
            assert await stream.wait() == Exit(status=143)

    async def test_an_unknown_signal_is_refused(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """Only names of signals reach the container."""
        async with exec_backend.start(exec_target, spec_for("cat")) as stream:
            with pytest.raises(InvalidRequest):
                await stream.signal("$(reboot)")

    async def test_leaving_early_ends_the_command(self, exec_backend: ExecBackend, exec_target: Target) -> None:
        """After leaving, nothing of the session is left to reap."""
        spec = spec_for("echo ready; sleep 1000")
        async with exec_backend.start(exec_target, spec) as stream:
            assert stream.container
            await anext(stream.output())
        assert await exec_backend.reap(exec_target, spec)

    async def test_a_container_that_ends_takes_the_command_along(
        self, exec_backend: ExecBackend, exec_target: Target, end_container: Callable[[], None]
    ) -> None:
        """The exit says that the container is gone; the next start is refused with a clear word."""
        async with exec_backend.start(exec_target, spec_for("echo ready; sleep 1000")) as stream:
            output = stream.output()
            await anext(output)
            await asyncio.get_running_loop().run_in_executor(None, end_container)
            assert [part async for part in output] == []
            assert await stream.wait() == Exit(status=137, container_gone=True)
        with pytest.raises(ContainerUnavailable) as caught:
            await exec_backend.start(exec_target, spec_for("cat")).__aenter__()
        assert caught.value.notice == "the container is gone"
        assert await exec_backend.reap(exec_target, spec_for("cat"))


PTY = Pty(term="vt220", size=TermSize(cols=123, rows=45))


def spec_for(command: str | None, *, pty: Pty | None = None, user: str = "", keep_background: bool = False) -> ExecSpec:
    """An ExecSpec with a token of its own."""
    return ExecSpec(command=command, pty=pty, env={}, user=user, token=secrets.token_hex(16), keep_background=keep_background)


async def run_to_end(backend: ExecBackend, target: Target, spec: ExecSpec, stdin: bytes = b"") -> tuple[bytes, bytes, Exit]:
    """Run a command with this input; return its output, its errors and how it ended."""
    async with backend.start(target, spec) as stream, asyncio.TaskGroup() as tasks:
        tasks.create_task(_feed(stream, stdin, tty=spec.pty is not None))
        parts = [part async for part in stream.output()]
        out, err = (b"".join(part.data for part in parts if part.stderr is side) for side in (False, True))
        return out, err, await stream.wait()


async def type_lines(stream: ExecStream, said: list[bytes]) -> None:
    """Type 30 lines, each once all before it was said, at once where that can be done; then the end."""
    for number in range(30):
        await until(lambda number=number: b"".join(said).count(b"\n") > number)  # type: ignore[misc]
        line = b"%d\n" % number
        if not stream.write_now(line):
            await stream.write(line)
    await stream.write_eof()


async def _feed(stream: ExecStream, stdin: bytes, *, tty: bool) -> None:
    if stdin:
        await stream.write(stdin)
    if stdin or not tty:
        await stream.write_eof()
