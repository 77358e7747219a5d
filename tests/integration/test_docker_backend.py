"""Commands in real containers, over every way to an engine."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from octopus.core.errors import ContainerUnavailable, InvalidRequest
from octopus.core.types import EngineAddress, ExecSpec, Exit, Target
from octopus.demo.images import SHELLLESS
from octopus.engine.backend import DockerBackend
from tests.contracts import PTY, ExecBackendContract, run_to_end, spec_for
from tests.parts.engines import Engine
from tests.parts.proxy import in_front_of
from tests.parts.sshd import Sshd
from tests.parts.transports import ALONE, TRANSPORTS, reached, ssh_address, target_of

MIB = 1024 * 1024


@pytest.fixture
async def backend() -> AsyncIterator[DockerBackend]:
    """A backend with its default limits."""
    backend = DockerBackend()
    yield backend
    await backend.aclose()


@pytest.fixture
def container(docker_engine: Engine) -> Iterator[str]:
    """A container with a shell."""
    with docker_engine.container(host_config=ALONE) as container:
        yield container


@pytest.fixture
def target(container: str, docker_engine: Engine) -> Target:
    """The target of that container."""
    return target_of(container, docker_engine.address)


@pytest.fixture(params=TRANSPORTS)
def anywhere(request: pytest.FixtureRequest) -> Iterator[Target]:
    """A container with a shell, behind each kind of transport in turn."""
    engine, address = reached(request)
    with engine.container(host_config=ALONE) as container:
        yield target_of(container, address)


class TestDockerBackend(ExecBackendContract):
    """The Docker backend over a unix socket keeps the contract."""

    @pytest.fixture
    def exec_backend(self, backend: DockerBackend) -> DockerBackend:
        """The real one."""
        return backend

    @pytest.fixture
    def exec_target(self, target: Target) -> Target:
        """A real container."""
        return target

    @pytest.fixture
    def end_container(self, docker_engine: Engine, container: str) -> Callable[[], None]:
        """Kills the container."""

        def end() -> None:
            with docker_engine.api() as api:
                api.kill(container)

        return end


class TestAnOldEngine(TestDockerBackend):
    """API 1.24 takes no environment for an exec: a shell in the container sets it."""

    @pytest.fixture
    async def backend(self) -> AsyncIterator[DockerBackend]:
        """A backend that speaks 1.24."""
        backend = DockerBackend(newest=(1, 24))
        yield backend
        await backend.aclose()


async def test_half_close_ends_the_command_over_every_transport(backend: DockerBackend, anywhere: Target) -> None:
    """``wc -c`` counts every byte sent and ends, its output whole."""
    data = os.urandom(5 * MIB)
    out, _, exit = await run_to_end(backend, anywhere, spec_for("wc -c"), data)
    assert (out, exit) == (f"{len(data)}\n".encode(), Exit(status=0))


async def test_binary_data_is_the_same_on_the_way_back_over_every_transport(backend: DockerBackend, anywhere: Target) -> None:
    """64 MiB go through ``cat`` and come back with the same SHA-256."""
    sent, received = hashlib.sha256(), hashlib.sha256()
    block = os.urandom(MIB)

    async with backend.start(anywhere, spec_for("cat")) as stream, asyncio.TaskGroup() as tasks:

        async def send() -> None:
            for _ in range(64):
                sent.update(block)
                await stream.write(block)
            await stream.write_eof()

        tasks.create_task(send())
        async for part in stream.output():
            received.update(part.data)
        assert (await stream.wait()).status == 0
    assert received.hexdigest() == sent.hexdigest()


async def test_a_terminal_works_over_every_transport(backend: DockerBackend, anywhere: Target) -> None:
    """A login shell with the right size, and the status it was left with."""
    async with backend.start(anywhere, spec_for(None, pty=PTY)) as stream:
        await stream.write(b"stty size; echo $TERM; exit 3\n")
        out = b"".join([part.data async for part in stream.output()])
        assert (b"45 123\r\nvt220\r\n" in out, await stream.wait()) == (True, Exit(status=3))


async def test_a_slow_reader_stops_the_container_and_not_our_memory(backend: DockerBackend, anywhere: Target) -> None:
    """A container that floods for as long as it likes is read only as fast as the reader reads."""
    async with backend.start(anywhere, spec_for("yes")) as stream:
        output = stream.output()
        await anext(output)
        await asyncio.to_thread(_first_seconds_of_flood)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(40):
            await anext(output)
            await asyncio.to_thread(_first_seconds_of_flood)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
        await output.aclose()  # type: ignore[attr-defined]


def _first_seconds_of_flood() -> None:
    """Give a flood the time of some work elsewhere to pile up in."""
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000)


@pytest.mark.parametrize(
    ("command", "status"),
    [("true", 0), ("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("/no/such/program", 127), ("/etc/passwd", 126)],
)
async def test_the_status_is_the_commands_own(backend: DockerBackend, target: Target, command: str, status: int) -> None:
    """By exit, by signal, and where the shell could not start it."""
    _, _, exit = await run_to_end(backend, target, spec_for(command))
    assert exit == Exit(status=status)


async def test_a_start_that_fails_says_so_in_band(backend: DockerBackend, target: Target) -> None:
    """The engine's own words and 126 for a user that does not exist."""
    out, err, exit = await run_to_end(backend, target, spec_for("true", user="nobody-at-all"))
    assert (exit.status, b"nobody-at-all" in out + err) == (126, True)


