"""One forwarded connection from what was asked to its close: on the record as open before a byte passes, and as closed after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from octopus.control.plane import Admission
from octopus.core.errors import AccessDenied, AuditUnavailable, Disconnected, InvalidRequest, OctopusError, SessionEnded, printable
from octopus.core.forwarding import side
from octopus.core.ports import ForwardBackend, ForwardStream
from octopus.core.types import Connection, Value
from octopus.session.forward_channel import ForwardClient
from octopus.session.relay import Traffic
from octopus.session.watch import Watch, together

Record = Callable[[str, str, dict[str, Any], str], Awaitable[None]]
"""Writes an event of the session: its name, its key within the session, what it adds, and the container ("" for none)."""

_log = structlog.get_logger(__name__)


class Asked(Value, frozen=True, kw_only=True):
    """A destination as the client named it; ``number`` is the connection's own within its session."""

    host: str
    port: int
    number: int

    @property
    def shown(self) -> str:
        """The destination as the trail tells it."""
        return f"{printable(self.host)}:{self.port}"


class Forward:
    """One connection. ``opened`` holds None once the client may be told so, or why not."""

    def __init__(self, asked: Asked, client: ForwardClient, record: Record, watch: Watch, traffic: Traffic) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked = asked
        self._client = client
        self._record = record
        self._watch = watch
        self._session = traffic
        self._traffic = Traffic()

    async def run(self, admission: Admission, connection: Connection, backend: ForwardBackend) -> None:
        """Connect, pass bytes until both sides are at their end, close. Raises nothing but AuditUnavailable and cancellation."""
        asked = self._asked
        try:
            wanted = side(asked.host, asked.port, admission.target, connection.user_name)
            async with backend.connect(admission.target, admission.allow, wanted, asked.port, asked.number) as stream:
                await self._pass(stream)
        except (AccessDenied, InvalidRequest) as error:
            await self._refused(error)
        except AuditUnavailable as error:
            self._tell(error)
            raise
        except OctopusError as error:
            _log.info("forwarded connection failed", destination=asked.shown, error=str(error))
            self._tell(error)
        except Exception as error:
            _log.exception("forwarded connection failed with a bug", destination=asked.shown)
            self._tell(error)
        finally:
            self._client.abort()
            self._tell(SessionEnded("over", notice="this session has ended"))

    async def _pass(self, stream: ForwardStream) -> None:
        named = {"destination": self._asked.shown, "resolved": stream.address}
        why = "the session ended"
        begun = asyncio.get_running_loop().time()
        opened = asyncio.ensure_future(self._record("forward.opened", f"{self._asked.number}/opened", named, stream.container))
        try:
            await asyncio.shield(opened)
            self._tell(None)
            await self._client.made.wait()
            await self._pump(stream)
            why = ""
        except OctopusError as error:
            why = str(error)
            raise
        finally:
            # Also who is cancelled waits for the answer: it may be on the trail, and then its end has to be there too.
            await asyncio.wait([opened])
            if not opened.cancelled() and opened.exception() is None:
                await self._closed(named, why, asyncio.get_running_loop().time() - begun, stream.container)

    async def _closed(self, named: dict[str, Any], why: str, seconds: float, container: str) -> None:
        data: dict[str, Any] = {"bytes_in": self._traffic.inward, "bytes_out": self._traffic.outward, "seconds": round(seconds, 3)}
        data |= {"reason": printable(why)} if why else {}
        await self._record("forward.closed", f"{self._asked.number}/closed", named | data, container)

    async def _pump(self, stream: ForwardStream) -> None:
        async with together() as tasks:
            gone = tasks.create_task(self._gone())
            both = [tasks.create_task(self._inward(stream)), tasks.create_task(self._outward(stream))]
            await asyncio.wait(both)
            gone.cancel()
        await self._client.flush()
        self._client.close()

    async def _inward(self, stream: ForwardStream) -> None:
        while data := await self._client.read():
            self._watch.moved()
            await stream.write(data)
            self._traffic.inward += len(data)
            self._session.inward += len(data)
        await stream.write_eof()

    async def _outward(self, stream: ForwardStream) -> None:
        while data := await stream.read():
            self._watch.moved()
            await self._client.write(data)
            self._traffic.outward += len(data)
            self._session.outward += len(data)
        self._client.write_eof()

    async def _gone(self) -> None:
        await self._client.gone.wait()
        raise Disconnected("the client closed it")

    async def _refused(self, error: OctopusError) -> None:
        _log.info("forwarded connection refused", destination=self._asked.shown, error=str(error))
        data = {"destination": self._asked.shown, "reason": printable(str(error))}
        await self._record("forward.refused", f"refused/{self._asked.shown}", data, "")
        self._tell(error)

    def _tell(self, error: Exception | None) -> None:
        if self.opened.done():
            return
        if error is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(error)
            self.opened.exception()  # looked at, should nobody be left to wait for it
