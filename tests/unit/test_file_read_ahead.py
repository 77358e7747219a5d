"""What a session is answered from attributes that were read ahead, and what it is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import pytest

from octopus.core.errors import ContainerUnavailable
from octopus.core.files import FileAttributes, FileDenied
from octopus.engine.file_read_ahead import Found, ReadAhead

FOLDER = b"/many"
NAMES = [b"f%d" % number for number in range(200)]
LINK, FILE = 0o120777, 0o100644


class Container:
    """One directory, which counts what it is asked for; every question takes the client ``pace`` seconds more."""

    def __init__(self, *, names: Sequence[bytes] = NAMES, pace: float = 0.0001, most_names: int = 1000) -> None:
        self.now = 100.0
        self.pace = pace
        self.modes = dict.fromkeys(names, FILE)
        self.asked: list[list[bytes]] = []
        self.error: Exception | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.ahead = ReadAhead(self.look, lambda: self.now, fresh=0.04, most=8, names=most_names)
        self.ahead.listing(FOLDER + b"/")
        self.ahead.listed(FOLDER, names)

    async def look(self, folder: bytes, names: Sequence[bytes]) -> Mapping[bytes, Found]:
        """Answer a batch."""
        assert folder == FOLDER
        self.asked.append(list(names))
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        found = {name: Found(b"/real/" + name, attributes(self.modes[name])) for name in names if name in self.modes}
        self.meanwhile()
        return found

    async def find(self, name: bytes, *, follow: bool = False, folder: bytes = FOLDER) -> int | None:
        """Ask for one; return its mode where it was read ahead."""
        self.now += self.pace
        found = await self.ahead.find(folder + b"/" + name, follow=follow)
        assert found is None or found.path == b"/real/" + name
        return found.attributes.mode if found else None

    async def found(self, names: Sequence[bytes]) -> list[bytes]:
        """Ask for one after another; return those that were read ahead."""
        return [name for name in names if await self.find(name) is not None]


def attributes(mode: int) -> FileAttributes:
    """Attributes with this mode."""
    return FileAttributes(mode=mode, size=0, uid=0, gid=0, atime=0, mtime=0)


async def test_a_row_is_answered_in_batches() -> None:
    """From the second on, each name is asked for once, and no batch is larger than it may be."""
    container = Container()
    assert await container.found(NAMES) == NAMES[1:]
    asked = [name for batch in container.asked for name in batch]
    assert asked == NAMES[1:]
    assert max(map(len, container.asked)) == 8
    await container.ahead.aclose()


@pytest.mark.parametrize("order", [NAMES[::-1], NAMES[::2], NAMES[:1] * 9, [b"strange"] * 9, [b"", b".", b".."] * 3])
async def test_whoever_asks_in_another_order_causes_no_batch(order: Sequence[bytes]) -> None:
    """It would be read for nothing."""
    container = Container()
    assert await container.found(order) == []
    assert container.asked == []


async def test_a_row_may_begin_anywhere_and_anew() -> None:
    """Also where the one before was left off."""
    container = Container()
    assert await container.found(NAMES[50:60]) == NAMES[51:60]
    assert await container.found(NAMES[10:20]) == NAMES[11:20]
    assert await container.find(NAMES[20], folder=b"/other") is None


async def test_what_is_too_old_is_asked_anew() -> None:
    """A client that pauses is told what is there after the pause."""
    container = Container()
    await container.found(NAMES[:3])
    container.modes = dict.fromkeys(NAMES, 0o100600)
    assert await container.find(NAMES[3]) == FILE
    container.now += 0.04
    assert await container.find(NAMES[4]) is None
    assert await container.find(NAMES[5]) == 0o100600


@pytest.mark.parametrize(("pace", "most"), [(0.0001, 8), (0.0039, 5), (0.009, 2), (0.011, 0), (1.0, 0)])
async def test_a_slow_client_is_read_ahead_less_for(pace: float, most: int) -> None:
    """No more than it asks for while the answers hold."""
    container = Container(pace=pace)
    await container.found(NAMES)
    assert max(map(len, container.asked), default=0) == most


async def test_what_a_batch_cannot_tell_is_asked_by_itself() -> None:
    """A link to be followed, a name that is gone, one that a shell needs a process for; those after them are answered."""
    names = [b"a", b"b", b"link", b"gone", b"new\nline", b"\xff", b"c\\", b"z"]
    for follow, link in ((True, None), (False, LINK)):
        container = Container(names=names)
        container.modes[b"link"] = LINK
        del container.modes[b"gone"]
        told = [await container.find(name, follow=follow) for name in names]
        assert told == [None, FILE, link, None, None, None, None, FILE]
        assert [name for batch in container.asked for name in batch] == [b"b", b"link", b"gone", b"z"]


async def test_a_change_of_the_session_drops_everything() -> None:
    """What was read before it, what is being read when it begins, and nothing is read while it is under way."""
    container = Container()
    assert await container.found(NAMES[:3]) == NAMES[1:3]
    with container.ahead.changing():
        assert await container.found(NAMES[3:9]) == []
    assert await container.found(NAMES[9:12]) == NAMES[10:12]
    container = Container()
    container.meanwhile = container.ahead.drop
    assert await container.found(NAMES[:3]) == []


@pytest.mark.parametrize("error", [FileDenied(), ContainerUnavailable("gone")])
async def test_a_batch_that_fails_is_the_last(error: Exception) -> None:
    """Whoever asks for one of its names by itself is told why."""
    container = Container()
    container.error = error
    assert await container.found(NAMES) == []
    assert len(container.asked) == 1


async def test_so_many_names_are_remembered_and_no_more() -> None:
    """A directory of a million names costs no memory that lasts."""
    container = Container(most_names=len(NAMES))
    container.ahead.listed(FOLDER, [b"one more"])
    assert await container.found(NAMES) == []
    container.ahead.listing(b"/other")
    container.ahead.listed(FOLDER, NAMES)
    assert await container.found(NAMES) == []


async def test_nothing_goes_on_after_the_end() -> None:
    """A batch that is under way is given up."""
    container = Container()
    await container.found(NAMES[:7])
    await container.ahead.aclose()
    assert await container.found(NAMES[7:]) == []