async def test_control_p_is_the_programs(backend: DockerBackend, target: Target) -> None:
    """^P arrives at once, and ^P ^Q does not cut the session."""
    async with backend.start(target, spec_for("stty raw -echo; echo ready; exec dd bs=1 count=3 2>/dev/null", pty=PTY)) as stream:
        output = stream.output()
        received = (await anext(output)).data
        for key in (b"\x10", b"\x11", b"x"):
            await stream.write(key)
            received = b""
            while key not in received:
                received += (await anext(output)).data
        assert [part async for part in output] == []
        assert await stream.wait() == Exit(status=0)


async def test_the_environment_is_the_containers_and_ours(backend: DockerBackend, target: Target) -> None:
    """LANG and the token are set, the client's LC_* wins, TERM only with a terminal."""
    spec = spec_for('echo "$LANG|$LC_ALL|$OCTOPUS_SESSION|$TERM|$PATH"')
    spec = ExecSpec(command=spec.command, pty=None, env={"LC_ALL": "de_DE.UTF-8"}, user="", token=spec.token)
    out, _, _ = await run_to_end(backend, target, spec)
    assert out.decode() == f"C.UTF-8|de_DE.UTF-8|{spec.token}||/usr/sbin:/usr/bin:/sbin:/bin\n"


async def test_a_command_outlives_its_input_and_its_output(backend: DockerBackend, target: Target) -> None:
    """Its status is waited for when it has closed everything, too."""
    _, _, exit = await run_to_end(backend, target, spec_for("exec >&- 2>&- <&-; sleep 3; exit 9"))
    assert exit == Exit(status=9)


async def test_the_user_of_the_rule_runs_it(backend: DockerBackend, target: Target) -> None:
    """By name, and by uid and gid."""
    assert (await run_to_end(backend, target, spec_for("id -un", user="app")))[0] == b"app\n"
    assert (await run_to_end(backend, target, spec_for("id -u; id -g", user="1000:33")))[0] == b"1000\n33\n"


async def test_a_session_does_not_touch_another(backend: DockerBackend, docker_engine: Engine, target: Target) -> None:
    """A sweep ends its own session's processes; another's, and the container's, run on."""
    async with backend.start(target, spec_for("echo ready; cat; exit 5")) as other:
        output = other.output()
        await anext(output)
        await run_to_end(backend, target, spec_for("sleep 1000 & :"))
        assert left(docker_engine, target) == ["/bin/sh -c echo ready; cat; exit", "/bin/sleep 2147483647", "cat"]
        await other.write_eof()
        assert [part async for part in output] == []
        assert await other.wait() == Exit(status=5)


def left(engine: Engine, target: Target) -> list[str]:
    """What runs in the container, each line cut as ps does, dead children that nobody waits for left out."""
    return sorted(line[:32] for line in engine.processes(target.clue.engine_id) if "<defunct>" not in line)


