"""What the admin shows, over real HTTP: sessions, recordings, tasks, capacity, UNIQUE apps and the trail; harmless whatever they hold."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from octopus.admin.watching import watched
from octopus.core.inventory import Agent
from octopus.core.types import AuditEvent, ContainerClue
from octopus.core.usage import Reading
from octopus.fleet.capacity_report import TimedReport
from octopus.fleet.usage import UsageSampler
from octopus.fleet.working import ReportQuestion, reported
from tests.parts.admin import ESCAPE, EVIL, Admin, admin, bearer, live_session, no_reports, small_cluster
from tests.streams import until

PAGES = ("/", "/sessions", "/tasks", "/capacity", "/unique", "/unique?app=/statsd", "/audit", "/sessions/s-evil", "/nowhere")
HEADER = b'{"version":2,"width":80,"height":24}\n'


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Admin]:
    """A running admin, with an operator logged in."""
    async with admin(tmp_path) as running:
        await running.log_in()
        yield running


async def past(
    here: Admin, session: str, *, login: str = "bob", recording: bytes = b"", command: str = "", began: str = "2026/11/25"
) -> None:
    """Put a session that is over on the trail, and its recording beside it."""
    target = {"app": "/web", "task": "web.1", "agent": "agent-1.example", "container": ""}
    data = {"kind": "exec" if command else "shell", "worker": "w-1"}
    common = {"session": session, "login": login, "client": "10.0.0.1:4000", "target": target}
    await here.log.append(AuditEvent(event="session.requested", key=f"{session}/r", data=data, **common))  # type: ignore[arg-type]
    if command:
        await here.log.append(AuditEvent(event="exec", key=f"{session}/x", data={"command": command}, **common))  # type: ignore[arg-type]
    [asked] = [line for line in here.trail("session.requested") if line["session"] == session]
    path = f"{asked['time'][:10].replace('-', '/')}/{session}.cast"
    recordings = []
    if recording:
        (here.recordings / path).parent.mkdir(parents=True, exist_ok=True)
        (here.recordings / path).write_bytes(recording)
        recordings = [{"path": path, "sha256": "", "size": len(recording)}]
    end = {"seconds": 0.1, "exit_status": 0, "recordings": recordings}
    await here.log.append(AuditEvent(event="session.ended", key=f"{session}/end", data=end, **common))  # type: ignore[arg-type]


async def test_sessions_live_and_past_are_found(here: Admin) -> None:
    """By login, task, address or id; page by page; the API says the same."""
    here.plane.live.add(live_session("s-live"))
    for number in range(5):
        await past(here, f"s-{number}", login="carol" if number == 3 else "bob")
    shown = (await here.client.get("/sessions")).text
    assert [name for name in ("s-live", "s-0", "s-3") if name not in shown] == []
    found = (await here.client.get("/api/v1/sessions?text=carol")).json()
    assert [one["session"] for one in found["sessions"]] == ["s-3"]
    names, cursor = [], ""
    while True:
        page = (await here.client.get(f"/api/v1/sessions?limit=2&cursor={cursor}")).json()
        names += [one["session"] for one in page["sessions"]]
        cursor = page["next"]
        if not cursor:
            break
    assert names == ["s-live", "s-4", "s-3", "s-2", "s-1", "s-0"]
    assert [one["session"] for one in (await here.client.get("/api/v1/sessions?outcome=live")).json()["sessions"]] == ["s-live"]


async def test_a_recording_is_played_and_taken_away(here: Admin) -> None:
    """Who did so is on the trail, and no name leads out of the recordings."""
    await past(here, "s-1", recording=HEADER + b'[0.1,"o","hello"]\n')
    page = await here.client.get("/sessions/s-1")
    assert 'href="/sessions/s-1/recording.cast?download=1"' in page.text
    played = await here.client.get("/sessions/s-1/recording.cast")
    assert (played.content.startswith(HEADER), played.headers["content-type"]) == (True, "application/x-asciicast")
    again = await here.client.get("/sessions/s-1/recording.cast", headers={"range": "bytes=0-9"})
    assert (again.status_code, again.content) == (206, HEADER[:10])
    taken = await here.client.get("/sessions/s-1/recording.cast?download=1")
    assert 'filename="s-1.cast"' in taken.headers["content-disposition"]
    assert [(line["login"], line["of"]) for line in here.trail("admin.replayed")] == [("alice", "s-1")] * 3
    assert "admin.replayed" in (await here.client.get("/sessions/s-1")).text
    for wrong in ("/sessions/..%2f..%2fusers/recording.cast", "/sessions/s-2/recording.cast", "/static/../site.py", "/static/..%2fsite.py"):
        assert (await here.client.get(wrong)).status_code in (400, 404), wrong


async def test_a_recording_that_is_a_link_is_none(here: Admin) -> None:
    """Whoever could write there still cannot have other files shown."""
    await past(here, "s-1", recording=HEADER)
    [file] = here.recordings.rglob("s-1.cast")
    file.unlink()
    file.symlink_to(here.root / "users.toml")
    assert (await here.client.get("/sessions/s-1/recording.cast")).status_code == 404


async def test_a_live_terminal_is_watched_from_where_it_is(tmp_path: Path) -> None:
    """First the screen as it is, then what is added as it is written, then its end; nothing of what was typed."""
    part = tmp_path / "s-1.cast.part"
    part.write_bytes(HEADER + b'[0.1,"o","one"]\n[0.2,"i","secret"]\n[0.3,"r","100x30"]\n[0.4,"o","tw')
    live = True
    stream = watched(part, lambda: live)
    first = json.loads((await anext(stream)).removeprefix(b"data: "))
    assert first == {"cols": 100, "rows": 30, "time": 0.3, "init": "one"}
    with part.open("ab") as file:
        file.write(b'o"]\n[0.5,"i","more"]\n[0.6,"o","\\u001b[31mred"]\n')
    async with asyncio.timeout(30):
        assert await anext(stream) == b'data: [0.4,"o","two"]\n\ndata: [0.6,"o","\\u001b[31mred"]\n\n'
        live = False
        assert await anext(stream) == b"event: done\ndata: {}\n\n"
        assert [event async for event in stream] == []
    assert [event async for event in watched(tmp_path / "gone", lambda: True)] == [b"event: done\ndata: {}\n\n"]


async def test_a_late_watcher_is_shown_the_end_of_a_long_recording(tmp_path: Path) -> None:
    """Not hundreds of megabytes of what scrolled by."""
    part = tmp_path / "s-1.cast.part"
    with part.open("wb") as file:
        file.write(HEADER)
        for number in range(8000):
            file.write(json.dumps([number, "o", f"{number:09}" + "x" * 1000]).encode() + b"\n")
    first = json.loads((await anext(stream := watched(part, lambda: True))).removeprefix(b"data: "))
    await stream.aclose()  # type: ignore[attr-defined]
    assert (first["time"], 3_000_000 < len(first["init"]) < 5_000_000, first["init"][-1009:-1000]) == (7999, True, "000007999")


async def begun_to_watch(here: Admin) -> tuple[Path, asyncio.Task[bytes]]:
    """Have a live session watched; return its recording and, once something was shown, the task that brings all that was."""
    await here.log_in()
    here.plane.live.add(live := live_session("s-1"))
    part = here.recordings / datetime.fromtimestamp(live.since, UTC).strftime("%Y/%m/%d") / "s-1.cast.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(HEADER)
    shown = asyncio.Event()

    async def watch() -> bytes:
        received = b""
        async with (
            httpx.AsyncClient(base_url=here.client.base_url, cookies=dict(here.client.cookies), timeout=60) as client,
            client.stream("GET", "/sessions/s-1/live") as answer,
        ):
            async for chunk in answer.aiter_raw():
                received += chunk
                shown.set()
        return received

    watching = asyncio.create_task(watch())
    await asyncio.wait_for(shown.wait(), 30)
    return part, watching


async def test_a_gateway_that_stops_lets_go_of_watchers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without a word in the log, and without telling them that the session is over: it goes on in its worker."""
    async with admin(tmp_path) as here:
        _, watching = await begun_to_watch(here)
    received = await asyncio.wait_for(watching, 30)
    assert (b'"cols":80' in received, b"done" in received) == (True, False)
    assert caplog.text == ""


