"""What to ask the engine to start: command line, environment and terminal. Pure."""

from __future__ import annotations

import shlex
from typing import Any

from octopus.core.types import ExecSpec, TermSize

MARK = "OCTOPUS_SESSION"
"""The variable that marks every process of a session."""

DETACH_KEYS = ",".join(["ctrl-^", "ctrl-@", "ctrl-^", "ctrl-_", "ctrl-@", "ctrl-^", "ctrl-_", "ctrl-^", "ctrl-@", "ctrl-_"] * 3)
"""The default, ^P ^Q, would hold back every ^P; this sequence nobody types, and "" would mean the default."""

ENV_SINCE = (1, 25)
CONSOLE_SIZE_SINCE = (1, 42)
_META = frozenset("|&;<>()$`\\*?[]{}#~!\n\r\0")


def environment(spec: ExecSpec) -> dict[str, str]:
    """Return the variables a command gets on top of the container's own."""
    env = {"LANG": "C.UTF-8", **spec.env}
    env.pop("TERM", None)
    if spec.pty and spec.pty.term:
        env["TERM"] = spec.pty.term
    env[MARK] = spec.token
    return env


def direct_argv(command: str) -> list[str] | None:
    """Split a command for a container without a shell; None when only a shell could run it."""
    if not command.startswith("/") or _META.intersection(command):
        return None
    try:
        return shlex.split(command)
    except ValueError:
        return None


def exec_config(argv: list[str], spec: ExecSpec, shell: str, version: tuple[int, int]) -> dict[str, Any]:
    """Return the body of POST /containers/ID/exec. ``shell`` prepares what an old engine cannot, "" where there is none."""
    env = environment(spec)
    config: dict[str, Any] = {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": spec.pty is not None,
        "User": spec.user,
        "DetachKeys": DETACH_KEYS,
    }
    if version >= ENV_SINCE:
        config["Env"] = [f"{name}={value}" for name, value in env.items()]
        env = {}
    size = spec.pty.size if spec.pty else None
    if size and version >= CONSOLE_SIZE_SINCE:
        config["ConsoleSize"] = console_size(size)
        size = None
    config["Cmd"] = prepared(argv, shell, env, size) if shell else argv
    return config


def console_size(size: TermSize) -> list[int]:
    """Return a size as the engine orders it: height, then width."""
    return [size.rows, size.cols]


def prepared(argv: list[str], shell: str, env: dict[str, str], size: TermSize | None) -> list[str]:
    """Return ``argv`` behind a shell that sets the terminal's size and the environment, then becomes it."""
    if not env and size is None:
        return argv
    steps = [f"stty rows {size.rows} cols {size.cols} 2>/dev/null"] if size else []
    if env:
        steps.append('while [ "$1" ]; do export "$1"; shift; done; shift')
        argv = ["sh", *(f"{name}={value}" for name, value in env.items()), "", *argv]
        return [shell, "-c", "; ".join([*steps, 'exec "$@"']), *argv]
    return [shell, "-c", "; ".join([*steps, 'exec "$0" "$@"']), *argv]
