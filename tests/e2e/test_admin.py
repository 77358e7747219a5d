"""The admin's pages as people meet them: a real browser, a real gateway, a terminal that somebody else types in."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, Request, async_playwright, expect

from octopus.demo.cluster import DemoCluster
from octopus.demo.engines import free_port
from tests.e2e.gateway import HOST, Gateway, Sections
from tests.e2e.people import People
from tests.e2e.scene import AGENTS, behind, gateway_for, launch, own_socket
from tests.parts.engines import Engine
from tests.parts.tools import missing, need

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

WAIT = 60_000
"""Milliseconds a page may take: the machine may be busy with other things."""
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
PAGES = ("/", "/sessions", "/tasks", "/capacity", "/unique", "/audit")
SERIOUS = {"serious", "critical"}
PLAYER = Path(__file__).parents[2] / "octopus" / "admin" / "static" / "player" / "VERSION"
SCREENSHOTS = os.environ.get("OCTOPUS_SCREENSHOTS", "")
"""A folder for pictures of what the tests see; "" for none."""


@dataclass
class World:
    """A gateway with its pages, people, a cluster and a browser."""

    gateway: Gateway
    people: People
    cluster: DemoCluster
    browser: Browser
    base: str


@dataclass
class Visit:
    """A browser of one person's own: what went wrong in it, and whom it asked."""

    page: Page
    faults: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    async def log_in(self, login: str, password: str) -> None:
        """Log in by the form."""
        await self.page.goto("/login")
        await self.page.fill("#login", login)
        await self.page.fill("#password", password)
        await self.page.click("main button")
        await expect(self.page.locator("nav.main")).to_be_visible()

    async def picture(self, name: str) -> None:
        """Keep a picture, where some are wanted."""
        if SCREENSHOTS:
            await self.page.screenshot(path=f"{SCREENSHOTS}/{name}.png")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(people: People, docker_engine: Engine) -> AsyncIterator[World]:
    """Two agents; /statsd is UNIQUE and on one of them only; names that bite are in the command of a session."""
    chromium, port = need("chromium", "chromium"), free_port(HOST)
    async with DemoCluster() as demo:
        for hostname in AGENTS:
            await demo.add_agent(hostname, engine=own_socket(docker_engine))
        await launch(demo, "/web/front")
        await launch(demo, "/statsd", constraints=[["hostname", "UNIQUE"]])
        sections: Sections = {
            "auth.users": {"file": "users.toml"},
            "docker": {"url": own_socket(docker_engine).url},
            "admin": {"listen": f"{HOST}:{port}", "viewers": ["web"], "operators": ["platform"]},
            "unique": {"mode": "observe", "interval": "1s", "settle_time": "1s"},
        }
        async with gateway_for(people, behind(demo), sections) as running, async_playwright() as playwright:
            await running.serves("web_front", key=people.alice.key)
            browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
            yield World(running, people, demo, browser, f"http://{HOST}:{port}")
            await browser.close()


@asynccontextmanager
async def visit(world: World, *, locale: str = "en-GB", scheme: str = "light", width: int = 1200) -> AsyncIterator[Visit]:
    """Give a browser of its own; nothing may have gone wrong in it, and it may have asked nobody but the gateway."""
    context: BrowserContext = await world.browser.new_context(
        base_url=world.base,
        locale=locale,
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 800},
    )
    context.set_default_timeout(WAIT)
    expect.set_options(timeout=WAIT)
    seen = Visit(await context.new_page())
    seen.page.on("console", lambda said: seen.faults.append(said.text) if said.type in ("error", "warning") else None)
    seen.page.on("pageerror", lambda error: seen.faults.append(str(error)))
    seen.page.on("request", lambda request: seen.hosts.add(_host(request)))
    try:
        yield seen
        assert seen.faults == []
        assert seen.hosts <= {urlsplit(world.base).netloc, ""}
    finally:
        await context.close()


def _host(request: Request) -> str:
    return urlsplit(request.url).netloc