async def test_who_has_logged_out_watches_no_longer(here: Admin) -> None:
    """Not by a stream either that was begun before."""
    part, watching = await begun_to_watch(here)
    await here.client.post("/logout", data={"token": await here.token()})
    async with asyncio.timeout(60):
        while not (await asyncio.wait({watching}, timeout=0.05))[0]:
            with part.open("ab") as file:
                file.write(b'[1,"o","x"]\n')
    await watching


async def test_tasks_say_how_to_enter_them_or_why_not(here: Admin) -> None:
    """The line to copy is one for a shell, and the reason names the rule."""
    alice = {one["task"]: one for one in (await here.client.get("/api/v1/tasks")).json()["tasks"]}
    assert alice["web.1"]["ssh"] == "ssh -p 2222 alice+web.1@127.0.0.1"
    assert alice["web.1"]["scp"] == "scp -P 2222 FILE alice+web.1@127.0.0.1:/tmp/"
    assert alice["web.1"]["logs"] == ""
    assert (alice["web.1"]["may"], alice["web.1"]["rule"]) == (["download", "exec", "shell"], "policy[0]")
    assert (alice["db.1"]["may"], alice["db.1"]["why"]) == ([], "no rule of the policy speaks of you and this app")
    await here.log_in("bob")
    bob = {one["task"]: one for one in (await here.client.get("/api/v1/tasks?text=db")).json()["tasks"]}
    assert [(one["rule"], one["why"], one["ssh"]) for one in bob.values()] == [("policy[1]", "{rule} denies it", "")]
    assert "policy[1] denies it" in (await here.client.get("/tasks")).text


