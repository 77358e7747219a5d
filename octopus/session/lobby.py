"""What is to be had without a target: the picker on a terminal, ``ps`` and ``help`` for scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from octopus.control.plane import Candidate, Plane
from octopus.core.errors import InvalidRequest, NoSuchTarget
from octopus.core.types import Identity, Input, Resize
from octopus.session.listing import HELP, table
from octopus.session.picker import ENTER_SCREEN, LEAVE_SCREEN, Key, KeyDecoder, Picker
from octopus.session.ssh_channel import ClientChannel

CANCELLED = 130
"""Exit status of a picker that was left, as of a command ended by ^C."""
PIECE = 64
"""Bytes of what somebody pasted that are acted on at once: each key may look through all there is to choose from."""


class Lobby:
    """Serves one channel. ``limit`` is how many tasks are fetched at once, ``idle`` and ``escape`` how many seconds the picker
    waits for a key, and for what may follow an Esc."""

    def __init__(
        self,
        plane: Plane,
        identity: Identity,
        channel: ClientChannel,
        *,
        clock: Callable[[], float],
        limit: int = 1000,
        idle: float = 600.0,
        escape: float = 0.1,
    ) -> None:
        self._plane = plane
        self._identity = identity
        self._channel = channel
        self._clock = clock
        self._limit = limit
        self._idle = idle
        self._escape = escape

    async def target(self) -> str:
        """Answer a request without a target; return the task id when one was picked, "" when all is said. Raise InvalidRequest."""
        request = self._channel.request()
        if request.command is None and request.pty:
            return await self.pick("")
        words = (request.command or "").split()
        if words == ["help"]:
            await self._print(HELP)
        elif words and words[0] == "ps" and len(words) <= 2:
            await self._ps(words[1] if len(words) > 1 else "")
        else:
            raise InvalidRequest("no target", notice="a task is missing: ssh TASK@GATEWAY; without one there are 'ps' and 'help'")
        return ""

    async def pick(self, name: str) -> str:
        """Let the person choose among the tasks that fit ``name``; "" when they left. Raise NoSuchTarget, Disconnected."""
        candidates = await self._plane.candidates(self._identity, name, self._limit)
        if not candidates:
            raise NoSuchTarget("nothing to choose from", notice="nothing is running that you may enter")
        size = self._channel.request().pty
        if size is None:
            raise InvalidRequest("a picker needs a terminal")
        picker = Picker(candidates, size.size, now=self._clock(), title=name)
        await self._write(ENTER_SCREEN)
        try:
            left = await self._choose(picker, partial=len(candidates) >= self._limit and not name)
        finally:
            if not self._channel.gone.is_set():
                await self._write(LEAVE_SCREEN)
        if picker.chosen is None:
            await self._channel.exit(CANCELLED)
            return ""
        self._channel.put_back(left)
        return picker.chosen.task

    async def _choose(self, picker: Picker, *, partial: bool) -> bytes:
        """Return what was typed ahead, behind the choice."""
        keys = KeyDecoder()
        while not picker.done:
            await self._write(picker.screen())
            before = picker.query
            await self._act(picker, keys)
            if partial and picker.query != before:
                picker.offer(await self._matching(picker.query))
        return keys.rest

    async def _act(self, picker: Picker, keys: KeyDecoder) -> None:
        """Act on what the person does next; nothing following an Esc, or nothing at all for long, leaves."""
        typed = b""
        try:
            async with asyncio.timeout(self._escape if keys.waiting else self._idle):
                event = await self._channel.next_event()
        except TimeoutError:
            picker.cancelled = not keys.waiting
            _press(picker, keys.flush())
        else:
            match event:
                case Input(data=data):
                    typed = data
                case Resize(size=size):
                    picker.size = size
                case _:  # no more input, or a signal
                    picker.cancelled = True
        for start in range(0, len(typed), PIECE):
            _press(picker, keys.each(typed[start : start + PIECE]))
            if picker.done:
                self._channel.put_back(typed[start + PIECE :])
                return
            await asyncio.sleep(0)  # other sessions of this process have their turn

    async def _matching(self, query: str) -> tuple[Candidate, ...]:
        # The control plane searches by its own rule; the picker narrows what it is given further, by every word.
        return await self._plane.candidates(self._identity, max(query.split(), key=len, default=""), self._limit)

    async def _ps(self, pattern: str) -> None:
        candidates = await self._plane.candidates(self._identity, pattern, self._limit)
        if not candidates:
            raise NoSuchTarget(f"nothing for {pattern!r}", notice="nothing is running that you may enter and that fits")
        await self._print(table(candidates, self._clock()))

    async def _print(self, text: str) -> None:
        await self._write(text.replace("\n", "\r\n") if self._channel.pty else text)
        await self._channel.exit(0)

    async def _write(self, text: str) -> None:
        await self._channel.write(text.encode())


def _press(picker: Picker, pressed: Iterable[Key | str]) -> None:
    for key in pressed:
        picker.press(key)
        if picker.done:
            return
