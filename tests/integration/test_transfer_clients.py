"""Files through the gateway with other clients than OpenSSH's: PuTTY's, lftp, sshfs, curl, and the libraries."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest

from octopus.core.types import FileRights
from tests.parts.gateway import PASSWORDS, GatewayPart, gateway_part
from tests.parts.ssh_client import Ended
from tests.parts.tools import need

BLOCK = bytes(range(256)) * 4096
"""A MiB that tells every byte value."""
PASSWORD = PASSWORDS["alice"]


@pytest.fixture
async def part(tmp_path: Path) -> AsyncIterator[GatewayPart]:
    """A gateway for one test."""
    async with gateway_part(tmp_path) as part:
        part.plane.tasks["alice+t"] = part.plane.tasks["t"]
        yield part


async def putty(part: GatewayPart, program: str, *words: str, stdin: bytes | None = None) -> Ended:
    """Run one of PuTTY's clients, with a password and the host key it is to see."""
    key = await part.ssh.run_program(["ssh-keygen", "-lf", f"{part.directory}/hostkeys/ssh_host_ed25519_key"])
    argv = [need(program, "putty-tools"), "-P", str(part.port), "-pw", PASSWORD, "-batch", "-hostkey", key.stdout.split()[1].decode()]
    return await part.ssh.run_program([*argv, *words], stdin=stdin)


@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
async def test_pscp(part: GatewayPart, protocol: str) -> None:
    """PuTTY's pscp copies a tree up and a file down by either protocol."""
    (part.directory / "tree" / "below").mkdir(parents=True)
    (part.directory / "tree" / "below" / "file").write_bytes(BLOCK)
    up = await putty(part, "pscp", protocol, "-r", "-p", str(part.directory / "tree"), "alice+t@127.0.0.1:.")
    assert up.status == 0, up
    assert (part.home / "tree" / "below" / "file").read_bytes() == BLOCK
    down = await putty(part, "pscp", protocol, "alice+t@127.0.0.1:tree/below/fi*", str(part.directory / "back"))
    assert down.status == 0, down
    assert (part.directory / "back").read_bytes() == BLOCK


async def test_psftp(part: GatewayPart) -> None:
    """PuTTY's psftp changes directories, lists, puts, moves, gets and removes."""
    (part.directory / "local").write_bytes(BLOCK)
    local, back = part.directory / "local", part.directory / "back"
    script = f"mkdir d\ncd d\nput {local} a\nmv a b\nchmod 600 b\nls\nget b {back}\nrm b\ncd ..\nrmdir d\ncd none\nquit\n"
    ended = await putty(part, "psftp", "-be", "-b", "/dev/stdin", "alice+t@127.0.0.1", stdin=script.encode())
    assert b"-rw-------" in ended.stdout
    assert b"none: no such file" in ended.stdout
    assert (part.directory / "back").read_bytes() == BLOCK
    assert list(part.home.iterdir()) == []


async def test_curl(part: GatewayPart) -> None:
    """curl lists, uploads with missing directories, downloads whole and in part."""
    curl = [need("curl", "curl"), "-sS", "-k", "-u", f"alice+t:{PASSWORD}"]
    base = f"sftp://127.0.0.1:{part.port}{part.home}"
    (part.directory / "local").write_bytes(BLOCK)
    up = await part.ssh.run_program([*curl, "--ftp-create-dirs", "-T", str(part.directory / "local"), f"{base}/d/a"])
    assert up.status == 0, up
    assert (await part.ssh.run_program([*curl, f"{base}/d/a"])).stdout == BLOCK
    assert (await part.ssh.run_program([*curl, "-r", "1000-1999", f"{base}/d/a"])).stdout == BLOCK[1000:2000]
    assert b" a\n" in (await part.ssh.run_program([*curl, f"{base}/d/"])).stdout
    await part.plane.ended(4)
    whole, ranged = part.plane.of("file.downloaded")
    assert (whole.data["complete"], whole.data["size"]) == (True, len(BLOCK))
    assert not ranged.data["complete"]


async def test_lftp(part: GatewayPart) -> None:
    """lftp mirrors a tree up and down with requests in parallel, and removes it."""
    tree = part.directory / "tree"
    for number in range(30):
        (tree / str(number % 3)).mkdir(parents=True, exist_ok=True)
        (tree / str(number % 3) / str(number)).write_bytes(bytes([number]) * number * 1000)
    options = " ".join(part.ssh.options[2:])
    (part.directory / "connect").write_text(f'#!/bin/sh\nexec ssh -F none {options} -i {part.key} "$@"\n')
    (part.directory / "connect").chmod(0o700)
    script = (
        f'set sftp:connect-program "{part.directory}/connect -a -x"; set net:max-retries 1; set cmd:fail-exit true;'
        f" open -u t, sftp://127.0.0.1; cd {part.home}; mirror -R -P 3 {tree} up; mirror -P 3 up {part.directory}/down; rm -r up; ls"
    )
    ended = await part.ssh.run_program([need("lftp", "lftp"), "--norc", "-c", script], stdin=None)
    assert ended.status == 0, ended
    for number in range(30):
        assert (part.directory / "down" / str(number % 3) / str(number)).read_bytes() == bytes([number]) * number * 1000
    assert list(part.home.iterdir()) == []