async def test_who_may_only_read_the_log_is_given_that_line(tmp_path: Path) -> None:
    """Where there is no shell to enter, the page shows the line that there is."""
    rule = '[[policy]]\nusers = ["alice"]\napps = ["/db"]\nallow = ["logs"]'
    async with admin(tmp_path, cluster=small_cluster(tasks=[("/db", "db.1")]), more=rule) as here:
        await here.log_in("alice")
        [one] = (await here.client.get("/api/v1/tasks")).json()["tasks"]
        assert (one["ssh"], one["scp"], one["logs"]) == ("", "", "ssh -p 2222 -s alice+db.1@127.0.0.1 logs -f")
        assert one["logs"] in (await here.client.get("/tasks")).text


async def test_capacity_is_shown_and_simulated(here: Admin) -> None:
    """The simulator takes an app there is or a document, and says what is wrong with one."""
    page = await here.client.get("/capacity")
    assert (page.text.count("<circle"), "agent-3.example" in page.text) == (3, True)
    token = await here.token()
    fits = await here.client.post("/capacity/simulate", data={"token": token, "id": "/web", "instances": "7"})
    assert ("7 of 7 find a place" in fits.text, fits.status_code) == (True, 200)
    app = {"id": "/huge", "instances": 3, "cpus": 3, "mem": 64, "cmd": "x", "constraints": [["hostname", "UNIQUE"]]}
    fits = await here.client.post("/capacity/simulate", data={"token": token, "document": json.dumps(app)})
    assert "3 of 3 find a place" in fits.text
    app |= {"cpus": 5}
    refused = await here.client.post("/capacity/simulate", data={"token": token, "document": json.dumps(app)})
    assert ("0 of 3 find a place" in refused.text, refused.text.count("agent-1.example")) == (True, 1)
    for document in ("{", '1,"id":"/web"', "[" * 5000, '{"apps":1}'):
        wrong = await here.client.post("/capacity/simulate", data={"token": token, "document": document})
        assert (wrong.status_code, 'role="alert"' in wrong.text) == (422, True), document
    assert (await here.client.post("/capacity/simulate", data={"token": token, "id": "/none"})).status_code == 404
    answer = await here.client.post("/api/v1/capacity/simulate", json={"id": "/web", "instances": 2}, headers=bearer("board"))
    assert answer.json()["outcomes"][0]["placement"]["least"] == 2
    faults = await here.client.post("/api/v1/capacity/simulate", json={"apps": {"id": "/a", "cpus": "x"}}, headers=bearer("board"))
    assert (faults.status_code, {"path", "error"} == set(faults.json()["errors"][0])) == (422, True)


