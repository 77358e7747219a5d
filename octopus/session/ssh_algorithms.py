"""Which algorithms connections may use: strong ones only, and AES-GCM before all, since it is twice as fast here as the rest."""

from __future__ import annotations

POST_QUANTUM = ("mlkem768x25519-sha256",)
"""OpenSSH knows it since 9.9, PuTTY since 0.83. OpenSSH's older one (sntrup761x25519) asyncssh has only with liboqs, which few have."""
KEY_EXCHANGES = ("curve25519-sha256", "curve25519-sha256@libssh.org", *POST_QUANTUM, "diffie-hellman-group16-sha512")
"""The client's order decides. curve25519 stands first since dropbear sends its guess ahead, which is right only if both sides'
first are the same (RFC 4253 7); asyncssh takes a guess for right when it is what is agreed on in the end."""
_ETM = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
MACS = (*_ETM, "hmac-sha2-256", "hmac-sha2-512")
"""The last two, which cover what is sent and not what is seen, for those who know no better: libssh2 before 1.11 (curl's sftp of
Debian 12 and Ubuntu 22.04) and dropbear."""
COMPRESSIONS = ("none",)
HOST_KEYS = ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
HOST_KEY_KINDS = ("ssh-ed25519", "ssh-rsa")
"""Of host keys that are used, best first. One of ECDSA gives itself away with a single bad random number, and nobody needs it."""
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
"""Of people's keys; no SHA-1, no DSA."""

_GCM = ("aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
CIPHERS = (*_GCM, "chacha20-poly1305@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr")
MIN_RSA_BITS = 2048


def ciphers_for(client_version: str) -> tuple[str, ...]:
    """Return what to offer a client by its version line.

    The client's order decides (RFC 4253 7.1) and OpenSSH's starts with the slow ones, so to OpenSSH, which has had
    AES-GCM since 6.2, nothing else is offered.
    """
    return _GCM if client_version.startswith("SSH-2.0-OpenSSH_") else CIPHERS


def macs_for(client_version: str) -> tuple[str, ...]:
    """Return what to offer a client by its version line: OpenSSH has had encrypt-then-MAC since 6.2, and needs none with AES-GCM."""
    return _ETM if client_version.startswith("SSH-2.0-OpenSSH_") else MACS