async def test_sshfs(part: GatewayPart) -> None:
    """Mounted by sshfs a directory is listed, and files in it are made, edited in place, renamed and removed."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse to mount with")
    mount = part.directory / "mount"
    mount.mkdir()
    (part.home / "there").write_text("line one\nline two\n")
    options = [word for word in part.ssh.options if word not in ("-F", "none")]
    argv = [
        need("sshfs", "sshfs"),
        "-f",
        f"t@127.0.0.1:{part.home}",
        str(mount),
        "-F",
        "/dev/null",
        "-o",
        f"IdentityFile={part.key}",
        *options,
    ]
    process = await asyncio.create_subprocess_exec(*argv, env=part.ssh.environment(), stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(os.path.ismount, mount):
                assert process.returncode is None
                await asyncio.sleep(0)
        script = (
            f"cd {mount} && ls -l && sed -i s/two/2/ there && echo new >made && echo more >>made && mv made moved && ln -s there link"
            " && printf X | dd of=moved bs=1 seek=1 conv=notrunc 2>/dev/null && chmod 600 moved && truncate -s 5 moved"
            " && cat link && df . && rm link"
        )
        ended = await part.ssh.run_program(["sh", "-c", script], stdin=None)
        assert ended.status == 0, ended
        assert b"line one\nline 2\n" in ended.stdout
    finally:
        await part.ssh.run_program(["fusermount", "-u", str(mount)], stdin=None)
        await process.communicate()
    assert (part.home / "moved").read_bytes() == b"nXw\nm"
    assert stat.S_IMODE((part.home / "moved").stat().st_mode) == 0o600
    assert sorted(path.name for path in part.home.iterdir()) == ["moved", "there"]
    [end] = await part.plane.ended()
    assert end.event == "session.ended"


def with_paramiko(part: GatewayPart) -> dict[str, Any]:
    """Do everything paramiko's client can."""
    transport = paramiko.Transport(("127.0.0.1", part.port))
    transport.connect(username="alice+t", password=PASSWORD)
    client = paramiko.SFTPClient.from_transport(transport)
    assert client is not None
    seen: dict[str, Any] = {}
    with client.open("a", "wb") as file:
        file.set_pipelined(True)
        for start in range(0, len(BLOCK), 30_000):
            file.write(BLOCK[start : start + 30_000])
    with client.open("a", "rb") as file:
        file.prefetch()
        seen["whole"] = file.read()
    with client.open("a", "r+b") as file:
        file.seek(100)
        file.write(b"middle")
        file.seek(98)
        seen["middle"] = file.read(10)
    with client.open("a", "rb") as file:
        seen["parts"] = file.readv([(500_000, 10), (0, 10), (250_000, 40_000)])
        seen["parts"] = [bytes(part) for part in seen["parts"]]
    client.symlink("a", "s")
    seen["link"] = client.readlink("s")
    client.chmod("a", 0o640)
    client.utime("a", (1, 2))
    seen["stat"] = client.stat("s")
    client.truncate("a", 3)
    client.posix_rename("a", "s")
    seen["names"] = client.listdir(".")
    client.remove("s")
    with pytest.raises(FileNotFoundError):
        client.stat("s")
    client.close()
    transport.close()
    return seen


async def test_paramiko(part: GatewayPart) -> None:
    """paramiko's pipelined writes, prefetch, scattered reads and changes in place all hold."""
    seen = await asyncio.to_thread(with_paramiko, part)
    assert seen["whole"] == BLOCK
    changed = BLOCK[:100] + b"middle" + BLOCK[106:]
    assert seen["middle"] == changed[98:108]
    assert seen["parts"] == [changed[500_000:500_010], changed[:10], changed[250_000:290_000]]
    assert seen["link"] == "a"
    assert (stat.S_IMODE(seen["stat"].st_mode), seen["stat"].st_mtime) == (0o640, 2)
    assert seen["names"] == ["s"]
    [end] = await part.plane.ended()
    assert end.event == "session.ended"
    first = part.plane.of("file.uploaded")[0].data
    assert (first["size"], first["sha256"], first["ordered"]) == (len(BLOCK), hashlib.sha256(BLOCK).hexdigest(), True)


async def test_asyncssh(part: GatewayPart) -> None:
    """asyncssh's client, which does as the draft says, makes links the right way round, globs, and copies trees."""
    async with (
        asyncssh.connect("127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None) as connection,
        connection.start_sftp_client() as client,
    ):
        (part.directory / "tree").mkdir()
        (part.directory / "tree" / "a").write_bytes(BLOCK * 8)
        await client.put(str(part.directory / "tree"), "up", recurse=True, preserve=True)
        await client.symlink("up/a", "link")
        assert await client.readlink("link") == "up/a"
        assert await client.glob("up/*") == ["up/a"]
        await client.get("up", str(part.directory / "down"), recurse=True)
        assert (part.directory / "down" / "a").read_bytes() == BLOCK * 8
        assert (await client.statvfs(".")).blocks > 0
        await client.link("up/a", "hard")
        await client.posix_rename("hard", "link")
        with pytest.raises(asyncssh.SFTPFailure):
            await client.rename("link", "up/a")
        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await client.stat("none")
    [end] = await part.plane.ended()
    assert end.event == "session.ended"


async def test_refusal_is_in_the_status_too(part: GatewayPart) -> None:
    """A client that shows a status' words shows the sentence."""
    part.plane.rights = FileRights(download=True)
    async with (
        asyncssh.connect("127.0.0.1", part.port, username="t", client_keys=[str(part.key)], known_hosts=None, config=None) as connection,
        connection.start_sftp_client() as client,
    ):
        with pytest.raises(asyncssh.SFTPPermissionDenied, match="not allowed: mkdir "):
            await client.mkdir("d")