async def test_what_apps_really_use_stands_beside_what_they_reserve(tmp_path: Path) -> None:
    """By agent and by app, once it was measured."""
    cluster, read = small_cluster(), itertools.count(1)

    async def stats(agent: Agent, clues: Sequence[ContainerClue]) -> dict[int, tuple[str, Reading]]:
        second = next(read)
        return {0: (f"c-{agent.id}", Reading(at=second, cpu=second * 50_000_000, memory=32 << 20))}

    sampler = UsageSampler(cluster, stats, clock=time.time, interval=0.05)
    sampling = asyncio.create_task(sampler.run())
    await until(lambda: sampler.latest is not None and "/web" in sampler.latest.apps and sampler.latest.apps["/web"].rated)
    sampling.cancel()
    async with admin(tmp_path, cluster=cluster, usage=sampler) as here:
        await here.log_in()
        page = re.sub(r"<[^>]*>", " ", (await here.client.get("/capacity")).text)
    assert "really used: 32 MB" in page
    [row] = re.findall(r"/web\s+1\s+(\S+) / (\S+)\s+(\S+) MB / (\S+) MB", page)
    assert row == ("0.1", "0.1", "32", "64")


async def test_the_last_day_is_a_line(tmp_path: Path) -> None:
    """From two samples on, with the times of the first and the last."""
    cluster, reports = small_cluster(), no_reports()
    found = await reported(cluster, ReportQuestion(now=1_700_000_000.0))
    for at in (1_700_000_000.0, 1_700_003_600.0):
        reports.history.note(TimedReport(at=at, took=0.1, sound=True, report=found))
    async with admin(tmp_path, cluster=cluster, reports=reports) as here:
        await here.log_in()
        page = (await here.client.get("/capacity")).text
    assert page.count("<polyline") == 2
    assert ("2023-11-14 22:13" in page, "2023-11-14 23:13" in page) == (True, True)


async def test_a_report_that_is_known_already_is_not_sent_again(here: Admin) -> None:
    """By its ETag."""
    first = await here.client.get("/api/v1/capacity?limit=2")
    assert len(first.json()["agents"]) == 2
    for known in (first.headers["etag"], "*"):
        again = await here.client.get("/api/v1/capacity?limit=2", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")


async def test_unique_apps_say_where_they_are_missing(here: Admin) -> None:
    """And that nothing here scales, where there is no daemon."""
    [found] = (await here.client.get("/api/v1/unique?app=/statsd")).json()["apps"]
    assert (found["app"], found["missing"], found["verdict"]) == ("/statsd", 3, "scale")
    assert [host["standing"] for host in found["hosts"]] == ["missing"] * 3
    assert "agent-2.example" in (await here.client.get("/unique?app=/statsd")).text
    assert (await here.client.get("/unique?app=/web")).status_code == 404
    refused = await here.client.post("/api/v1/unique/scale", json={"app": "/statsd"}, headers=bearer())
    assert (refused.status_code, refused.json()["error"]) == (503, "this gateway does not scale apps")


async def test_nothing_that_comes_from_elsewhere_acts_in_a_page(tmp_path: Path) -> None:
    """HTML is text, and an escape is seen as one: in task names, commands, logins, reasons, queries and paths."""
    cluster = small_cluster(tasks=[(f"/web/{EVIL}", f"web.{EVIL}{ESCAPE}"), ("/db", "db.1")])
    async with admin(tmp_path, cluster=cluster) as here:
        here.plane.live.add(live_session("s-evil", login=f"{EVIL}{ESCAPE}", task=f"web.{EVIL}", command=f"echo {EVIL}{ESCAPE}"))
        await here.log_in(f"{EVIL}{ESCAPE}")
        await here.log_in()
        await past(here, "s-past", login=f"{EVIL}{ESCAPE}", command=f"rm {EVIL}{ESCAPE}")
        for path in (*PAGES, f"/{EVIL}", f"/sessions?text={EVIL}", f"/audit?text={EVIL}&login={EVIL}"):
            shown = await here.client.get(path)
            assert EVIL not in shown.text, path
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown.text), path
        tasks = (await here.client.get("/tasks")).text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b]0;owned\\x07" in tasks
        [evil] = (await here.client.get("/api/v1/tasks?text=web", headers=bearer())).json()["tasks"]
        assert evil["task"] == f"web.{EVIL}{ESCAPE}"
        token = await here.token()
        echoed = await here.client.post("/capacity/simulate", data={"token": token, "document": f"</textarea>{EVIL}{ESCAPE}", "id": EVIL})
        assert (EVIL in echoed.text, "</textarea>&lt;" in echoed.text) == (False, False)


