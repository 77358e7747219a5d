"""The Mesos feed against masters of every kind: old, new, standing by, and broken."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog.testing
from msgspec.structs import replace

from octopus.core.cluster import Cluster
from octopus.core.decoders import RecordIO
from octopus.core.errors import BadUpstream, OctopusError, OrchestratorUnavailable
from octopus.core.mesos_state import decode_state
from octopus.core.resources import NOTHING
from octopus.feeds.health import Backoff
from octopus.feeds.http import Http
from octopus.feeds.look_ups import LookUps
from octopus.feeds.masters import LeaderWalk, ListedMasters
from octopus.feeds.mesos import MesosFeed
from tests.integration.http_peers import Asked, Handler, Wire, always, close_abruptly, peer, until
from tests.wire_data import mesos

STATE = mesos("recorded-before-state.json")
TASKS = 7


@contextlib.asynccontextmanager
async def feeding(cluster: Cluster, *urls: str, username: str = "", **options: Any) -> AsyncIterator[MesosFeed]:
    """Give a feed that is quick to try again; nothing runs by itself."""
    http = Http(username=username, password="secret" if username else "", read_timeout=options.pop("read_timeout", 5.0))
    quick: dict[str, Any] = {"backoff": Backoff(first=0.01, longest=0.02), "poll_interval": 0.01}
    try:
        yield MesosFeed(cluster, http, ListedMasters(urls), **(quick | options))
    finally:
        await http.aclose()


@contextlib.asynccontextmanager
async def running(feed: MesosFeed) -> AsyncIterator[None]:
    """Run the feed until the block is left."""
    task = asyncio.create_task(feed.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def known(cluster: Cluster) -> int:
    """Return how many tasks a cluster knows."""
    return len(cluster.tasks)


def led_by(port: int, pid_port: int | None = None, **more: object) -> bytes:
    """Return a state whose leader is on ``port`` and that comes from ``pid_port``."""
    state = json.loads(STATE) | {"leader": f"master@127.0.0.1:{port}" if port else "", "pid": f"master@127.0.0.1:{pid_port or port}"} | more
    return json.dumps(state).encode()


def by_path(**paths: Handler | bytes) -> Handler:
    """Return a handler that knows some paths (``_`` for ``/``, ``DOT`` for a dot) and answers 404 to the others."""

    async def handle(asked: Asked, wire: Wire) -> None:
        name = asked.path.partition("?")[0].strip("/").replace("/", "_").replace(".", "DOT")
        found = paths.get(name)
        if found is None:
            await wire.answer(404)
        elif isinstance(found, bytes):
            await wire.answer(200, found)
        else:
            await found(asked, wire)

    return handle


async def test_an_old_master_is_read_by_its_old_path_which_is_remembered() -> None:
    """``/state`` is tried first; where it is 404, ``/state.json`` is, and from then on only that."""
    cluster = Cluster()
    async with peer(by_path(stateDOTjson=mesos("master-state-0.22.0-small.json"))) as master, feeding(cluster, master.url) as feed:
        await feed.refresh()
        await feed.refresh()
        assert master.paths() == ["/state", "/state.json", "/state.json"]
        assert known(cluster) == 1
        assert feed.status().source == master.url
        assert feed.status().complete


async def test_a_gzipped_answer_is_asked_for_and_read() -> None:
    """Masters compress when asked, worth a factor of ten."""

    async def handle(asked: Asked, wire: Wire) -> None:
        assert asked.headers["accept-encoding"] == "gzip"
        await wire.answer(200, gzip.compress(STATE), {"Content-Encoding": "gzip"})

    cluster = Cluster()
    async with peer(handle) as master, feeding(cluster, master.url) as feed:
        await feed.refresh()
    assert known(cluster) == TASKS


async def test_a_redirect_without_a_scheme_leads_to_the_leader() -> None:
    """From Mesos 1.0 a standby answers 307 with ``//host:port/path``; the place is remembered."""
    cluster = Cluster()
    async with peer(by_path(state=STATE)) as leader:
        redirect = always(307, headers={"Location": f"//127.0.0.1:{leader.port}/state"})
        async with peer(redirect) as standby, feeding(cluster, standby.url) as feed:
            await feed.refresh()
            await feed.refresh()
            assert (known(cluster), standby.paths(), leader.paths()) == (TASKS, ["/state"], ["/state", "/state"])
            assert feed.status().source == leader.url


