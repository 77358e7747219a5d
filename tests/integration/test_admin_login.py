"""Coming in at the admin over real HTTP: who is let in, who is not, and what every change takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.parts.admin import PASSWORD, Admin, admin, bearer, live_session, token_of

PAGES = ("/", "/sessions", "/tasks", "/capacity", "/unique", "/audit")
READS = tuple(f"/api/v1/{name}" for name in ("sessions", "tasks", "capacity", "unique", "audit"))
CHANGES = ("/sessions/s-1/kill", "/unique/scale", "/capacity/simulate", "/logout")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Admin]:
    """A running admin."""
    async with admin(tmp_path) as running:
        yield running


async def test_a_stranger_is_led_to_the_login_and_back(here: Admin) -> None:
    """Every page asks who it is; the API says 401."""
    for path in PAGES:
        found = await here.client.get(path)
        assert (found.status_code, found.headers["location"].split("?")[0]) == (303, "/login"), path
    for path in READS:
        assert (await here.client.get(path)).status_code == 401, path
    shown = await here.client.get("/login?next=/tasks")
    entered = await here.client.post("/login?next=/tasks", data={"login": "alice", "password": PASSWORD, "token": token_of(shown)})
    assert (entered.status_code, entered.headers["location"]) == (303, "/tasks")
    for path in (*PAGES, *READS):
        assert (await here.client.get(path)).status_code == 200, path


async def test_the_cookie_is_for_this_site_and_no_script(here: Admin) -> None:
    """And behind TLS it is named so that no other site can set it."""
    entered = await here.log_in()
    [cookie] = [value for value in entered.headers.get_list("set-cookie") if value.startswith("octopus=")]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "alice" not in cookie


async def test_both_outcomes_are_on_the_trail(here: Admin) -> None:
    """With who, from where and why, and never the password."""
    refused = await here.log_in(password="wr0ng-secret")
    assert (refused.status_code, "wrong" in refused.text) == (401, True)
    assert (await here.log_in("mallory")).status_code == 403
    await here.log_in()
    told = [(line["login"], line["outcome"], line.get("reason", line.get("role"))) for line in here.trail("admin.login")]
    assert [line[:2] for line in told] == [("alice", "refused"), ("mallory", "refused"), ("alice", "accepted")]
    assert told[1][2] == "in no group of [admin] viewers or operators"
    assert all(line["client"].startswith("127.0.0.1:") for line in here.trail("admin.login"))
    assert "wr0ng-secret" not in (here.root / "audit" / "audit.jsonl").read_text()


async def test_the_limits_are_those_of_ssh(here: Admin) -> None:
    """After three failures the right password is refused too, in the same words."""
    answers = [await here.log_in(password="wrong") for _ in range(3)]
    last = await here.log_in()
    assert last.status_code == 401
    assert {answer.status_code for answer in answers} == {401}
    assert "too many failures" in here.trail("admin.login")[-1]["reason"]


async def test_nobody_is_logged_in_from_another_site(here: Admin) -> None:
    """The form takes the cookie it came with, and a browser that says so is believed."""
    shown = await here.client.get("/login")
    form = {"login": "alice", "password": PASSWORD, "token": token_of(shown)}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
        assert (await here.client.post("/login", data=form, headers=headers)).status_code == 403
    assert (await here.client.post("/login", data=form | {"token": "x"})).status_code == 403
    async with httpx.AsyncClient(base_url=here.client.base_url) as other:
        assert (await other.post("/login", data=form)).status_code == 403
    assert here.trail("admin.login") == []


async def test_a_change_takes_its_token(here: Admin) -> None:
    """Without it, with another visit's, or from another site, nothing is changed."""
    here.plane.live.add(live_session("s-1"))
    await here.log_in()
    token = await here.token()
    for path in CHANGES:
        assert (await here.client.post(path, data={})).status_code == 403, path
        assert (await here.client.post(path, data={"token": token[::-1]})).status_code == 403, path
        foreign = await here.client.post(path, data={"token": token}, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403, path
    for path in ("sessions/s-1/kill", "capacity/simulate", "unique/scale"):
        found = await here.client.post(f"/api/v1/{path}", json={"app": "/statsd"})
        assert found.status_code == 403, path
    assert here.trail("admin.kill") == []


async def test_a_viewer_looks_at_what_is_theirs(here: Admin) -> None:
    """Not at others' sessions or lines, and ends nothing; that there is such a session is not told either."""
    here.plane.live.add(live_session("s-bob", login="bob"))
    here.plane.live.add(live_session("s-alice", login="alice"))
    await here.log_in("bob")
    shown = await here.client.get("/sessions")
    assert ("s-bob" in shown.text, "s-alice" in shown.text) == (True, False)
    assert (await here.client.get("/sessions/s-bob")).status_code == 200
    hidden, none = await here.client.get("/sessions/s-alice"), await here.client.get("/sessions/s-none")
    assert (hidden.status_code, hidden.text) == (404, none.text.replace("s-none", "s-alice"))
    for path in ("/sessions/s-alice/live", "/sessions/s-alice/recording.cast", "/api/v1/sessions/s-alice"):
        assert (await here.client.get(path)).status_code == 404, path
    for path in ("/api/v1/sessions", "/api/v1/audit", "/sessions", "/audit"):
        assert (await here.client.get(path, params={"login": "Bob"})).status_code == 200, path
        others = await here.client.get(path, params={"login": "alice"})
        assert (others.status_code, "a viewer sees their own alone" in others.text) == (403, True), path
    logins = {line.get("login") for line in (await here.client.get("/api/v1/audit")).json()["events"]}
    assert logins == {"bob"}
    token = await here.token()
    for path in ("/sessions/s-bob/kill", "/unique/scale"):
        assert (await here.client.post(path, data={"token": token, "app": "/statsd"})).status_code == 403, path


async def test_a_machine_comes_with_its_token(here: Admin) -> None:
    """And with the right one only; it needs no token for changes, having no browser."""
    here.plane.live.add(live_session("s-1"))
    assert (await here.client.get("/api/v1/sessions", headers=bearer("ci"))).json()["live"] == 1
    assert (await here.client.get("/api/v1/sessions", headers=bearer("board"))).json()["live"] == 0
    for wrong in ("Bearer nobody", "Bearer", "Basic dG9rZW46", "x"):
        found = await here.client.get("/api/v1/sessions", headers={"authorization": wrong})
        assert (found.status_code, found.headers["www-authenticate"]) == (401, "Bearer")
    refused = await here.client.post("/api/v1/sessions/s-1/kill", headers=bearer("board"), json={})
    assert refused.status_code == 403
    # The worker of this session does not listen, but the wish is on the trail first.
    assert (await here.client.post("/api/v1/sessions/s-1/kill", headers=bearer("ci"), json={"reason": "tea"})).status_code == 503
    [killed] = here.trail("admin.kill")
    assert (killed["session"], killed["operator"], killed["reason"]) == ("s-1", "token:ci", "tea")


async def test_who_logs_out_is_out(here: Admin) -> None:
    """Also with a copy of the cookie."""
    await here.log_in()
    copy = dict(here.client.cookies)
    await here.client.post("/logout", data={"token": await here.token()})
    assert (await here.client.get("/tasks")).status_code == 303
    async with httpx.AsyncClient(base_url=here.client.base_url, cookies=copy) as thief:
        assert (await thief.get("/tasks")).status_code == 303


async def test_a_visit_ends_by_itself(tmp_path: Path) -> None:
    """As soon as the configuration says."""
    async with admin(tmp_path, more='idle_timeout = "0.000001s"') as here:
        assert (await here.log_in()).status_code == 303
        assert (await here.client.get("/tasks")).status_code == 303


async def test_the_language_is_kept(here: Admin) -> None:
    """The switch goes before the browser's wish, and leads back to this site only."""
    assert "登录" in (await here.client.get("/login", headers={"accept-language": "zh-CN"})).text
    switched = await here.client.get("/language/zh?next=//evil.example/")
    assert switched.headers["location"] == "/"
    assert '<html lang="zh">' in (await here.client.get("/login", headers={"accept-language": "en"})).text
    assert (await here.client.get("/language/xx")).status_code == 404