async def test_a_live_terminal_is_watched_ended_and_replayed(world: World) -> None:
    """What another process types is seen as it is typed; the one who watches ends it with a reason, and plays it again."""
    if not PLAYER.exists():
        missing("no asciinema-player: npm and a network bring it when octopus is installed")
    alice, ssh = world.people.alice, world.gateway.ssh
    async with ssh.terminal("web_front", key=world.people.bob.key, options=["-l", "bob+web_front"]) as terminal, visit(world) as seen:
        await terminal.expect(rb"/ # ")
        terminal.send(b"echo be''fore\n")
        await terminal.expect(rb"before\r\n")
        await seen.log_in("alice", alice.password)
        await seen.page.goto("/sessions?outcome=live")
        await seen.page.click("table a")
        screen = seen.page.locator("#terminal")
        await expect(screen).to_contain_text("before")
        terminal.send(b"echo af''ter\n")
        await expect(screen).to_contain_text("after")
        await seen.picture("live")

        seen.page.on("dialog", lambda dialog: dialog.accept())
        await seen.page.fill("input[name=reason]", "tea time")
        await seen.page.click("button.danger")
        await terminal.expect(rb"tea time")
        await expect_over(seen.page)
        session = seen.page.url.rpartition("/")[2]
        await seen.page.click("#terminal .ap-overlay-start, #terminal .ap-playback-button")
        await expect(seen.page.locator("#terminal")).to_contain_text("after")
        async with seen.page.expect_download() as download:
            await seen.page.click("text=Download the recording")
        assert (await download.value).suggested_filename == f"{session}.cast"
        await expect(seen.page.locator("main")).to_contain_text("admin.kill")
    told = [(event["event"], event["login"]) for event in world.gateway.trail.events if event["event"].startswith("admin.")]
    assert ("admin.watched", "alice") in told
    assert ("admin.replayed", "alice") in told


async def expect_over(page: Page) -> None:
    """Load the session's page until the trail says that it is over."""
    for _ in range(60):
        if await page.locator(".tag.live").count() == 0 and await page.locator("#terminal[data-cast]").count():
            return
        await page.wait_for_timeout(500)
        await page.reload()
    raise AssertionError(await page.inner_text("main"))


async def test_a_form_of_another_site_changes_nothing(world: World) -> None:
    """Without its token the same form ends nobody's session."""
    async with visit(world) as seen, world.gateway.ssh.terminal("web_front", key=world.people.alice.key) as terminal:
        await terminal.expect(rb"/ # ")
        await seen.log_in("alice", world.people.alice.password)
        await seen.page.goto("/sessions?outcome=live")
        await seen.page.click("table a")
        await seen.page.eval_on_selector("form[action$=kill] input[name=token]", "field => { field.value = 'forged' }")
        seen.page.on("dialog", lambda dialog: dialog.accept())
        await seen.page.click("button.danger")
        await expect(seen.page.locator("h1")).to_have_text("403")
        seen.faults.clear()  # the browser tells of a 403 itself
        terminal.send(b"echo st''ill\n")
        await terminal.expect(rb"still\r\n")
        terminal.send(b"exit\n")
        await terminal.wait()


async def test_an_app_is_simulated_and_a_unique_one_scaled(world: World) -> None:
    """The simulator says where instances would go; one click puts /statsd on the host that lacks it."""
    async with visit(world) as seen:
        await seen.log_in("alice", world.people.alice.password)
        await seen.page.goto("/capacity")
        await seen.picture("capacity")
        await seen.page.fill("#id", "/web/front")
        await seen.page.fill("#instances", "2")
        await seen.page.click("#simulator button")
        await expect(seen.page.locator("main")).to_contain_text("2 of 2 find a place")
        for _ in range(60):
            await seen.page.goto("/unique")
            if await seen.page.get_by_text("Scale now").count():
                break
            await seen.page.wait_for_timeout(500)
        await seen.page.get_by_text("Scale now").click()
        await expect(seen.page.locator("[role=status]")).to_contain_text("scaled: 1 → 2")
    assert len(await world.cluster.running("/statsd", 2)) == 2
    [event] = [one for one in world.gateway.trail.events if one["event"] == "unique.scaled"]
    assert (event["operator"], event["target"]) == ("alice", {"app": "/statsd"})