async def test_an_old_standbys_empty_state_is_not_believed() -> None:
    """To 0.28 it answers 200 with a state of its own: the leader it names is asked instead."""
    cluster = Cluster()
    async with peer(by_path()) as leader, peer(by_path()) as standby:
        leader.handler = by_path(stateDOTjson=led_by(leader.port))
        standby.handler = by_path(stateDOTjson=led_by(leader.port, standby.port, frameworks=[], slaves=[]))
        async with feeding(cluster, standby.url) as feed:
            await feed.refresh()
        assert known(cluster) == TASKS


async def test_without_a_leader_nothing_is_believed() -> None:
    """A standby that knows no leader, and one that answers 503, leave what is known."""
    cluster = Cluster()
    async with peer(by_path()) as lonely, peer(always(503)) as starting:
        lonely.handler = by_path(state=led_by(0, lonely.port, frameworks=[], slaves=[]))
        async with feeding(cluster, lonely.url, starting.url) as feed:
            with pytest.raises(OrchestratorUnavailable, match=r"(?s)no master leads.*HTTP 503"):
                await feed.refresh()
        assert not cluster.ready


async def test_the_next_master_is_tried() -> None:
    """One that is gone does not keep the others from being asked."""
    cluster = Cluster()
    async with peer(always(200)) as gone:
        pass
    async with peer(by_path(state=STATE)) as alive, feeding(cluster, gone.url, alive.url) as feed:
        await feed.refresh()
    assert known(cluster) == TASKS


@pytest.mark.parametrize("location", ["//127.0.0.1:{port}/state", "/state", "", "ftp://x/state", "http://[", "//127.0.0.1:99999/"])
async def test_redirects_that_lead_nowhere_end(location: str) -> None:
    """To itself (0.22 without a leader), to another scheme, to no place at all: refused after one request."""
    async with peer(always(200)) as master:
        master.handler = always(307, headers={"Location": location.format(port=master.port)})
        async with feeding(Cluster(), master.url) as feed:
            with pytest.raises(OctopusError):
                await feed.refresh()
        assert len(master.asked) == 1


async def test_two_masters_that_point_at_each_other_are_seen_through() -> None:
    """Each is asked once for each way in."""
    async with peer(always(200)) as one, peer(always(200)) as two:
        one.handler = always(307, headers={"Location": f"//127.0.0.1:{two.port}/"})
        two.handler = always(307, headers={"Location": f"//127.0.0.1:{one.port}/"})
        async with feeding(Cluster(), one.url, two.url) as feed:
            with pytest.raises(OctopusError, match="circle"):
                await feed.refresh()
        assert (len(one.asked), len(two.asked)) == (2, 2)


def test_a_walk_never_goes_from_https_to_http() -> None:
    """Nor further than a few hops."""
    walk = LeaderWalk("https://m1:5050")
    walk.redirected("//m2:5050/state")
    assert walk.base == "https://m2:5050"
    with pytest.raises(BadUpstream):
        walk.redirected("http://m3:5050/state")
    walk.told("master@[::1]:5050")
    assert walk.base == "https://[::1]:5050"
    for number in range(3):
        walk.to(f"https://m{number + 10}")
    with pytest.raises(BadUpstream, match="circle"):
        walk.to("https://m20")


async def test_the_password_goes_to_configured_masters_only() -> None:
    """A redirect elsewhere is followed without it, and the operator is told why that may fail."""
    cluster = Cluster()

    async def guarded(asked: Asked, wire: Wire) -> None:
        await wire.answer(200 if "authorization" in asked.headers else 401, STATE)

    async with peer(guarded) as leader:
        async with peer(always(307, headers={"Location": f"//127.0.0.1:{leader.port}/state"})) as standby:
            async with feeding(cluster, standby.url, username="octopus") as feed:
                with pytest.raises(OrchestratorUnavailable, match="no password was sent"):
                    await feed.refresh()
            assert "authorization" in standby.asked[0].headers
            assert "authorization" not in leader.asked[0].headers
            async with feeding(cluster, standby.url, leader.url, username="octopus") as feed:
                await feed.refresh()
        assert known(cluster) == TASKS


async def test_a_wrong_password_is_told_as_one() -> None:
    """401 from a configured master; the password is in no message."""
    async with peer(always(401)) as master, feeding(Cluster(), master.url, username="octopus") as feed:
        with pytest.raises(OrchestratorUnavailable, match="wrong username or password") as caught:
            await feed.refresh()
    assert "secret" not in str(caught.value)


