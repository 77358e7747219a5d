"""Deadlines and sizes of what an engine may cost us, and the one way a failed step is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from octopus.core.errors import BadUpstream, ContainerUnavailable, printable


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """Limits for one engine. Times in seconds, sizes in bytes."""

    connect: float = 5.0
    """To connect, with the TLS or SSH handshake."""
    call: float = 10.0
    """For one API call, waiting for a thread included."""
    start: float = 15.0
    """From the request to start a command to the engine's answer."""
    reap: float = 15.0
    """To end what a session left in its container."""
    exit: float = 60.0
    """How long a command may run on after its output has ended; then the connection counts as lost."""
    idle: float = 60.0
    """After this long without use threads and connections are released."""
    threads: int = 4
    """API calls in flight."""
    body: int = 16 * 1024 * 1024
    """The largest answer to an API call: a list of containers."""
    read: int = 256 * 1024
    """The most output taken from the engine at once."""


@dataclass(frozen=True, kw_only=True)
class FileLimits:
    """Limits of one file session. Times in seconds, sizes in bytes."""

    call: float = 60.0
    """For one operation; the blocks of large files are one each."""
    leave: float = 5.0
    """For the helpers to tidy up and end."""
    shells: int = 3
    """Helper shells at once."""
    block: int = 4 * 1024 * 1024
    """The most that one operation reads or writes."""
    bulk: int = 16 * 1024 * 1024
    """So much of a file in a row is worth a helper of its own for the rest of it."""
    stretch: int = 64 * 1024 * 1024
    """The most that such a helper is asked for at once: when its client leaves off, it still sends up to two of these."""
    streams: int = 2
    """Such helpers at once."""
    small: int = 256 * 1024
    """Files up to here are read, or written, together with opening or closing them."""
    names: int = 500_000
    """The most names of a directory, where there is no shell."""
    entries: int = 512
    """Names in a batch."""
    ahead: int = 64
    """Names whose attributes are read at once for who asks for one after another."""
    fresh: float = 0.04
    """How old what was read ahead may be: as long as an answer is on its way from another town."""
    listed: int = 20_000
    """Names of a listed directory that are remembered for that, of one directory; about 60 bytes each."""
    answer: int = 64 * 1024 * 1024
    """The largest answer of one operation: a directory of half a million names."""
    spool: int = 8 * 1024 * 1024 * 1024
    """The largest file that can pass to or from a container without a shell: it needs a copy here meanwhile."""
    spool_directory: str = ""
    """Where that copy is; "": the usual place for temporary files."""
    scan: int = 4 * 1024 * 1024 * 1024
    """The most that is read of a directory's archive to list it, where there is no shell."""
    read: int = 256 * 1024
    """The most taken from the engine at once."""


def unavailable(agent: str, step: str, why: object) -> ContainerUnavailable:
    """Return the error of an engine that failed at ``step``: one line for the person, the cause for the operator."""
    text = (why.strerror if isinstance(why, OSError) else "") or str(why) or type(why).__name__
    return ContainerUnavailable(
        f"engine of {printable(agent)}: {step}: {printable(text)}",
        notice=f"the container engine of {agent} does not answer",
    )


@contextmanager
def faults(agent: str, step: str) -> Iterator[None]:
    """Tell whatever a broken connection or a wrong answer raises as ContainerUnavailable."""
    try:
        yield
    except (OSError, EOFError, BadUpstream) as error:
        raise unavailable(agent, step, error) from error


@asynccontextmanager
async def deadline(agent: str, step: str, seconds: float) -> AsyncIterator[None]:
    """Give a step its time; raise ContainerUnavailable when it is over or fails."""
    with faults(agent, step):
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise unavailable(agent, step, f"no answer within {seconds:g} s") from error
