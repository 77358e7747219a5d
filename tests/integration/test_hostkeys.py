"""Host keys are made once, private, and what we say of them is what OpenSSH says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from octopus.core.errors import ConfigError
from octopus.hostkeys import PrivateKey, create, read

NAMES = ["ssh_host_ed25519_key", "ssh_host_rsa_key"]


def ssh_keygen(*arguments: str) -> str:
    """Return what OpenSSH's ssh-keygen prints."""
    return subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, text=True).stdout


def test_three_keys_are_made_private(tmp_path: Path) -> None:
    """Ed25519 and RSA of 3072 bits, mode 0600, in a directory of mode 0700."""
    directory = tmp_path / "deep" / "keys"
    keys = create(directory)
    assert [Path(key.path).name for key in keys] == NAMES
    assert [key.algorithm for key in keys] == ["ssh-ed25519", "ssh-rsa"]
    assert all(key.created for key in keys)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {Path(key.path).stat().st_mode & 0o777 for key in keys} == {0o600}
    assert sorted(path.name for path in directory.iterdir()) == sorted([*NAMES, *(f"{name}.pub" for name in NAMES)])


def test_openssh_agrees(tmp_path: Path) -> None:
    """ssh-keygen reads the files and gives the same public key, fingerprint and SSHFP record."""
    for key in create(tmp_path):
        assert ssh_keygen("-y", "-P", "", "-f", key.path).split()[:2] == key.line.split()
        assert ssh_keygen("-l", "-f", key.path).split()[1] == key.fingerprint
        assert f"gateway IN SSHFP {key.sshfp}" in ssh_keygen("-r", "gateway", "-f", key.path)
    assert "3072" in ssh_keygen("-l", "-f", str(tmp_path / "ssh_host_rsa_key"))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """A second run keeps what is there and makes only what is missing."""
    first = create(tmp_path)
    (tmp_path / "ssh_host_rsa_key").unlink()
    second = create(tmp_path)
    assert [key.created for key in second] == [False, True]
    assert [key.fingerprint for key in second[:1]] == [key.fingerprint for key in first[:1]]
    assert read(tmp_path) == tuple(msgspec.structs.replace(key, created=False) for key in second)


def test_a_key_made_by_openssh_is_taken(tmp_path: Path) -> None:
    """An operator may bring the keys of an older gateway."""
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ssh_host_ed25519_key"))
    [key] = read(tmp_path)
    assert ssh_keygen("-l", "-f", key.path).split()[1] == key.fingerprint


def test_no_key_is_told_with_what_to_do(tmp_path: Path) -> None:
    """An empty or missing directory is a fault of the configuration."""
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError, match=rf"holds no host key .*: octopus hostkeys create {directory}"):
            read(directory)


def test_keys_that_cannot_be_used_are_all_told(tmp_path: Path) -> None:
    """Open to others, garbage, with a passphrase, too weak: each file has its line."""
    plain, locked = NoEncryption(), BestAvailableEncryption(b"hunter2")
    files: list[tuple[str, PrivateKey, KeySerializationEncryption, int]] = [
        ("ecdsa", ec.generate_private_key(ec.SECP256R1()), locked, 0o600),
        ("ed25519", ed25519.Ed25519PrivateKey.generate(), plain, 0o640),
        ("rsa", rsa.generate_private_key(65537, 1024), plain, 0o600),
    ]
    for name, key, lock, mode in files:
        path = tmp_path / f"ssh_host_{name}_key"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, lock))
        path.chmod(mode)
    (tmp_path / "ssh_host_garbage_key").write_text("x")
    (tmp_path / "ssh_host_folder_key").mkdir()
    with pytest.raises(ConfigError) as refused:
        read(tmp_path)
    assert [fault.removeprefix(f"{tmp_path}/") for fault in refused.value.faults] == [
        "ssh_host_ecdsa_key: is no host key; expected one of OpenSSH's format without passphrase",
        "ssh_host_ed25519_key: is open to its group or others (mode 0640); expected mode 0600",
        "ssh_host_folder_key: cannot be read: Is a directory",
        "ssh_host_garbage_key: is no host key; expected one of OpenSSH's format without passphrase",
        "ssh_host_rsa_key: is too weak; expected Ed25519 or RSA of at least 2048 bits",
    ]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """One line with the path and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/keys: cannot be written: Not a directory"):
        create(tmp_path / "file" / "keys")