STUBBORN = {
    "background children": "sleep 1001 & sleep 1002 & echo ready; cat; sleep 1003",
    "sessions of their own": "setsid sleep 1001 & echo ready; setsid sleep 1003",
    "a cleared environment": "env -i sleep 1001 & echo ready; sleep 1003",
    "a loop that ignores hang-ups": "trap '' HUP TERM; echo ready; while :; do sleep 1; done",
    "stopped": "sleep 1001 & kill -STOP $!; echo ready; kill -STOP $$",
}


@pytest.mark.parametrize("command", STUBBORN.values(), ids=STUBBORN.keys())
@pytest.mark.parametrize("pty", [None, PTY], ids=["pipe", "tty"])
@pytest.mark.parametrize("ending", ["leave", "error", "cancel"])
async def test_nothing_is_left_however_it_ends(
    backend: DockerBackend, docker_engine: Engine, target: Target, command: str, pty: object, ending: str
) -> None:
    """Background children, setsid, cleared environments, ignored signals, stopped jobs: none survives the session."""
    spec = spec_for(command, pty=PTY if pty else None)

    async def session(started: asyncio.Event) -> None:
        async with backend.start(target, spec) as stream:
            await anext(stream.output())
            started.set()
            if ending == "error":
                raise EOFError
            if ending == "cancel":
                await asyncio.Event().wait()

    task = asyncio.create_task(session(started := asyncio.Event()))
    await started.wait()
    if ending == "cancel":
        task.cancel()
    await asyncio.wait({task})
    assert left(docker_engine, target) == ["/bin/sleep 2147483647"]
    assert (
        type(task.exception() if not task.cancelled() else asyncio.CancelledError())
        is {
            "leave": type(None),
            "error": EOFError,
            "cancel": asyncio.CancelledError,
        }[ending]
    )


async def test_an_idle_shell_of_another_user_is_ended_by_reap(docker_engine: Engine, target: Target) -> None:
    """What a killed worker left is ended by whoever takes over, with a backend of its own."""
    spec = spec_for(None, pty=PTY, user="app", keep_background=True)
    first, second = DockerBackend(), DockerBackend()
    async with first.start(target, spec) as stream:
        await anext(stream.output())
    assert left(docker_engine, target) == ["/bin/sh", "/bin/sleep 2147483647"]
    assert await second.reap(target, spec)
    assert left(docker_engine, target) == ["/bin/sleep 2147483647"]
    await first.aclose()
    await second.aclose()


async def test_a_rule_may_keep_background_jobs(backend: DockerBackend, docker_engine: Engine, target: Target) -> None:
    """With ``keep_background`` nothing is ended."""
    await run_to_end(backend, target, spec_for("sleep 1001 >/dev/null 2>&1 &", keep_background=True))
    assert left(docker_engine, target) == ["/bin/sleep 2147483647", "sleep 1001"]


async def test_a_cancelled_clean_up_goes_on_and_aclose_waits_for_it(docker_engine: Engine, target: Target) -> None:
    """Cancelled twice, while it starts and while it cleans: nothing is left once the backend is closed."""
    backend = DockerBackend()

    async def session(started: asyncio.Event) -> None:
        async with backend.start(target, spec_for("trap '' HUP TERM; echo ready; while :; do sleep 1; done")) as stream:
            await anext(stream.output())
            started.set()

    task = asyncio.create_task(session(started := asyncio.Event()))
    await started.wait()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    await backend.aclose()
    assert left(docker_engine, target) == ["/bin/sleep 2147483647"]


async def test_a_container_without_a_shell(backend: DockerBackend, docker_engine: Engine) -> None:
    """A program runs by its path; a shell, or what only a shell could run, gets a clear word."""
    with docker_engine.container(image=SHELLLESS, host_config=ALONE) as container:
        target = target_of(container, docker_engine.address)
        out, _, exit = await run_to_end(backend, target, spec_for("/cat '/proc/self/comm'"))
        assert (out, exit.status) == (b"cat\n", 0)
        for spec in (spec_for(None, pty=PTY), spec_for("cat x"), spec_for("/cat x | /cat"), spec_for("/cat 'x")):
            with pytest.raises(InvalidRequest, match="no shell") as caught:
                await backend.start(target, spec).__aenter__()
            assert "no shell" in caught.value.notice
        async with backend.start(target, spec_for("/cat", pty=PTY)) as stream:
            assert stream.container == container
        assert not await backend.reap(target, spec_for("/cat"))


