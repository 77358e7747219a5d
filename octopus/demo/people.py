"""The people of the demo, and the files that let them in: users, keys, and an ssh_config that knows the gateway."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True, kw_only=True)
class Person:
    """One entry of the users file; ``key`` is the public line of ``key_file``, "" for none."""

    login: str
    password: str
    groups: tuple[str, ...]
    key: str = ""


def alice_and_bob(directory: Path) -> tuple[Person, Person]:
    """Return the two people, with new passwords; Alice's private key is written into ``directory``."""
    alice = Person(login="alice", password=_password(), groups=("platform",), key=_new_key(directory / "alice_key"))
    return alice, Person(login="bob", password=_password(), groups=("web-dev",))


def _password() -> str:
    """Return a password that is easy to type: it lives as long as the demo."""
    return f"{secrets.token_hex(2)}-{secrets.token_hex(2)}"


def _new_key(path: Path) -> str:
    key = Ed25519PrivateKey.generate()
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def write_users(path: Path, people: Iterable[Person], hash_password: Callable[[str], str]) -> None:
    """Write a users file, readable by us alone."""
    path.touch(mode=0o600)
    path.write_text("".join(_entry(person, hash_password) for person in people))


def _entry(person: Person, hash_password: Callable[[str], str]) -> str:
    keys = [person.key] if person.key else []
    return (
        f'[users.{person.login}]\npassword = "{hash_password(person.password)}"\ngroups = {_list(person.groups)}\nkeys = {_list(keys)}\n\n'
    )


def _list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"


def write_ssh_config(directory: Path, port: int, host_key_lines: Iterable[str]) -> Path:
    """Write an ssh_config with a host ``octopus`` whose keys are known, so that nobody has to trust at first sight."""
    known_hosts = directory / "known_hosts"
    known_hosts.write_text("".join(f"[127.0.0.1]:{port} {line}\n" for line in host_key_lines))
    path = directory / "ssh_config"
    path.write_text(
        "Host octopus\n"
        "  HostName 127.0.0.1\n"
        f"  Port {port}\n"
        f"  UserKnownHostsFile {known_hosts}\n"
        "  StrictHostKeyChecking yes\n"
        "  IdentitiesOnly yes\n"
        "  IdentityFile none\n"
    )
    return path
