"""``octopus simulate --url``: asks the running gateway, for pipelines that reach neither Mesos nor Marathon."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec

from octopus.core.errors import (
    AccessDenied,
    AuthenticationFailed,
    BadUpstream,
    ConfigError,
    ControlUnavailable,
    InvalidDocument,
    InvalidTarget,
    NoSuchTarget,
    OctopusError,
    TooManySessions,
    printable,
)
from octopus.fleet.simulation import Question, Simulation, json_of

PATH = "/api/v1/capacity/simulate"
PATIENCE = 180.0
"""Seconds for an answer: a large cluster takes its time."""

MAX_ANSWER = 64 * 1024 * 1024
MAX_TOKEN = 4096


class _Fault(msgspec.Struct, frozen=True):
    path: str = ""
    error: str = ""


class _Problem(msgspec.Struct, frozen=True):
    error: str = ""
    errors: Sequence[_Fault] = ()


_NEEDED = "the gateway asks for a token: --token-file FILE, or OCTOPUS_TOKEN in the environment"
_UNKNOWN = "the gateway knows no such token (the [admin] tokens_file there)"

_REFUSALS: dict[int, type[OctopusError]] = {
    403: AccessDenied,
    404: NoSuchTarget,
    429: TooManySessions,
    503: ControlUnavailable,
}


def read_token(path: Path) -> str:
    """Return the token in a file. Raise InvalidTarget when it cannot be read, or holds none."""
    try:
        with path.open("rb") as file:
            token = file.read(MAX_TOKEN + 1).strip()
    except OSError as error:
        raise InvalidTarget(notice=f"{printable(str(path))}: cannot be read: {error.strerror}") from error
    return checked(token.decode("ascii", "replace"), str(path))


def checked(token: str, source: str) -> str:
    """Return a token that may stand in a header. Raise InvalidTarget; the token itself is never told."""
    if not token or len(token) > MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidTarget(notice=f"{printable(source)} holds no token")
    return token


async def simulate_at(url: str, asked: Question, token: str = "", *, ca_file: str = "", patience: float = PATIENCE) -> Simulation:
    """Return what the gateway whose admin is at ``url`` says.

    Raise InvalidDocument (65), NoSuchTarget (68), AuthenticationFailed and AccessDenied (77), ControlUnavailable (69), BadUpstream.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "octopus"} | ({"Authorization": f"Bearer {token}"} if token else {})
    if not url.startswith(("http://", "https://")):
        raise InvalidTarget(notice=f"--url {printable(url)!r}: expected http://HOST:PORT or https://HOST:PORT")
    target = url.rstrip("/") + PATH
    try:
        async with (
            httpx.AsyncClient(timeout=patience, verify=_trust(ca_file), trust_env=False) as client,
            client.stream("POST", target, content=_body(asked), headers=headers) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_ANSWER:
                    raise BadUpstream(target, f"an answer of more than {MAX_ANSWER} bytes")
            if response.status_code == 401:
                raise AuthenticationFailed(notice=_UNKNOWN if token else _NEEDED)
            return _answer(target, response.status_code, bytes(body))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = printable(str(error) or type(error).__name__)
        raise ControlUnavailable(notice=f"the gateway at {printable(url)} does not answer: {why}") from error


def _body(asked: Question) -> bytes:
    """Return the request. Raise InvalidDocument for what is no JSON, which could become another request."""
    named = {"id": asked.id} if asked.document is None else {"apps": json_of(asked.document)}
    return msgspec.json.encode({**named, "instances": asked.more})


def _answer(source: str, status: int, body: bytes) -> Simulation:
    try:
        if status == 200:
            return msgspec.json.decode(body, type=Simulation)
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError as error:
        raise BadUpstream(source, f"HTTP {status}, and nothing octopus would say", body) from error
    if status == 422 and problem.errors:
        raise InvalidDocument([(fault.path, fault.error) for fault in problem.errors])
    refused = _REFUSALS.get(status)
    if refused is None:
        raise BadUpstream(source, f"HTTP {status}", problem.error)
    raise refused(notice=problem.error)


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError([f"{printable(ca_file)}: holds no certificates that can be used: {error.strerror or error}"]) from error