async def test_a_paused_container_is_refused(backend: DockerBackend, docker_engine: Engine, target: Target, container: str) -> None:
    """It would hang: the person is told instead."""
    with docker_engine.api() as api:
        api.pause(container)
        with pytest.raises(ContainerUnavailable) as caught:
            await backend.start(target, spec_for("true")).__aenter__()
        api.unpause(container)
    assert caught.value.notice == "the container is paused"


async def test_a_removed_container_ends_the_session(backend: DockerBackend, docker_engine: Engine, target: Target, container: str) -> None:
    """Removed by force in mid-session: 137, and gone."""
    async with backend.start(target, spec_for(None, pty=PTY)) as stream:
        output = stream.output()
        await anext(output)
        with docker_engine.api() as api:
            await asyncio.get_running_loop().run_in_executor(None, functools.partial(api.remove_container, container, force=True))
        async for _ in output:
            pass
        assert await stream.wait() == Exit(status=137, container_gone=True)


async def test_the_host_key_must_be_known(backend: DockerBackend, docker_engine: Engine, sshd: Sshd, tmp_path: Path) -> None:
    """An agent with another host key, or none configured, is not entered."""
    other = tmp_path / "known_hosts"
    other.write_text(f"[{sshd.host}]:{sshd.port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGNvbXBsZXRlbHlfd3JvbmdfaG9zdF9rZXlfMDAw\n")
    good = ssh_address(docker_engine, sshd)
    for known_hosts in (str(other), "", str(tmp_path / "none")):
        address = EngineAddress(url=good.url, ssh_key=good.ssh_key, ssh_known_hosts=known_hosts)
        with pytest.raises(ContainerUnavailable, match="agent-1"):
            await backend.start(target_of("c0ffee", address), spec_for("true")).__aenter__()


async def test_a_tunnel_that_died_is_dug_again(
    backend: DockerBackend, docker_engine: Engine, container: str, sshd: Sshd, tmp_path: Path
) -> None:
    """The session on a cut SSH connection fails; the next one connects anew."""
    async with in_front_of(f"tcp://{sshd.host}:{sshd.port}").serve() as proxy:
        known_hosts = tmp_path / "known_hosts"
        known_hosts.write_text(sshd.known_hosts.read_text().replace(f":{sshd.port}", f":{proxy.port}"))
        direct = ssh_address(docker_engine, sshd)
        url = direct.url.replace(f":{sshd.port}", f":{proxy.port}")
        target = target_of(container, EngineAddress(url=url, ssh_key=direct.ssh_key, ssh_known_hosts=str(known_hosts)))
        async with backend.start(target, spec_for("echo ready; sleep 1000")) as stream:
            output = stream.output()
            await anext(output)
            proxy.cut()
            with pytest.raises(ContainerUnavailable, match="SSH connection"):
                await anext(output)
        assert left(docker_engine, target) == ["/bin/sleep 2147483647"]
        assert (await run_to_end(backend, target, spec_for("echo again")))[0] == b"again\n"


async def test_a_stranger_engine_is_not_trusted(backend: DockerBackend, two_tls_engines: tuple[Engine, Engine], tmp_path: Path) -> None:
    """Without the CA, with another CA, or under another name than the certificate's, no command is sent."""
    one, _ = two_tls_engines
    good = one.address
    renamed = good.url.replace("127.0.0.2", "localhost.localdomain")
    for address in (
        EngineAddress(url=good.url, tls_cert=good.tls_cert, tls_key=good.tls_key),
        EngineAddress(url=good.url, tls_ca=good.tls_cert, tls_cert=good.tls_cert, tls_key=good.tls_key),
        EngineAddress(url=good.url, tls_ca=good.tls_ca),
        EngineAddress(url=renamed, tls_ca=good.tls_ca, tls_cert=good.tls_cert, tls_key=good.tls_key),
    ):
        with pytest.raises(ContainerUnavailable, match="agent-1"):
            await backend.start(target_of("c0ffee", address), spec_for("true")).__aenter__()
