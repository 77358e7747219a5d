"""``octopus capacity`` and ``octopus simulate`` against the stand-in cluster: what is said, how it is printed, how it ends."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from octopus.demo.cluster import DemoCluster
from octopus.demo.resources import Resources

VERSIONS = [("0.22.0", "0.8.1"), ("1.1.0", "1.3.0"), ("1.11.0", "1.8.0")]
STATSD = {"cmd": "sleep 1", "cpus": 1, "mem": 64, "instances": 2, "constraints": [["hostname", "UNIQUE"]]}


@dataclass
class Ended:
    """How the command ended and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read."""
        return json.loads(self.out)


@dataclass
class Ground:
    """A stand-in cluster of three agents, with four CPUs each, and a configuration that names it."""

    demo: DemoCluster
    config: Path

    async def octopus(self, *arguments: str, given: bytes = b"") -> Ended:
        """Run a verb against the cluster."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from octopus.cli import main; main()", *arguments, "--config", str(self.config)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(os.environ),
        )
        out, err = await process.communicate(given)
        return Ended(process.returncode or 0, out.decode(), err.decode())

    def file(self, document: object) -> str:
        """Write a document beside the configuration."""
        path = self.config.parent / "app.json"
        path.write_text(json.dumps(document))
        return str(path)


@contextlib.asynccontextmanager
async def ground(directory: Path, mesos: str = "1.11.0", marathon: str = "1.8.0") -> AsyncIterator[Ground]:
    """Give a cluster in which statsd runs on two of three agents."""
    async with DemoCluster(mesos_version=mesos, marathon_version=marathon, tick=0.02) as demo:
        for name in ("agent-1", "agent-2", "agent-3"):
            resources = Resources(4.0, 4096.0, 10240.0, 0.0, ((31000, 31099),))
            await demo.add_agent(name, attributes={"rack": f"r{name[-1]}"}, resources=resources)
        demo.put_app("/ops/statsd", **STATSD)
        await demo.running("/ops/statsd", 2)
        users = directory / "users.toml"
        users.touch(mode=0o600)
        config = directory / "octopus.toml"
        config.write_text(
            f'[ssh]\nhost_keys = "keys"\n[audit]\ndirectory = "."\n[auth.users]\nfile = "users.toml"\n'
            f"[mesos]\nmasters = {json.dumps(demo.mesos_urls)}\n[marathon]\nurls = {json.dumps(demo.marathon_urls)}\n"
            f'[docker]\nurl = "unix:///nowhere"\n[[policy]]\nusers = ["al"]\napps = ["/**"]\nallow = ["shell"]\n'
        )
        yield Ground(demo, config)


@pytest.mark.parametrize(("mesos", "marathon"), VERSIONS)
async def test_what_a_cluster_can_still_take(tmp_path: Path, mesos: str, marathon: str) -> None:
    """Twelve CPUs, two used, ten free: ten more of the one shape that runs, and any agent may be lost."""
    async with ground(tmp_path, mesos, marathon) as there:
        found = (await there.octopus("capacity", "--json")).json
        cpus = found["sums"]["cpus"]
        assert (cpus["total"], cpus["used"], cpus["free"]) == (12_000, 2000, 10_000)
        assert found["complete"] is True
        assert found["marathon"] == marathon
        assert found["shapes"]["median"]["real"] == {"least": 10, "most": 10, "exact": True}
        statsd = {
            "app": "/ops/statsd",
            "eligible": 3,
            "running": 2,
            "missing": 0,
            "blocked": 0,
            "leaving": 0,
            "misplaced": 0,
        }  # the third is new
        assert found["unique"] == [statsd]
        assert (found["largest_app"], found["what_if"]["losses"][0]["unplaced"]) == ("/ops/statsd", 0)
        text = await there.octopus("capacity")
        assert (text.status, text.err) == (0, "")
        assert "3 of 3 agents are offered" in text.out
        assert "cpus\t12\t2\t10" in text.out
        assert "any one agent may be lost" in text.out


async def test_an_app_that_cannot_be_judged(tmp_path: Path) -> None:
    """A pattern that is none: app, constraint and value are said, with the status of a document that is wrong."""
    async with ground(tmp_path) as there:
        there.demo.put_app("/ops/bad", cmd="true", constraints=[["hostname", "UNIQUE"], ["rack", "LIKE", "r["]], instances=0)
        why = '/ops/bad: cannot be judged: constraints(1) ["rack","LIKE","r["]: is not a valid regular expression'
        for arguments in (("simulate", "/ops/bad", "-n", "1"), ("simulate", "/ops"), ("unique", "--app", "/ops/bad")):
            asked = await there.octopus(*arguments)
            assert (asked.status, asked.out, asked.err) == (65, "", f"octopus: {why}\n"), arguments
        assert (await there.octopus("capacity", "--json")).json["notes"] == [f"left out: {why.replace(': ', ' ', 1)}"]


