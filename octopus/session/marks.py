"""What else passes on a connection, marked in the recordings of its terminals: files and forwarded ports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from octopus.core.errors import RecordingUnavailable, printable
from octopus.core.types import Mark
from octopus.session.recorder import SessionRecorder

_MARKED = ("file.", "directory.", "forward.")
_NAMES = ("path", "asked", "new_path", "to", "destination", "size", "reason")
"""What of an event stands in its mark, in this order."""


class Marks:
    """The recorders of each connection's terminals."""

    def __init__(self) -> None:
        self._recorders: defaultdict[str, dict[str, SessionRecorder]] = defaultdict(dict)

    @contextmanager
    def kept(self, connection: str, session: str, recorder: SessionRecorder) -> Iterator[None]:
        """Have what passes on the connection marked in this session's recording meanwhile."""
        self._recorders[connection][session] = recorder
        try:
            yield
        finally:
            del self._recorders[connection][session]
            if not self._recorders[connection]:
                del self._recorders[connection]

    async def note(self, connection: str, session: str, event: str, data: Mapping[str, Any]) -> None:
        """Mark an event of another session, where it is of files or ports."""
        if not event.startswith(_MARKED) or connection not in self._recorders:
            return
        told = " ".join(printable(str(data[name])) for name in _NAMES if data.get(name) not in (None, ""))
        for recorder in list(self._recorders[connection].values()):
            # A terminal whose recording fails ends by itself.
            with suppress(RecordingUnavailable):
                await recorder.write(Mark(text=f"{event} {told} [{session}]"))