@pytest.mark.parametrize(("locale", "words"), [("en-GB", "Where you may go"), ("zh-CN", "您可以进入哪里")])
async def test_each_reader_gets_their_language(world: World, locale: str, words: str) -> None:
    """By what the browser says, and by the switch."""
    async with visit(world, locale=locale) as seen:
        await seen.log_in("bob", world.people.bob.password)
        await seen.page.goto("/tasks")
        await expect(seen.page.locator("h1")).to_have_text(words)
        await seen.page.click(".who a[hreflang]")
        await expect(seen.page.locator("h1")).not_to_have_text(words)
        assert urlsplit(seen.page.url).path == "/tasks"


async def test_without_scripts_all_but_the_live_view_works(world: World) -> None:
    """Log in, look at tasks with the line to copy, simulate, log out."""
    context = await world.browser.new_context(base_url=world.base, java_script_enabled=False)
    context.set_default_timeout(WAIT)
    seen = Visit(await context.new_page())
    try:
        await seen.log_in("bob", world.people.bob.password)
        await seen.page.goto("/tasks")
        await expect(seen.page.locator("main")).to_contain_text(re.compile(r"ssh -p \d+ bob\+web_front\."))
        await expect(seen.page.locator("main")).to_contain_text("no rule of the policy speaks of you and this app")
        await seen.page.goto("/capacity")
        await seen.page.fill("#id", "/web/front")
        await seen.page.click("#simulator button")
        await expect(seen.page.locator("main")).to_contain_text("0 of 0 find a place")
        await seen.page.click("header .who form button")
        await expect(seen.page.locator("#password")).to_be_visible()
    finally:
        await context.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
async def test_everybody_can_use_the_pages(world: World, scheme: str, width: int) -> None:
    """axe-core finds no serious fault, by day on a desk and by night on a phone, where no page is wider than the screen."""
    await world.gateway.ssh.run("web_front", "echo '<script>alert(1)</script>' \x1b]0;x\x07", key=world.people.alice.key)
    await world.gateway.ssh.run("no-such", "true", key=world.people.alice.key)
    async with visit(world, scheme=scheme, width=width) as seen:
        await seen.page.goto("/login")
        faults = await _serious(seen.page)
        await seen.log_in("alice", world.people.alice.password)
        for path in PAGES:
            await seen.page.goto(path)
            await seen.picture(f"{scheme}-{width}-{path.strip('/') or 'overview'}")
            faults += await _serious(seen.page)
            faults += [f"{path}: a column without a head" for head in await seen.page.locator("th").all_text_contents() if not head.strip()]
            wide = await seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, path
        await seen.page.goto("/sessions?outcome=ended")
        await seen.page.click("table a >> nth=0")
        faults += await _serious(seen.page)
        assert faults == []


async def test_the_keyboard_reaches_everything(world: World) -> None:
    """The first stop is the way past the navigation; a form is sent with Enter."""
    async with visit(world) as seen:
        await seen.log_in("alice", world.people.alice.password)
        await seen.page.goto("/tasks")
        await seen.page.keyboard.press("Tab")
        assert await seen.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await seen.page.locator("input[type=search]").focus()
        await seen.page.keyboard.type("statsd")
        await seen.page.keyboard.press("Enter")
        await expect(seen.page).to_have_url(re.compile("text=statsd"))
        await expect(seen.page.locator("tbody tr").first).to_contain_text("/statsd")


async def _serious(page: Page) -> list[str]:
    """Return what axe-core calls serious on this page."""
    found = await Axe().run(page)
    violations = found.response["violations"]
    return [
        f"{page.url}: {one['id']}: {one['help']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in violations
        if one["impact"] in SERIOUS
    ]
