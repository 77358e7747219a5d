"""Sessions through a Mesos agent's API, against a stand-in that answers with what a real agent sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.types import ContainerClue, EngineAddress, Exit, Target, TermSize
from octopus.engine.limits import EngineLimits
from octopus.engine.mesos_exec import MesosBackend
from tests.contracts import PTY, spec_for

RECORDED = Path(__file__).parent.parent / "data" / "mesos_sessions"
CID = "d14dee9a-8941-49cd-b4a4-d088ca57759a"
CONTAINERS = json.dumps({"type": "GET_CONTAINERS", "get_containers": {"containers": [{"container_id": {"value": CID}}]}}).encode()
NO_CONTAINERS = b'{"type":"GET_CONTAINERS","get_containers":{}}'


def ok(body: bytes) -> bytes:
    """An answer 200 with a JSON body."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def recorded(name: str) -> bytes:
    """One recorded half of a connection."""
    return (RECORDED / f"{name}.bin").read_bytes()


def records_of(request: bytes) -> list[dict[str, Any]]:
    """The JSON documents in a recorded or received request."""
    return [json.loads(line) for line in re.findall(rb"^(\{.*\})\r?$", request, re.MULTILINE)]


class Agent:
    """Answers each kind of call with a recorded answer; keeps what it was sent. Output is held until ``input_records`` came."""

    def __init__(self, answers: Mapping[str, bytes], input_records: int = 1) -> None:
        self._answers = answers
        self._input_records = input_records
        self._input_came = asyncio.Event()
        self.heads: dict[str, bytes] = {}
        self.calls: dict[str, list[dict[str, Any]]] = {}
        self.launch_closed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Agent]:
        """Listen until left."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
                await self._serve_one(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head:
            await self._receive_input(head, reader)
            writer.write(self._answers["ATTACH_CONTAINER_INPUT"])
        else:
            length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
            call = json.loads(await reader.readexactly(length))
            self.heads[call["type"]], self.calls[call["type"]] = head, [call]
            await self._answer(call["type"], reader, writer)

    async def _answer(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self._answers[kind]
        if kind == "LAUNCH_NESTED_CONTAINER_SESSION" and answer.startswith(b"HTTP/1.1 200"):
            start, blank, output = answer.partition(b"\r\n\r\n")
            writer.write(start + blank)
            gone = asyncio.create_task(reader.read())
            came = asyncio.create_task(self._input_came.wait())
            await asyncio.wait({gone, came}, return_when=asyncio.FIRST_COMPLETED)
            writer.write(output)
            came.cancel()
            await gone
            self.launch_closed.set()
        elif kind == "WAIT_NESTED_CONTAINER":
            await self._input_came.wait()
            writer.write(answer)
        else:
            writer.write(answer)

    async def _receive_input(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self.heads["ATTACH_CONTAINER_INPUT"] = head
        received = self.calls.setdefault("ATTACH_CONTAINER_INPUT", [])
        while size := int(await reader.readline() or b"0", 16):
            received += records_of((await reader.readexactly(size + 2)).replace(b"\r\n", b""))
            if len(received) >= self._input_records:
                self._input_came.set()


KILLED = ok(b'{"type":"WAIT_NESTED_CONTAINER","wait_nested_container":{"exit_status":9}}')

TTY = {
    "LAUNCH_NESTED_CONTAINER_SESSION": recorded("01_launch_session_tty.response"),
    "ATTACH_CONTAINER_INPUT": recorded("03_attach_input.response"),
    "WAIT_NESTED_CONTAINER": recorded("04_wait.response"),
    "GET_CONTAINERS": ok(CONTAINERS),
}
PIPE = {
    "LAUNCH_NESTED_CONTAINER_SESSION": recorded("11_launch_session_pipe.response"),
    "ATTACH_CONTAINER_INPUT": recorded("12_attach_input_empty_stdin_is_eof.response"),
    "WAIT_NESTED_CONTAINER": recorded("13_wait.response"),
    "GET_CONTAINERS": ok(CONTAINERS),
}


def target_at(port: int, *parents: str) -> Target:
    """The target of a task of the Mesos containerizer."""
    clue = ContainerClue(containerizer="mesos", container_id=CID, parents=parents)
    return Target(app="/t", task="t.1", agent="agent-2", engine=EngineAddress(url=""), clue=clue, agent_ip="127.0.0.1", agent_port=port)


@pytest.fixture
async def backend() -> AsyncIterator[MesosBackend]:
    """A backend with fixed session ids and a login."""
    backend = MesosBackend(new_id=lambda: "e37ee13b-bf75-40db-ba3d-77236b2ca464", username="octopus", password="secret")
    yield backend
    await backend.aclose()


async def test_a_terminal_session_is_what_a_real_agent_was_sent(backend: MesosBackend) -> None:
    """The same ids, records and headers as in the recording; the output in order, then the status."""
    spec = spec_for(None, pty=PTY, user="app")
    async with Agent(TTY, input_records=4).serve() as agent, backend.start(target_at(agent.port), spec) as stream:
        await stream.write(b"echo hi\n")
        await stream.resize(TermSize(cols=200, rows=50))
        await stream.signal("INT")
        out = b"".join([part.data async for part in stream.output()])
        assert await stream.wait() == Exit(status=7)
    assert out.startswith(b"# echo hi\r\nhi\r\n# stty size")
    assert out.endswith(b"^C\r\n# exit 7\r\n")

    theirs = records_of(recorded("01_launch_session_tty.request"))[0]["launch_nested_container_session"]
    ours = agent.calls["LAUNCH_NESTED_CONTAINER_SESSION"][0]["launch_nested_container_session"]
    assert ours["container_id"] == theirs["container_id"]
    assert ours["container"] == {"type": "MESOS", "tty_info": {"window_size": {"rows": 45, "columns": 123}}}
    assert ours["command"]["user"] == "app"
    assert {"name": "OCTOPUS_SESSION", "value": spec.token, "type": "VALUE"} in ours["command"]["environment"]["variables"]
    assert b"accept: application/recordio\r\n" in agent.heads["LAUNCH_NESTED_CONTAINER_SESSION"].lower()
    assert b"Basic b2N0b3B1czpzZWNyZXQ=" in agent.heads["ATTACH_CONTAINER_INPUT"]

    sent = agent.calls["ATTACH_CONTAINER_INPUT"]
    known = records_of(recorded("03_attach_input.request"))
    assert sent[0] == known[0]
    assert known[1] in sent
    assert known[3] in sent


async def test_a_session_without_a_terminal_keeps_stderr_apart_and_ends_by_empty_input(backend: MesosBackend) -> None:
    """The records are those of the recording, the empty one that means the end of input included."""
    async with (
        Agent(PIPE, input_records=3).serve() as agent,
        backend.start(target_at(agent.port), spec_for("echo out; echo err >&2; cat; exit 0")) as stream,
    ):
        await stream.write(b"line one\n")
        await stream.write_eof()
        parts = [(part.stderr, part.data) async for part in stream.output()]
        assert await stream.wait() == Exit(status=0)
        await stream.write(b"nobody reads this")
    assert parts == [(False, b"out\n"), (True, b"err\n"), (False, b"line one\n")]
    assert agent.calls["ATTACH_CONTAINER_INPUT"][1:] == records_of(recorded("12_attach_input_empty_stdin_is_eof.request"))[1:]


async def test_the_task_of_a_pod_is_inside_the_pods_container(backend: MesosBackend) -> None:
    """The ids nest as in the recording."""
    theirs = records_of(recorded("pod_01_launch_session_tty.request"))[0]["launch_nested_container_session"]["container_id"]
    pod = theirs["parent"]["parent"]["value"]
    async with Agent(PIPE).serve() as agent, backend.start(target_at(agent.port, pod), spec_for("true")) as stream:
        assert stream.container == CID
    ours = agent.calls["LAUNCH_NESTED_CONTAINER_SESSION"][0]["launch_nested_container_session"]["container_id"]
    assert ours["parent"] == {"value": CID, "parent": {"value": pod}}


async def test_leaving_closes_the_connection_that_keeps_the_session_alive(backend: MesosBackend) -> None:
    """The agent ends a session whose launch connection closes: that is the clean-up."""
    async with Agent(TTY, input_records=99).serve() as agent:
        async with backend.start(target_at(agent.port), spec_for(None, pty=PTY)):
            pass
        await agent.launch_closed.wait()
        assert await backend.reap(target_at(agent.port), spec_for(None))


@pytest.mark.parametrize(
    ("wait", "containers", "expected"),
    [
        (recorded("43_wait_after_kill.response"), ok(CONTAINERS), Exit(status=143)),
        (KILLED, ok(CONTAINERS), Exit(status=137)),
        (KILLED, ok(NO_CONTAINERS), Exit(status=137, container_gone=True)),
        (recorded("53_error_wait_unknown.response"), ok(NO_CONTAINERS), Exit(status=137, container_gone=True)),
        (recorded("53_error_wait_unknown.response"), ok(CONTAINERS), None),
    ],
)
async def test_how_it_ended(backend: MesosBackend, wait: bytes, containers: bytes, expected: Exit | None) -> None:
    """Killed alone, killed with its task, or unknown, which is an error and never 0."""
    answers = {**PIPE, "WAIT_NESTED_CONTAINER": wait, "GET_CONTAINERS": containers}
    async with Agent(answers).serve() as agent, backend.start(target_at(agent.port), spec_for("true")) as stream:
        assert [part.data async for part in stream.output()]
        if expected is None:
            with pytest.raises(ContainerUnavailable, match="exit status"):
                await stream.wait()
        else:
            assert await stream.wait() == expected


@pytest.mark.parametrize("call", ["WAIT_NESTED_CONTAINER", "GET_CONTAINERS"])
async def test_an_answer_without_end_is_not_taken_into_memory(call: str) -> None:
    """It is the agent's fault, and nobody else's process pays for it."""
    answers = {**PIPE, "WAIT_NESTED_CONTAINER": KILLED} | {call: ok(b'{"more":"' + b"x" * 3_000_000 + b'"}')}
    backend = MesosBackend(EngineLimits(body=1_000_000))
    async with Agent(answers).serve() as agent, backend.start(target_at(agent.port), spec_for("true")) as stream:
        assert [part.data async for part in stream.output()]
        with pytest.raises(ContainerUnavailable, match="more than 1000000 bytes"):
            await stream.wait()
    await backend.aclose()


@pytest.mark.parametrize(
    ("answer", "notice"),
    [
        (recorded("51_error_unknown_parent.response"), "the container is gone"),
        (recorded("403_disabled.response"), "the agent agent-2 does not allow sessions in its containers"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "the container engine of agent-2 does not answer"),
        (b"SSH-2.0\r\n", "the container engine of agent-2 does not answer"),
    ],
)
async def test_a_launch_that_fails_is_one_notice(backend: MesosBackend, answer: bytes, notice: str) -> None:
    """The operator reads the agent's words, the person one line."""
    async with Agent({"LAUNCH_NESTED_CONTAINER_SESSION": answer}).serve() as agent:
        with pytest.raises(ContainerUnavailable, match="agent-2") as caught:
            await backend.start(target_at(agent.port), spec_for("true")).__aenter__()
    assert caught.value.notice == notice


async def test_output_that_is_cut_inside_a_record_is_an_error(backend: MesosBackend) -> None:
    """Neither the output nor a status passes for whole."""
    cut = recorded("11_launch_session_pipe.response").replace(b"0\r\n\r\n", b"5\r\n99\n{}\r\n0\r\n\r\n")
    answers = {**PIPE, "LAUNCH_NESTED_CONTAINER_SESSION": cut}
    async with Agent(answers).serve() as agent, backend.start(target_at(agent.port), spec_for("true")) as stream:
        with pytest.raises(ContainerUnavailable, match="record"):
            _ = [part async for part in stream.output()]
        with pytest.raises(ContainerUnavailable, match="record"):
            await stream.wait()
        with pytest.raises(InvalidRequest):
            await stream.signal("NOPE")