@pytest.mark.parametrize(("mesos", "marathon"), VERSIONS)
async def test_simulating_what_runs(tmp_path: Path, mesos: str, marathon: str) -> None:
    """One more statsd finds the third agent; of two more one does, and each agent says why not, in Marathon's words."""
    async with ground(tmp_path, mesos, marathon) as there:
        none = await there.octopus("simulate", "ops/statsd")
        assert (none.status, none.out) == (0, "/ops/statsd: no more instances are asked for than run\n")
        one = await there.octopus("simulate", "ops/statsd", "-n", "1", "--json")
        assert one.status == 0
        two = await there.octopus("simulate", "/ops", "-n", "2")
        assert two.status == 1
        assert two.out.splitlines()[0] == "/ops/statsd: 1 of 2 fit"
        assert two.out.count("UnfulfilledConstraint") == 3
        [spot] = one.json["outcomes"][0]["placement"]["where"]
        taken = {there.demo.mesos.registry.agents[task.agent_id].hostname for task in there.demo.tasks("/ops/statsd")}
        assert {spot["hostname"]} == {"agent-1", "agent-2", "agent-3"} - taken


async def test_simulating_a_document(tmp_path: Path) -> None:
    """A new app, several after each other, from a file or standard input; what does not fit is exit status 1."""
    async with ground(tmp_path) as there:
        big = {"id": "/big", "cmd": "x", "cpus": 3, "mem": 10, "instances": 3}
        fits = await there.octopus("simulate", there.file(big))
        assert (fits.status, fits.out.splitlines()[0]) == (0, "/big: all 3 fit")
        both = await there.octopus("simulate", there.file([big, {**big, "id": "/bigger"}]), "--json")
        assert both.status == 1
        assert [each["placement"]["least"] for each in both.json["outcomes"]] == [3, 0]
        given = await there.octopus("simulate", "-", "-n", "4", given=json.dumps(big).encode())
        assert (given.status, given.out.splitlines()[0]) == (1, "/big: 3 of 4 fit")
        assert "InsufficientCpus\tneeds 3 cpus" in given.out


async def test_simulating_a_change(tmp_path: Path) -> None:
    """A document of an app that runs is its upgrade, whatever changes in it; with -n instances are added."""
    async with ground(tmp_path) as there:
        app = {"id": "/ops/statsd", **STATSD}
        more = await there.octopus("simulate", there.file(app), "-n", "1")
        assert (more.status, more.out.splitlines()[0]) == (0, "/ops/statsd: the one that is asked for fits")
        scaled = await there.octopus("simulate", there.file({"id": "/ops/statsd", "instances": 4}))
        assert (scaled.status, scaled.out.splitlines()[0]) == (1, "/ops/statsd: 1 of 2 fit")
        moved = await there.octopus("simulate", there.file({"id": "/ops/statsd", "cpus": 4}))
        assert moved.out == "/ops/statsd: the upgrade of 2 comes to its end (stops 0 at once, starts 2, never more than 4)\n"
        changed = await there.octopus("simulate", there.file({**app, "cpus": 4}))
        assert changed.status == 0
        assert changed.out == "/ops/statsd: the upgrade of 2 comes to its end (stops 0 at once, starts 2, never more than 4)\n"
        too_big = await there.octopus("simulate", there.file({**app, "cpus": 5}))
        assert too_big.status == 1
        assert too_big.out.startswith("/ops/statsd: the upgrade hangs at 0 of 2 (")
        assert too_big.out.count("InsufficientCpus\tneeds 5 cpus") == 3


async def test_a_unique_app_on_all_hosts_of_an_old_marathon_hangs(tmp_path: Path) -> None:
    """Before 1.1 old instances count, and by default none stops first."""
    async with ground(tmp_path, "0.22.0", "0.8.1") as there:
        there.demo.scale("/ops/statsd", 3)
        await there.demo.running("/ops/statsd", 3)
        changed = await there.octopus("simulate", there.file({"id": "/ops/statsd", **STATSD, "instances": 3, "cpus": 2}))
        assert (changed.status, changed.out.count("UnfulfilledConstraint")) == (1, 3)
        assert changed.out.startswith("/ops/statsd: the upgrade hangs at 0 of 3")


