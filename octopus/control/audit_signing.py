"""Ed25519 keys (RFC 8032) of the audit trail's checkpoints, in PEM files as OpenSSL writes them. Blocking."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key, load_pem_public_key

from octopus.core.errors import ConfigError


class Signer:
    """Signs with the private key in ``file``; ``name`` is what checkpoints call it by. Raise ConfigError for any other file."""

    def __init__(self, file: Path) -> None:
        try:
            key = load_pem_private_key(file.read_bytes(), password=None)
        except OSError as error:
            raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from error
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            # Without its words: they may quote the file.
            raise ConfigError([f"{file}: holds no private key that can be read ({type(error).__name__}); {_HOW}"]) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError([f"{file}: the key is not of Ed25519; {_HOW}"])
        self._key = key
        self.public = key.public_key()
        self.name = name_of(self.public)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self._key.sign(message)


class PublicKeys:
    """The keys that checkpoints may be signed by."""

    def __init__(self, keys: Iterable[Ed25519PublicKey]) -> None:
        self._keys = {name_of(key): key for key in keys}

    def check(self, signed_by: str, message: bytes, signature: bytes) -> bool | None:
        """Tell whether the signature (base64) over the message is good, None when its key is none of these."""
        key = self._keys.get(signed_by)
        if key is None:
            return None
        try:
            key.verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, binascii.Error):
            return False
        return True


def read_public(file: Path) -> Ed25519PublicKey:
    """Return the public key in a PEM file. Raise ConfigError."""
    try:
        key = load_pem_public_key(file.read_bytes())
    except OSError as error:
        raise ConfigError([f"{file}: cannot be read: {error.strerror}"]) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError([f"{file}: holds no public key that can be read ({type(error).__name__}); {_HOW_PUBLIC}"]) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError([f"{file}: the key is not of Ed25519; {_HOW_PUBLIC}"])
    return key


def name_of(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 (hexadecimal) of the key as DER: ``openssl pkey -pubin -in FILE -outform DER | sha256sum``."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


_HOW = "make one with: openssl genpkey -algorithm ed25519 -out FILE"
_HOW_PUBLIC = "make one from the private key with: openssl pkey -in FILE -pubout"
