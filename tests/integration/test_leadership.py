"""One of several gateways leads: by a lock on a file, and by a node in a real ZooKeeper."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import NoAuthError

from octopus.core.unique_actions import Lead
from octopus.fleet.leadership import FileLeadership, Leadership
from octopus.fleet.zookeeper_leadership import ZooKeeperLeadership
from tests.parts.zookeeper import ZooKeeper


@contextlib.asynccontextmanager
async def closing(*held: Leadership) -> AsyncIterator[None]:
    """Let go of all at the end."""
    try:
        yield
    finally:
        for one in held:
            await one.aclose()


async def until_leads(leadership: Leadership) -> Lead:
    """Return its lead, once it has it."""
    async with asyncio.timeout(60):
        while not (found := await leadership.lead()).mine:  # noqa: ASYNC110  the holder is another process
            await asyncio.sleep(0.05)
        return found


async def change_of_hands(first: Leadership, second: Leadership) -> None:
    """One leads, the other knows who; when it resigns the other may. The second is closed."""
    assert await first.lead() == Lead(mine=True, who="gw-1")
    assert await first.lead() == Lead(mine=True, who="gw-1")
    assert await second.lead() == Lead(mine=False, who="gw-1")
    await second.resign()
    assert await first.lead() == Lead(mine=True, who="gw-1")
    await first.resign()
    await first.resign()
    assert await second.lead() == Lead(mine=True, who="gw-2")
    assert await first.lead() == Lead(mine=False, who="gw-2")
    await second.aclose()
    assert await until_leads(first) == Lead(mine=True, who="gw-1")


async def test_a_file_changes_hands(tmp_path: Path) -> None:
    """Within one directory, which is made where there is none."""
    first, second = (FileLeadership(tmp_path / "run" / "unique.lock", name) for name in ("gw-1", "gw-2"))
    async with closing(first):
        await change_of_hands(first, second)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("other_came", [False, True])
async def test_a_file_that_was_taken_away_is_no_lead(tmp_path: Path, other_came: bool) -> None:
    """Of two gateways one leads at any time, also where somebody cleared the directory: the one that locks the file there is."""
    path = tmp_path / "leader"
    first, second = FileLeadership(path, "gw-1"), FileLeadership(path, "gw-2")
    async with closing(first, second):
        assert (await first.lead()).mine
        path.unlink()
        if other_came:
            assert (await second.lead()).mine
            assert await first.lead() == Lead(mine=False, who="gw-2")
        else:
            assert (await first.lead()).mine
            assert await second.lead() == Lead(mine=False, who="gw-1")


async def test_a_file_that_cannot_be_is_no_lead(tmp_path: Path) -> None:
    """Who cannot tell does not lead."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "lock", tmp_path):
        lead = await FileLeadership(path, "gw").lead()
        assert not lead.mine
        assert str(path) in lead.problem


async def test_the_file_of_a_gateway_that_was_killed_is_free(tmp_path: Path) -> None:
    """The kernel lets go for it."""
    path = tmp_path / "unique.lock"
    code = (
        "import asyncio, sys, time\nfrom pathlib import Path\nfrom octopus.fleet.leadership import FileLeadership\n"
        "lock = FileLeadership(Path(sys.argv[1]), 'gw-1')\nprint(asyncio.run(lock.lead()).mine, flush=True)\ntime.sleep(600)\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"True\n"
    second = FileLeadership(path, "gw-2")
    async with closing(second):
        assert await second.lead() == Lead(mine=False, who="gw-1")
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert (await until_leads(second)).mine


async def test_a_node_changes_hands(zookeeper: ZooKeeper) -> None:
    """Through one ZooKeeper; an address that does not answer is passed over."""
    address = f"zk://127.0.0.1:1,{zookeeper.hosts}/octopus-hands"
    first, second = (ZooKeeperLeadership(address, name) for name in ("gw-1", "gw-2"))
    async with closing(first):
        assert await first.look() == Lead(mine=False)
        await change_of_hands(first, second)
        assert await first.look() == Lead(mine=True, who="gw-1")


async def test_a_leader_whose_session_is_over_leads_no_more(zookeeper: ZooKeeper) -> None:
    """Its node is gone, whatever it believes: another leads, and it is told so at its next call."""
    address = f"zk://{zookeeper.hosts}/octopus-session"
    first, second = (ZooKeeperLeadership(address, name, timeout=4.0) for name in ("gw-1", "gw-2"))
    async with closing(first, second):
        assert (await first.lead()).mine
        assert not (await second.lead()).mine
        await asyncio.to_thread(end_session, zookeeper, first)
        assert await until_leads(second) == Lead(mine=True, who="gw-2")
        async with asyncio.timeout(60):
            while (told := await first.lead()).problem:  # noqa: ASYNC110  ZooKeeper is asked
                await asyncio.sleep(0.05)
        assert told == Lead(mine=False, who="gw-2")


def end_session(zookeeper: ZooKeeper, leadership: ZooKeeperLeadership) -> None:
    """End a session as ZooKeeper does with one that was silent for too long: by taking it over and closing it."""
    thief = KazooClient(hosts=zookeeper.hosts, client_id=leadership._client.client_id)
    thief.start()
    thief.stop()
    thief.close()


async def test_without_zookeeper_nobody_leads() -> None:
    """Neither one that never was there, nor one that went: who led stops at once."""
    with ZooKeeper() as server:
        leadership = ZooKeeperLeadership(f"zk://{server.hosts}/octopus", "gw-1", timeout=4.0)
        assert (await leadership.lead()).mine
    async with closing(leadership):
        lead = await leadership.lead()
        assert not lead.mine
        assert "ZooKeeper" in lead.problem
    nobody = ZooKeeperLeadership("zk://127.0.0.1:1/octopus", "gw-1", timeout=1.0)
    async with closing(nobody):
        assert "ZooKeeper" in (await nobody.lead()).problem


async def test_a_protected_node_is_for_who_has_the_password(zookeeper: ZooKeeper) -> None:
    """With credentials, others may neither read nor take the node away."""
    address = f"zk://{zookeeper.hosts}/octopus-guarded"
    ours, other = ZooKeeperLeadership(address, "gw-1", auth="octopus:secret"), ZooKeeperLeadership(address, "stranger")
    async with closing(ours, other):
        assert (await ours.lead()).mine
        lead = await other.lead()
        assert (lead.mine, lead.problem.partition(":")[0]) == (False, "ZooKeeper")
        with pytest.raises(NoAuthError):
            await asyncio.to_thread(other._client.get, "/octopus-guarded/unique-leader")


@pytest.mark.parametrize(
    ("address", "auth"), [("", ""), ("http://x/y", ""), ("zk://a:1", ""), ("zk://a:1/b", "user"), ("zk://a:1/b", ":p")]
)
def test_an_address_has_a_form(address: str, auth: str) -> None:
    """Anything else is refused when it is given, without its secret."""
    with pytest.raises(ValueError, match="zk://"):
        ZooKeeperLeadership(address, "gw", auth=auth)