def _half(body: bytes) -> Handler:
    async def handle(asked: Asked, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        await wire.send(body[: len(body) // 2])
        close_abruptly(wire)

    return handle


async def _nothing(asked: Asked, wire: Wire) -> None:
    close_abruptly(wire)


async def _hang(asked: Asked, wire: Wire) -> None:
    await asyncio.Event().wait()


async def _hang_in_the_body(asked: Asked, wire: Wire) -> None:
    await wire.begin_chunked()
    await wire.chunk(STATE[:500])
    await asyncio.Event().wait()


async def _not_http(asked: Asked, wire: Wire) -> None:
    await wire.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    close_abruptly(wire)


async def _endless(asked: Asked, wire: Wire) -> None:
    await wire.begin_chunked()
    await wire.chunk(b'{"slaves":[')
    while True:
        await wire.chunk(b" " * 65536)


async def _announced(asked: Asked, wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000000\r\n\r\n")
    await asyncio.Event().wait()


async def _two_hundred_megabytes_of_garbage(asked: Asked, wire: Wire) -> None:
    await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000000\r\n\r\n")
    for _ in range(200):
        await wire.send(b"x" * 1_000_000)
    raise AssertionError("all of it was taken")


def _bomb() -> bytes:
    return gzip.compress(b"{" + b" " * 20_000_000)


BROKEN: dict[str, Handler] = {
    "garbage": always(200, b"\x00\xff garbage"),
    "html": always(200, b"<html>welcome</html>", {"Content-Type": "text/html"}),
    "an empty body": always(200, b""),
    "another JSON": always(200, b'{"error": "x"}'),
    "half a document": always(200, STATE[: len(STATE) // 2]),
    "half an answer": _half(STATE),
    "half a gzip": always(200, gzip.compress(STATE)[:900], {"Content-Encoding": "gzip"}),
    "no gzip": always(200, STATE, {"Content-Encoding": "gzip"}),
    "a bomb": always(200, _bomb(), {"Content-Encoding": "gzip"}),
    "nothing": _nothing,
    "no HTTP": _not_http,
    "a hang": _hang,
    "a hang in the body": _hang_in_the_body,
    "an endless body": _endless,
    "too much announced": _announced,
    "200 MB of garbage": _two_hundred_megabytes_of_garbage,
    "500": always(500),
    "404": always(404),
}


@pytest.mark.parametrize("handler", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_master_changes_nothing(handler: Handler) -> None:
    """Whatever it answers: one of our errors, what was known goes on being served, and its age shows."""
    cluster = Cluster()
    now = [1000.0]
    async with (
        peer(by_path(state=STATE)) as master,
        feeding(cluster, master.url, read_timeout=0.3, max_body=5_000_000, clock=lambda: now[0]) as feed,
    ):
        await feed.refresh()
        before = {task.id for task in cluster.tasks}
        master.handler = handler
        now[0] += 60
        with pytest.raises((BadUpstream, OrchestratorUnavailable)) as caught:
            await feed.refresh()
        assert len(str(caught.value)) < 1000
        assert {task.id for task in cluster.tasks} == before
        assert feed.status().since == 1000
        assert feed.status().age > 0


async def test_the_whole_fetch_has_an_end() -> None:
    """A master that sends a byte now and then cannot hold a reading for ever."""

    async def trickle(asked: Asked, wire: Wire) -> None:
        await wire.begin_chunked()
        while True:
            await wire.chunk(b" ")
            await asyncio.sleep(0)

    async with peer(trickle) as master, feeding(Cluster(), master.url, fetch_timeout=0.2) as feed:
        with pytest.raises(OrchestratorUnavailable, match=r"not done within 0\.2 s"):
            await feed.refresh()


async def test_whoever_asks_meanwhile_shares_one_reading() -> None:
    """Ten refreshes at once are one or two requests: single flight."""
    async with peer(by_path(state=STATE)) as master, feeding(Cluster(), master.url) as feed:
        await asyncio.gather(*(feed.refresh() for _ in range(10)))
        assert len(master.asked) == 1


# ---- for ever


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    """Give the log lines of the test."""
    with structlog.testing.capture_logs() as lines:
        yield lines


async def test_it_polls_where_there_is_no_stream_and_logs_each_change_once(logged: list[Any]) -> None:
    """The master goes and comes back: one line for each, however often it was tried."""
    cluster = Cluster()
    async with peer(by_path(state=STATE)) as master, feeding(cluster, master.url) as feed, running(feed):
        await until(lambda: known(cluster) == TASKS)
        assert master.paths()[0] == "/api/v1"
        master.handler = always(503)
        asked = len(master.asked)
        await until(lambda: len(master.asked) > asked + 5)
        assert feed.status().error
        assert not feed.status().complete
        assert known(cluster) == TASKS
        master.handler = by_path(state=mesos("recorded-after-state.json"))
        await until(lambda: known(cluster) == 6)
        assert feed.status().error == ""
        assert master.paths().count("/api/v1") == 1
    assert [line["event"] for line in logged] == ["feed works", "feed fails, what is known is served", "feed works"]


def _streaming(records: list[bytes], more: asyncio.Queue[bytes] | None = None, cut: int = 7919) -> Handler:
    """Return a master that sends records in chunks of odd sizes, then what is put into ``more``, then ends the stream at b""."""

    async def handle(asked: Asked, wire: Wire) -> None:
        if asked.path != "/api/v1":
            await wire.answer(404)
            return
        assert (asked.method, asked.headers["accept"], json.loads(asked.body)) == ("POST", "application/json", {"type": "SUBSCRIBE"})
        await wire.begin_chunked()
        stream = b"".join(b"%d\n%s" % (len(record), record) for record in records)
        for at in range(0, len(stream), cut):
            await wire.chunk(stream[at : at + cut])
        while more is not None and (record := await more.get()):
            await wire.chunk(b"%d\n%s" % (len(record), record))
        close_abruptly(wire)

    return handle


RECORDS = RecordIO().feed(mesos("recorded-subscribe.recordio"))
SUBSCRIBED = (
    b'{"type":"SUBSCRIBED","subscribed":{"get_state":'
    + json.dumps(json.loads(mesos("recorded-before-get-state.json"))["get_state"]).encode()
    + b"}}"
)


async def test_it_follows_the_stream_of_a_real_master() -> None:
    """The recorded stream, to its end, leaves what the master's state was then; nothing was polled."""
    cluster, read = Cluster(), Cluster()
    read.replace(decode_state(mesos("recorded-after-state.json")))
    more: asyncio.Queue[bytes] = asyncio.Queue()
    async with peer(_streaming(RECORDS[:1], more)) as master, feeding(cluster, master.url) as feed, running(feed):
        for record in RECORDS[1:]:
            more.put_nowait(record)
        await until(lambda: {task.id for task in cluster.tasks} == {task.id for task in read.tasks} and more.empty())
        # Of executors that start later a stream says nothing: what they use is known again at the next whole reading.
        assert cluster.agents == {name: replace(agent, others=NOTHING) for name, agent in read.agents.items()}
        assert set(master.paths()) == {"/api/v1"}
        assert feed.status().source == master.url


async def test_a_stream_that_breaks_is_begun_anew() -> None:
    """At its end, at garbage, or at a record too large: the feed subscribes again and is right again."""
    cluster = Cluster()
    for ending in (b"", b'{"type":"TASK_ADDED","task_added":{"task":5}}', b"[1", b"x" * 200_000):
        more: asyncio.Queue[bytes] = asyncio.Queue()
        async with (
            peer(_streaming([SUBSCRIBED], more)) as master,
            feeding(cluster, master.url, max_event=100_000) as feed,
            running(feed),
        ):
            await until(lambda: known(cluster) == TASKS)
            more.put_nowait(ending)
            await until(lambda: len(master.asked) > 1)
            await until(lambda: feed.status().error == "")
            assert known(cluster) == TASKS


async def test_a_silent_stream_counts_as_ended() -> None:
    """Without a heartbeat for too long the feed subscribes again."""
    cluster = Cluster()
    async with (
        peer(_streaming([SUBSCRIBED], asyncio.Queue())) as master,
        feeding(cluster, master.url, silence=0.1) as feed,
        running(feed),
    ):
        await until(lambda: len(master.asked) > 2)
        assert known(cluster) == TASKS


async def test_a_stream_is_begun_anew_from_time_to_time() -> None:
    """Some changes give no event; that is no failure and is not logged as one."""
    cluster = Cluster()
    async with (
        peer(_streaming([SUBSCRIBED], asyncio.Queue())) as master,
        feeding(cluster, master.url, resync_interval=0.1) as feed,
        running(feed),
    ):
        await until(lambda: len(master.asked) > 2)
        assert feed.status().error == ""


@pytest.mark.parametrize("record", [b"<html>", b'{"type":"SUBSCRIBED"}', SUBSCRIBED[:1000]])
async def test_a_stream_that_does_not_begin_with_the_state_is_not_believed(record: bytes) -> None:
    """Nothing is applied, and the feed tries again."""
    cluster = Cluster()
    async with peer(_streaming([record])) as master, feeding(cluster, master.url) as feed, running(feed):
        await until(lambda: len(master.asked) > 2)
        assert feed.status().error
        assert not cluster.ready


async def test_a_first_record_that_is_cut_or_too_large_is_not_believed() -> None:
    """Half a snapshot is none."""
    for raw in (b"999999\n" + SUBSCRIBED, b"99999999999\n", b"12x4\n", b"1" * 50):

        async def handle(asked: Asked, wire: Wire, raw: bytes = raw) -> None:
            await wire.begin_chunked()
            await wire.chunk(raw)
            await wire.send(b"0\r\n\r\n")
            close_abruptly(wire)

        cluster = Cluster()
        async with peer(handle) as master, feeding(cluster, master.url) as feed, running(feed):
            await until(lambda: len(master.asked) > 1)
            assert not cluster.ready


async def test_a_change_of_leader_brings_the_stream_back() -> None:
    """A polled master that hands over to a newer one: the new leader's stream is tried."""
    cluster = Cluster()
    async with peer(by_path()) as old, peer(by_path()) as new:
        new.handler = _streaming([SUBSCRIBED], asyncio.Queue())
        old.handler = by_path(state=led_by(old.port))
        async with feeding(cluster, old.url) as feed, running(feed):
            await until(lambda: known(cluster) == TASKS)

            async def state_of_new(asked: Asked, wire: Wire) -> None:
                await wire.answer(200, led_by(new.port))

            stream = new.handler

            async def leads(asked: Asked, wire: Wire) -> None:
                await (state_of_new if asked.path == "/state" else stream)(asked, wire)

            new.handler = leads
            old.handler = always(307, headers={"Location": f"//127.0.0.1:{new.port}/"})
            await until(lambda: "/api/v1" in new.paths() and feed.status().source == new.url)


# ---- one task too new to be known


async def test_one_task_is_asked_for_and_known() -> None:
    """From 1.4 the master answers for one task."""
    cluster = Cluster()
    body = mesos("recorded-tasks-of-id.json")
    task_id = json.loads(body)["tasks"][0]["id"]
    async with peer(by_path(tasks=body)) as master, feeding(cluster, master.url) as feed:
        assert await feed.look_up(task_id)
        assert cluster.tasks.running(task_id)
        assert master.paths() == [f"/tasks?task_id={task_id}"]
        assert await feed.look_up(task_id)
        assert len(master.asked) == 1


async def test_before_1_4_the_whole_state_is_read_and_other_tasks_do_not_count() -> None:
    """An answer with a hundred other tasks is not taken for the one."""
    cluster = Cluster()
    async with peer(by_path(tasks=mesos("recorded-tasks-of-id.json"), state=STATE)) as master, feeding(cluster, master.url) as feed:
        feed._streams = False
        assert await feed.look_up("ops_plain.b1c2d3e4-8a12-11e5-9c5b-56847afe9799")
        assert known(cluster) == TASKS


async def test_guessing_does_not_reach_the_master() -> None:
    """A miss is remembered, and in all only a few look-ups a second get through."""
    now = [0.0]
    look_ups = LookUps(burst=3, rate=1.0, miss_time=10.0, clock=lambda: now[0])
    async with peer(by_path(tasks=b'{"tasks":[]}')) as master, feeding(Cluster(), master.url, look_ups=look_ups) as feed:
        for _ in range(5):
            assert not await feed.look_up("same/?&=x")
        assert master.paths() == ["/tasks?task_id=same%2F%3F%26%3Dx"]
        for number in range(20):
            assert not await feed.look_up(f"guess-{number}")
        assert len(master.asked) == 3
        now[0] += 2
        assert not await feed.look_up("guess-0")
        assert not await feed.look_up("later")
        assert len(master.asked) == 4


@pytest.mark.parametrize("handler", [_hang, _nothing, always(500), always(200, b"<html>"), always(302)])
async def test_a_look_up_never_raises(handler: Handler) -> None:
    """Whatever the master does, the answer is no, soon."""
    async with peer(handler) as master, feeding(Cluster(), master.url, look_ups=LookUps(timeout=0.2)) as feed:
        assert not await feed.look_up("x")