async def test_what_cannot_be_simulated(tmp_path: Path) -> None:
    """A wrong document is 65 with every fault and its path, an unknown name 68; nothing is printed but that."""
    async with ground(tmp_path) as there:
        wrong = await there.octopus("simulate", there.file({"id": "a", "cpus": "x", "constraints": [["hostname", "UNIQ\u001b"]]}))
        assert (wrong.status, wrong.out) == (65, "")
        assert "/cpus: error.expected.jsnumber" in wrong.err
        assert "/constraints(0): operator must be one of the following" in wrong.err
        assert "\x1b" not in wrong.err
        unknown = await there.octopus("simulate", "/nothing/here")
        assert (unknown.status, unknown.out) == (68, "")
        assert unknown.err == "octopus: Marathon has no app and no group '/nothing/here', and there is no such file\n"


async def test_a_name_that_is_no_app_never_passes_a_gate(tmp_path: Path) -> None:
    """An empty name, as of a variable that is not set, must not be everything that runs; a document that is wrong is named."""
    async with ground(tmp_path) as there:
        empty = await there.octopus("simulate", "")
        assert (empty.status, empty.out) == (64, "")
        assert (await there.octopus("simulate", "/ops/statsd", "--url", "")).status == 64
        assert (await there.octopus("simulate", "/ops/statsd", "--token-file", "x")).status == 64
        for name in ("x" * 300, str(tmp_path)):
            assert (await there.octopus("simulate", name)).status == 68
        (tmp_path / "cut.json").write_text('{"id": "/a"')
        for name, said in ((str(tmp_path / "cut.json"), str(tmp_path / "cut.json")), ("-", "standard input")):
            cut = await there.octopus("simulate", name, given=b'{"id": "/a"')
            assert (cut.status, cut.err.splitlines()) == (65, [f"octopus: {said}: /: Invalid JSON: Input data was truncated"])


async def test_a_mark_of_windows_is_passed_over(tmp_path: Path) -> None:
    """In front of a document as of a configuration: nobody sees it in an editor."""
    async with ground(tmp_path) as there:
        there.config.write_bytes(codecs.BOM_UTF8 + there.config.read_bytes())
        path = tmp_path / "app.json"
        path.write_bytes(codecs.BOM_UTF8 + b'{"id": "/a", "cmd": "x", "cpus": 1}')
        found = await there.octopus("simulate", str(path))
        assert (found.status, found.err) == (0, "")


async def test_a_document_from_a_pipe_is_read(tmp_path: Path) -> None:
    """As a shell hands it over: octopus simulate <(jq …)."""
    async with ground(tmp_path) as there:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        simulating = asyncio.create_task(there.octopus("simulate", str(pipe)))
        await asyncio.to_thread(pipe.write_text, '{"id": "/a", "cmd": "x", "cpus": 1}')
        assert (await simulating).out.splitlines()[0] == "/a: the one that is asked for fits"


async def test_a_failover_is_said(tmp_path: Path) -> None:
    """While a new leader waits for agents, what is told is told as incomplete."""
    async with ground(tmp_path) as there:
        there.demo.fail_over(0, reregister=False)
        there.demo.reregister("agent-1")
        found = await there.octopus("capacity", "--json")
        assert found.json["complete"] is False
        assert "have not come back" in found.json["notes"][0]


async def test_one_engine_has_no_capacity(tmp_path: Path) -> None:
    """Without Mesos there is nothing to tell of."""
    async with ground(tmp_path) as there:
        text = there.config.read_text()
        there.config.write_text(
            text[: text.index("[mesos]")] + text[text.index("[docker]") :].replace("[docker]", "[docker]\ninventory = true")
        )
        found = await there.octopus("capacity")
        assert (found.status, found.out) == (78, "")
        assert "this needs [mesos]" in found.err


@pytest.mark.parametrize("verb", ["capacity", "simulate"])
async def test_the_verbs_explain_themselves(tmp_path: Path, verb: str) -> None:
    """--help says what it does, with an example."""
    found = await Ground(DemoCluster(), tmp_path / "none").octopus(verb, "--help")
    assert (found.status, found.err) == (0, "")
    assert f"Usage: octopus {verb}" in found.out
    assert "Example" in found.out
