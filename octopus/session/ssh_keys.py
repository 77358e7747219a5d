"""People's keys and certificates as SSH clients offer them, and the authorities whose certificates count."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import asyncssh
import structlog
from asyncssh.packet import PacketDecodeError, SSHPacket, String
from asyncssh.public_key import SSHOpenSSHCertificate, decode_ssh_certificate, decode_ssh_public_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from octopus.core.errors import AuthenticationFailed, ConfigError
from octopus.session.ssh_algorithms import MIN_RSA_BITS, SIGNATURES

MAX_AUTHORITIES = 1 << 20
"""Bytes of the file of authorities."""
_SIGNATURES = frozenset(name.encode() for name in SIGNATURES)
_CERTIFICATE = "-cert-v01@openssh.com"
_USER = 1  # PROTOCOL.certkeys: SSH_CERT_TYPE_USER

_log = structlog.get_logger(__name__)


class OfferedKey:
    """A public key, or a certificate with its key, of a kind that octopus accepts; nothing about it is proven yet."""

    def __init__(self, key: asyncssh.SSHKey, certificate: SSHOpenSSHCertificate | None = None) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def read(cls, blob: bytes) -> OfferedKey | None:
        """Return what the blob (RFC 4253 6.6, PROTOCOL.certkeys) holds, None when it is unreadable, weak or of no known kind."""
        try:
            if _algorithm(blob).endswith(_CERTIFICATE):
                certificate = cast(SSHOpenSSHCertificate, decode_ssh_certificate(blob))
                return cls(certificate.key, certificate) if _accepted(certificate.key) else None
            key = decode_ssh_public_key(blob)
        except (asyncssh.KeyImportError, PacketDecodeError, UnicodeDecodeError, ValueError):
            return None
        return cls(key) if _accepted(key) else None

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, ``SHA256:…``."""
        return self._key.get_fingerprint()

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Tell whether the key's owner made this signature, with an algorithm that is accepted; hardware keys must have been touched."""
        try:
            if SSHPacket(signature).get_string() not in _SIGNATURES:
                return False
            self._key.set_touch_required(True)
            return self._key.verify(data, signature)
        except (PacketDecodeError, ValueError):
            return False


class Authorities:
    """The keys of certificate authorities in ``file``, one a line as ssh-keygen writes them; read again when it changes."""

    def __init__(self, file: str) -> None:
        self._file = Path(file) if file else None
        self._stamp: tuple[int, int, int] | None = None
        self._keys: frozenset[bytes] = frozenset()
        if self._file:
            self._read(self._file)

    def principals(self, offered: SSHOpenSSHCertificate, address: str) -> tuple[str, ...]:
        """Return whom the certificate speaks for, at this address and time. Raise AuthenticationFailed: it proves nobody here."""
        if offered.signing_key.public_data not in self._current():
            raise AuthenticationFailed("certificate of an authority that is not trusted")
        if not _accepted(offered.signing_key) or not _well_signed(offered):
            raise AuthenticationFailed("certificate signed with a weak key or algorithm")
        try:
            offered.validate(_USER, None)
        except ValueError as error:
            raise AuthenticationFailed(f"certificate: {error}") from error
        _check_options(offered.options, address)
        if not offered.principals:
            raise AuthenticationFailed("certificate without principals: it would be anybody's")
        return tuple(offered.principals)

    def _current(self) -> frozenset[bytes]:
        if self._file:
            try:
                self._read(self._file)
            except ConfigError as error:
                _log.error("no certificate is accepted", error=str(error))
                self._keys, self._stamp = frozenset(), None
        return self._keys

    def _read(self, file: Path) -> None:
        try:
            state = file.stat()
            stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
            if stamp == self._stamp:
                return
            with file.open("rb") as source:
                lines = source.read(MAX_AUTHORITIES).decode("utf-8").splitlines()
            keys = [asyncssh.import_public_key(line) for line in map(str.strip, lines) if line and not line.startswith("#")]
        except (OSError, ValueError) as error:
            raise ConfigError([f"{file}: authorities of user certificates cannot be read: {error}"]) from error
        self._keys, self._stamp = frozenset(key.public_data for key in keys), stamp


def _algorithm(blob: bytes) -> str:
    return SSHPacket(blob).get_string().decode("ascii")


def _accepted(key: asyncssh.SSHKey) -> bool:
    if key.algorithm == b"ssh-rsa":
        return cast(RSAPublicKey, key.pyca_key).key_size >= MIN_RSA_BITS
    return key.algorithm in _SIGNATURES


def _well_signed(certificate: SSHOpenSSHCertificate) -> bool:
    """Tell whether the authority, whose key stands right before its signature, signed with an accepted algorithm."""
    rest = SSHPacket(certificate.public_data.rpartition(String(certificate.signing_key.public_data))[2])
    try:
        signature = SSHPacket(rest.get_string())
        rest.check_end()
        return signature.get_string() in _SIGNATURES
    except PacketDecodeError:
        return False


def _check_options(options: dict[str, Any], address: str) -> None:
    if "force-command" in options:
        raise AuthenticationFailed("certificate with force-command, which cannot be kept here")
    networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network] | None = options.get("source-address")
    if networks is not None:
        client = ipaddress.ip_address(address.partition("%")[0])
        client = getattr(client, "ipv4_mapped", None) or client
        if not any(client.version == network.version and client in network for network in networks):
            raise AuthenticationFailed("certificate for other addresses")