@pytest.mark.parametrize(
    ("was", "now"), [(b'"login":"', b'"login":_'), (b'"time":', b'"tame":'), (b'"event":"', b'"event":0'), (b"admin", b"\xffdmin")]
)
async def test_a_line_that_somebody_altered_is_told_of_and_the_others_are_shown(here: Admin, was: bytes, now: bytes) -> None:
    """The trail is looked at the more when that has happened."""
    await here.log_in()
    await here.log_in("bob", "no")
    path = here.root / "audit" / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    altered = next(number for number, line in enumerate(lines) if b'"login":"alice"' in line)
    with path.open("r+b") as file:
        file.seek(sum(map(len, lines[:altered])))
        file.write(lines[altered].replace(was, now, 1))
    page = await here.client.get("/audit", headers=bearer())
    answer = await here.client.get("/api/v1/audit", headers=bearer())
    assert (page.status_code, answer.status_code) == (200, 200)
    assert "no line of ours" in page.text
    told = {event["seq"]: event["event"] for event in answer.json()["events"]}
    assert told[altered + 1] == "(no line of ours)"
    assert "admin.login" in told.values()


async def test_strangers_are_not_told_where_the_trail_lies(here: Admin) -> None:
    """Only that it cannot be written; who has logged in reads the system's words."""
    await here.log_in()
    problem = here.log.problem = f"cannot write {here.root}/audit/audit.jsonl: No space left on device"
    told = await here.client.get("/readyz")
    assert (told.status_code, str(here.root) in told.text) == (503, False)
    [trail] = [one for one in told.json()["dependencies"] if one["name"] == "audit trail"]
    assert trail["why"] == "it cannot be written"
    assert problem in (await here.client.get("/")).text


async def test_a_wrong_method_is_told_the_right_ones(here: Admin) -> None:
    """As HTTP wants it (RFC 9110, 15.5.6), of a page as of a call."""
    for path, allowed in (("/tasks", "GET"), ("/logout", "POST"), ("/api/v1/tasks", "GET")):
        found = await here.client.request("GET" if allowed == "POST" else "POST", path)
        assert (found.status_code, allowed in found.headers["allow"].split(", ")) == (405, True), path


async def test_what_is_asked_for_wrongly_is_refused_in_a_line(here: Admin) -> None:
    """Limits, cursors and names are what they are."""
    for path in ("sessions?limit=0", "sessions?limit=1001", "audit?cursor=-1", "tasks?cursor=x", "sessions?outcome=x", "unique?limit=9e9"):
        found = await here.client.get(f"/api/v1/{path}")
        assert (found.status_code, list(found.json())) == (400, ["error"]), path
    assert (await here.client.get(f"/api/v1/tasks?text={'x' * 5000}")).status_code == 400
    wrong = await here.client.post("/api/v1/capacity/simulate", content=b"{}", headers=bearer() | {"content-type": "text/plain"})
    assert wrong.status_code == 415


@pytest.mark.timeout(300)
async def test_ten_thousand_agents_are_shown_page_by_page(tmp_path: Path) -> None:
    """The picture stays small, the table has a page, the API too."""
    async with admin(
        tmp_path, cluster=small_cluster(agents=10_000, tasks=[(f"/web{n % 25}", f"web{n % 25}.{n}") for n in range(20_000)])
    ) as here:
        await here.log_in()
        page = await here.client.get("/capacity")
        assert (len(page.content) < 500_000, page.text.count("<circle") <= 48 * 48, page.text.count("<tr>") < 70) == (True, True, True)
        assert "cursor=50" in page.text
        assert len((await here.client.get("/api/v1/tasks?limit=1000&cursor=19500")).json()["tasks"]) == 500
        missing = (await here.client.get("/api/v1/unique?app=/statsd&limit=10&cursor=9995")).json()["apps"][0]["hosts"]
        assert len(missing) == 5


async def test_one_broken_part_leaves_the_overview_standing(tmp_path: Path) -> None:
    """A cluster that was never read is said in its place."""
    async with admin(tmp_path, cluster=small_cluster().__class__(marathon=True)) as here:
        await here.log_in()
        shown = await here.client.get("/")
        assert (shown.status_code, "the cluster&#39;s state is unavailable" in shown.text) == (200, True)
        assert "Last refusals" in shown.text
