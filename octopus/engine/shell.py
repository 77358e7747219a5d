"""Which shells a container has, and which one is a user's; a few facts per container are remembered.

A stat through the archive API costs 2 ms, an exec that fails for want of a shell 70 ms and shows the engine's words: so it is asked first.
"""

from __future__ import annotations

import asyncio
import io
import posixpath
import tarfile
from collections import OrderedDict

from octopus.core.errors import InvalidRequest
from octopus.engine.api import EngineApi
from octopus.engine.limits import faults
from octopus.engine.wire import Container, PathStat, decode_stat

SH, BASH = "/bin/sh", "/bin/bash"
MAX_LINKS = 5
MAX_PASSWD = 4 * 1024 * 1024
NO_SHELL = "this image has no shell; run a program by its path: ssh ... /path/to/program"
_NOT_SHELLS = frozenset({"nologin", "false", "true", "sync", "halt", "shutdown"})


class Shells:
    """Answers for containers of any engine; remembers the last ``capacity`` answers, never that a shell is missing."""

    def __init__(self, capacity: int = 4096) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def command_shell(self, api: EngineApi, container: Container) -> str:
        """Return the shell that runs commands with ``-c``, "" when there is none."""
        return self._recall(container, "-c") or self._remember(container, "-c", await _command_shell(api, container.id))

    async def shells(self, api: EngineApi, container: Container, user: str) -> tuple[str, str]:
        """Return ``command_shell`` and the shell of ``user`` ("" is the image's), else bash, else sh. Raise InvalidRequest without any."""
        user = user or container.config.user
        # Each takes calls one after the other: they go on together.
        asked = await asyncio.gather(self.command_shell(api, container), self._own_shell(api, container, user), return_exceptions=True)
        for answer in asked:
            if isinstance(answer, BaseException):
                raise answer
        command, own = map(str, asked)
        shell = command if own in ("", SH) else own
        if not shell:
            raise InvalidRequest(f"{api.agent}: container {container.id} has no shell", notice=NO_SHELL)
        return command, shell

    async def _own_shell(self, api: EngineApi, container: Container, user: str) -> str:
        return self._recall(container, user) or self._remember(container, user, await _own_shell(api, container.id, user))

    def _recall(self, container: Container, what: str) -> str:
        known = self._known.get((container.id, what), "")
        if known:
            self._known.move_to_end((container.id, what))
        return known

    def _remember(self, container: Container, what: str, shell: str) -> str:
        if shell:
            self._known[container.id, what] = shell
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        return shell


def passwd_shell(passwd: str, user: str) -> str:
    """Return the shell of ``user`` (name or uid, with or without group; "" is root) in /etc/passwd, "" when it has none to offer."""
    name = user.partition(":")[0] or "0"
    entries = [fields for line in passwd.splitlines() if len(fields := line.split(":")) >= 7]
    found = next((entry for entry in entries if entry[0] == name), None) or next((entry for entry in entries if entry[2] == name), None)
    shell = found[6].strip() if found else ""
    usable = shell.startswith("/") and shell.isprintable() and posixpath.basename(shell) not in _NOT_SHELLS
    return shell if usable else ""


async def _command_shell(api: EngineApi, container: str) -> str:
    # Where the engine cannot say (the archive API fails when a mounted folder has vanished from the host), sh is tried.
    if await _executable(api, container, SH) is not False:
        return SH
    return BASH if await _executable(api, container, BASH) else ""


async def _own_shell(api: EngineApi, container: str, user: str) -> str:
    """Return the user's own shell, else bash, "" for neither; whether sh is there is for ``_command_shell`` to say."""
    for shell in (passwd_shell(await _passwd(api, container), user), BASH):
        if shell == SH or (shell and await _executable(api, container, shell)):
            return shell
    return ""


async def _executable(api: EngineApi, container: str, path: str) -> bool | None:
    """Return whether ``path`` can be executed, None where the engine cannot tell."""
    known, stat, _ = await _stat(api, container, path)
    return None if not known else stat is not None and stat.executable


async def _passwd(api: EngineApi, container: str) -> str:
    known, stat, path = await _stat(api, container, "/etc/passwd")
    if not known or stat is None or not stat.regular or stat.size > MAX_PASSWD:
        return ""
    answer = await api.call("GET", f"/containers/{container}/archive", params={"path": path}, limit=MAX_PASSWD + 64 * 1024, step="read")
    return _untar(answer.body) if answer.status == 200 else ""


async def _stat(api: EngineApi, container: str, path: str) -> tuple[bool, PathStat | None, str]:
    """Return whether the engine could tell, the stat (None: no such path), and the path with its links followed."""
    for _ in range(MAX_LINKS):
        answer = await api.call("HEAD", f"/containers/{container}/archive", params={"path": path}, step="stat")
        if answer.status != 200:
            return answer.status == 404, None, path
        with faults(api.agent, "stat"):
            stat = decode_stat(answer.stat)
        if not stat.symlink or not stat.link_target:
            return True, stat, path
        path = stat.link_target
    return True, None, path


def _untar(data: bytes) -> str:
    """Return the text of the one file in a tar, "" when there is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            member = archive.next()
            content = archive.extractfile(member) if member else None
            return content.read(MAX_PASSWD).decode("utf-8", "replace") if content else ""
    except tarfile.TarError:
        return ""
