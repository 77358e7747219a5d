"""The kinds of values a configuration holds: each reads text and says what it expected instead.

Validators raise ValueError with words for the operator; ``faults.py`` puts file, line and key in front.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, StrictStr

from octopus.core.errors import printable
from octopus.core.globs import Glob
from octopus.core.paths import PathRule
from octopus.core.policy import USER

MAX_SECONDS = 36_500 * 86_400.0
_DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)(?P<unit>[smhd])|0")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"(?P<number>[0-9]{1,9})(?P<unit>kB|KB|MB|GB|KiB|MiB|GiB)|0")
_BYTES = {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
MAX_SIZE = 64 << 30
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]")


class Address(NamedTuple):
    """A host name or IP address (without brackets) and a TCP port; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _duration(value: Any) -> float:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{shown(value)} is no duration; expected text such as "30s", "10m", "12h", "400d", or "0"')
    seconds = float(match["number"]) * _SECONDS[match["unit"]] if match["unit"] else 0.0
    if seconds > MAX_SECONDS:
        raise ValueError(f"{shown(value)} is too long; expected at most 36500d")
    return seconds


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'{shown(value)} is no size; expected text such as "64KB", "10MB", "1GB", or "0"')
    size = int(match["number"]) * _BYTES[match["unit"]] if match["unit"] else 0
    if size > MAX_SIZE:
        raise ValueError(f"{shown(value)} is too large; expected at most 64GiB")
    return size


def _not_zero(seconds: float) -> float:
    if seconds == 0:
        raise ValueError('"0" would never end; expected a duration above 0, such as "5s"')
    return seconds


def read_address(value: Any) -> Address:
    """Return ``host:port`` or ``[host]:port`` taken apart. Raise ValueError."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and _HOST.fullmatch(host) and re.fullmatch(r"[0-9]{1,5}", port) and int(port) < 65536):
        raise ValueError(f'{shown(value)} is no address; expected "host:port", such as "0.0.0.0:2222" or "[::]:2222"')
    return Address(host.strip("[]"), int(port))


def _address_or_none(value: Any) -> Address | None:
    return None if value == "" else read_address(value)


def _filter(*needs: str) -> AfterValidator:
    def check(value: str) -> str:
        if not value.startswith("(") or not value.endswith(")") or value.count("(") != value.count(")"):
            raise ValueError(f"{shown(value)} is no LDAP filter; expected it whole in balanced brackets (RFC 4515)")
        if not any(need in value for need in needs):
            raise ValueError(f"{shown(value)} fits everybody alike; expected {' or '.join(needs)} in it")
        return value

    return AfterValidator(check)


def _glob(value: str) -> str:
    try:
        Glob(value)
    except ValueError as error:
        raise ValueError(f'{shown(value)} is no glob: {error}; expected such as "/logging/**"') from error
    return value


def _path_glob(value: str) -> str:
    try:
        PathRule([value])
    except ValueError as error:
        raise ValueError(f'{shown(value)} is no glob over paths: {error}; expected such as "/tmp/**"') from error
    return value


def matching(pattern: str, expected: str) -> AfterValidator:
    """Return a validator of text that is ``expected``, by a pattern it matches whole."""
    expression = re.compile(pattern)

    def check(value: str) -> str:
        if not expression.fullmatch(value):
            raise ValueError(f"{shown(value)} is not allowed; expected {expected}")
        return value

    return AfterValidator(check)


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value))
    except ValueError as error:
        raise ValueError(f'{shown(value)} is no network; expected such as "10.0.0.7" or "10.0.0.0/24"') from error


def _workers(value: Any) -> int:
    if value == "auto":
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1024:
        raise ValueError(f'{shown(value)} is no number of workers; expected "auto" or 1 to 1024')
    return value


def shown(value: Any) -> str:
    """Return a value as a fault quotes it: in quotes, escaped, short."""
    text = printable(value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value), 80)
    return f"'{text}'"


Duration = Annotated[float, BeforeValidator(_duration)]
"""Seconds, from text such as "30s"; 0 is off."""
Timeout = Annotated[float, BeforeValidator(_duration), AfterValidator(_not_zero)]
"""Seconds, above 0."""
Size = Annotated[int, BeforeValidator(_size)]
"""Bytes, from text such as "10MB"; 0 is off."""
ListenAddresses = Annotated[tuple[Annotated[Address, BeforeValidator(read_address)], ...], Field(strict=False, min_length=1)]
OptionalAddress = Annotated[Address | None, BeforeValidator(_address_or_none)]
Texts = Annotated[tuple[Annotated[StrictStr, Field(min_length=1)], ...], Field(strict=False)]
UserFilter = Annotated[str, _filter("{login}")]
GroupFilter = Annotated[str, _filter("{dn}", "{login}")]
Globs = Annotated[tuple[Annotated[str, AfterValidator(_glob)], ...], Field(strict=False)]
PathGlobs = Annotated[tuple[Annotated[str, AfterValidator(_path_glob)], ...], Field(strict=False)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], Field(strict=False)]
Kinds = Annotated[tuple[Literal["shell", "exec", "download", "upload", "forward", "logs"], ...], Field(strict=False)]
RunAs = Annotated[str, matching(USER.pattern, "user, user:group or nothing")]
MetricPrefix = Annotated[str, matching(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", "letters, digits, '_', '.' and '-'")]
BucketName = Annotated[str, matching(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]|", "the name of a bucket, 3 to 63 of a-z, 0-9, '.' and '-'")]
KeyPrefix = Annotated[str, matching(r"(?:[A-Za-z0-9_.=-]+/)*", "nothing, or names that each end in '/'")]
Region = Annotated[str, matching(r"[A-Za-z0-9-]{1,64}", "a region, such as us-east-1")]
Workers = Annotated[int, BeforeValidator(_workers)]
"""0 is ``"auto"``."""
Count = Annotated[int, Field(ge=0, le=10_000_000)]
"""A limit; 0 is off where the key says so."""
Positive = Annotated[int, Field(ge=1, le=10_000_000)]
