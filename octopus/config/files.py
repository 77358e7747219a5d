"""Files a configuration names: that they exist, that secret ones are private, and what is in those.

Relative paths are relative to the configuration file's directory, which comes in the validation context as ``base``;
``credentials`` there is systemd's directory of credentials.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationInfo

from octopus.config.fields import shown

MAX_SECRET = 64 * 1024
"""Bytes of a secret file."""
MAX_SOCKET_DIRECTORY = 90
"""Bytes of the path of a directory for sockets: unix(7) has room for 107, with the socket's own name."""
CREDENTIAL = "credential"
"""Marks the kinds of keys that a systemd credential may fill."""


def _file(value: str, info: ValidationInfo) -> str:
    """Return the absolute path of a file that exists, "" when there is none to be."""
    if not value:
        return ""
    path = _resolve(value, info)
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{shown(value)}: {error.strerror}; expected the path of a file") from error
    if not stat.S_ISREG(kind):
        raise ValueError(f"{shown(value)} is not a file; expected the path of one")
    return str(path)


def _private_file(value: str, info: ValidationInfo) -> str:
    """As a file, and nobody but its owner may read it. systemd's credentials are protected by their directory."""
    path = _file(value, info)
    mode = stat.S_IMODE(Path(path).stat().st_mode) if path else 0
    credentials = (info.context or {}).get("credentials", "")
    if mode & 0o077 and not (credentials and Path(path).parent == Path(credentials)):
        raise ValueError(f"{shown(value)} is open to its group or others (mode {mode:04o}); expected mode 0600, or a systemd credential")
    return path


def _secret(value: Any, info: ValidationInfo) -> SecretStr:
    """Return the content of the file, without the line's end."""
    if not isinstance(value, str) or (value and "/" not in value):
        # Whoever writes the secret itself here must not find it in the log.
        raise ValueError("no path stands here; expected the path of a file that holds the secret (./NAME beside this file)")
    path = _private_file(value, info)
    if not path:
        return SecretStr("")
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_SECRET + 1).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{shown(value)} cannot be read as UTF-8 text: {type(error).__name__}") from error
    if not content or len(content) > MAX_SECRET or not content.isprintable():
        raise ValueError(f"{shown(value)} holds no secret; expected one line of text")
    return SecretStr(content)


def _directory(value: str, info: ValidationInfo) -> str:
    """Return the absolute path of a directory that is there or can be made."""
    if not value:
        raise ValueError("is empty; expected the path of a directory")
    path = _resolve(value, info)
    if (mode := _mode(path, value)) and not stat.S_ISDIR(mode):
        raise ValueError(f"{shown(value)} is not a directory; expected the path of one")
    return str(path)


def _own_directory(value: str, info: ValidationInfo) -> str:
    """As a directory, and not everybody may put things there: a socket or a trail of their own in place of ours."""
    path = _directory(value, info)
    if (mode := _mode(Path(path), value)) & stat.S_IWOTH:
        raise ValueError(f"{shown(value)} can be written by everybody (mode {stat.S_IMODE(mode):04o}); expected mode 0700")
    return path


def _mode(path: Path, value: str) -> int:
    """Return what stat(2) says, 0 where there is nothing."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ValueError(f"{shown(value)}: {error.strerror}; expected the path of a directory") from error


def _directory_if_any(value: str, info: ValidationInfo) -> str:
    return _directory(value, info) if value else ""


def _socket_directory(value: str, info: ValidationInfo) -> str:
    path = _own_directory(value, info)
    if len(os.fsencode(path)) > MAX_SOCKET_DIRECTORY:
        raise ValueError(f"{shown(path)} is too long for sockets in it; expected at most {MAX_SOCKET_DIRECTORY} bytes")
    return path


def _resolve(value: str, info: ValidationInfo) -> Path:
    if "\0" in value:
        raise ValueError("a path holds no NUL")
    return Path((info.context or {}).get("base", ".")) / value


File = Annotated[str, AfterValidator(_file)]
OptionalDirectory = Annotated[str, AfterValidator(_directory_if_any)]
"""The absolute path of a file that exists, or "" for none."""
PrivateFile = Annotated[str, AfterValidator(_private_file), CREDENTIAL]
"""As File, and nobody but its owner may read it."""
Secret = Annotated[SecretStr, BeforeValidator(_secret), CREDENTIAL]
"""The content of a private file; it does not show in a repr."""
Directory = Annotated[str, AfterValidator(_own_directory)]
"""An absolute path where a directory is or can be made, to which not everybody may write."""
SocketDirectory = Annotated[str, AfterValidator(_socket_directory)]
"""As Directory, and short enough for the name of a socket in it."""
