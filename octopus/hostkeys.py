"""The gateway's host keys: made once, never overwritten, private to their owner; with fingerprints and SSHFP records.

The files are those of OpenSSH (``ssh_host_ed25519_key`` and its ``.pub``), so that keys of an older gateway can be put there.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from octopus.core.errors import ConfigError
from octopus.core.types import Value

RSA_BITS = 3072
MIN_RSA_BITS = 2048
MAX_KEY = 65_536
"""Bytes of a key file."""

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_MAKERS: dict[str, Callable[[], PrivateKey]] = {
    "ssh_host_ed25519_key": ed25519.Ed25519PrivateKey.generate,
    "ssh_host_rsa_key": lambda: rsa.generate_private_key(65537, RSA_BITS),
}
_SSHFP_ALGORITHMS = {"ssh-rsa": 1, "ecdsa-sha2-nistp256": 3, "ecdsa-sha2-nistp384": 3, "ecdsa-sha2-nistp521": 3, "ssh-ed25519": 4}


class HostKey(Value, frozen=True, kw_only=True):
    """The public side of a host key: ``line`` as in a .pub file, ``fingerprint`` as ssh shows it."""

    path: str
    algorithm: str
    line: str
    fingerprint: str
    sshfp: str
    """The data of an SSHFP record (RFC 4255; 6594, 7479): algorithm, 2 for SHA-256, digest in hex."""
    created: bool = False


def create(directory: Path) -> tuple[HostKey, ...]:
    """Make the keys that are missing in ``directory`` (itself made, mode 0700) and return all. Raise ConfigError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = {name for name, maker in _MAKERS.items() if _make(directory / name, maker)}
    except OSError as error:
        raise ConfigError([f"{error.filename or directory}: cannot be written: {error.strerror}"]) from error
    return tuple(_read(path, created=path.name in made) for path in _paths(directory))


def read(directory: Path) -> tuple[HostKey, ...]:
    """Return the keys in ``directory``, by name. Raise ConfigError: all faults; none there; one that others may read."""
    paths = _paths(directory)
    if not paths:
        raise ConfigError([f"{directory}: holds no host key (ssh_host_*_key): octopus hostkeys create {directory}"])
    keys: list[HostKey] = []
    faults: list[str] = []
    for path in paths:
        try:
            keys.append(_read(path))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    return tuple(keys)


def _paths(directory: Path) -> list[Path]:
    """Return the files of private keys, none where there is no such directory. Raise ConfigError."""
    try:
        return sorted(directory / name for name in os.listdir(directory) if fnmatchcase(name, "ssh_host_*_key"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError([f"{directory}: cannot be read: {error.strerror}"]) from error


def _make(path: Path, maker: Callable[[], PrivateKey]) -> bool:
    if os.path.lexists(path):
        return False
    key = maker()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    # The private key appears whole or not at all: a key half written would stop the next start.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_new(unfinished, private, 0o600)
        os.link(unfinished, path)
    except FileExistsError:
        return False
    finally:
        unfinished.unlink(missing_ok=True)
    public = path.with_name(path.name + ".pub")
    public.unlink(missing_ok=True)
    _write_new(public, _line(key).encode() + b"\n", 0o644)
    return True


def _write_new(path: Path, content: bytes, mode: int) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, *, created: bool = False) -> HostKey:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            key = serialization.load_ssh_private_key(file.read(MAX_KEY), None)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError([f"{path}: is no host key; expected one of OpenSSH's format without passphrase"]) from error
    if mode & 0o077:
        raise ConfigError([f"{path}: is open to its group or others (mode {mode:04o}); expected mode 0600"])
    if not isinstance(key, PrivateKey) or (isinstance(key, rsa.RSAPrivateKey) and key.key_size < MIN_RSA_BITS):
        raise ConfigError([f"{path}: is too weak; expected Ed25519 or RSA of at least {MIN_RSA_BITS} bits"])
    return _host_key(path, _line(key), created=created)


def _line(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _host_key(path: Path, line: str, *, created: bool) -> HostKey:
    algorithm, blob = line.split(" ")[:2]
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    return HostKey(
        path=str(path),
        algorithm=algorithm,
        line=line,
        fingerprint="SHA256:" + base64.b64encode(digest).decode().rstrip("="),
        sshfp=f"{_SSHFP_ALGORITHMS[algorithm]} 2 {digest.hex()}",
        created=created,
    )
