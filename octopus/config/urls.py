"""Addresses of what stands behind the gateway, each kind with the schemes it knows."""

from __future__ import annotations

import re
import string
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from octopus.config.fields import read_address, shown


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        wanted = " or ".join(f"{scheme}://host" for scheme in schemes)
        try:
            parts = urlsplit(value)
            complete = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
        except ValueError:
            complete = False
        if not complete or not value.isprintable() or " " in value:
            raise ValueError(f"{shown(_without_userinfo(value))} is no address this key knows; expected {wanted}")
        if parts.username is not None:
            raise ValueError("a name or password stands in the address; expected them in username and password_file")
        return value

    return AfterValidator(check)


def _zookeeper(value: str) -> str:
    match = re.fullmatch(r"zk://(?P<hosts>[^/@]+)(?P<path>/[A-Za-z0-9._/-]*[A-Za-z0-9._-])", value)
    if value and (match is None or not all(_is_address(host) for host in match["hosts"].split(","))):
        quoted = shown(_without_userinfo(value))
        raise ValueError(f'{quoted} is no ZooKeeper address; expected "zk://host:port,host:port/path"')
    return value


def _is_address(text: str) -> bool:
    try:
        read_address(text)
    except ValueError:
        return False
    return True


def _engine(value: str) -> str:
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
    except ValueError:
        names = {"?"}
    if names - {"hostname", "ip"}:
        raise ValueError(f"{shown(value)} has a placeholder that is not known; expected {{hostname}} and {{ip}} only")
    if re.fullmatch(r"unix:///[^\s{}]+", value):
        return value
    if not re.fullmatch(r"https?://[^\s/@]+/?|ssh://(?:[A-Za-z0-9._-]+@)?[^\s/@]+(?:/[^\s{}?#]*)?", value):
        raise ValueError(f"{shown(_without_userinfo(value))} is no engine; expected unix:///path, http://, https:// or ssh://user@host")
    return value


def _http_or_none(value: str) -> str:
    if value and not (re.fullmatch(r"https?://[^\s/@?#]+/?", value) and _is_host(urlsplit(value).netloc)):
        raise ValueError(f"{shown(_without_userinfo(value))} is no address this key knows; expected http://host or https://host")
    return value.rstrip("/")


def _is_host(text: str) -> bool:
    return _is_address(text) or _is_address(f"{text}:1")


def _syslog(value: str) -> str:
    host = re.sub(r"^(?:tcp|tls)://", "", value)
    if value and not (re.fullmatch(r"unix:///\S+", value) or (host != value and _is_address(host))):
        raise ValueError(f"{shown(value)} is no syslog; expected unix:///path, tcp://host:port or tls://host:port")
    return value


def _without_userinfo(value: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", value)


HttpUrls = Annotated[tuple[Annotated[str, _url("http", "https")], ...], Field(strict=False)]
LdapUrls = Annotated[tuple[Annotated[str, _url("ldap", "ldaps")], ...], Field(strict=False)]
OptionalHttpUrl = Annotated[str, AfterValidator(_http_or_none)]
"""``http://host:port`` or ``https://host:port``, or "" for none."""
ZooKeeperUrl = Annotated[str, AfterValidator(_zookeeper)]
"""``zk://host:port,host:port/path``, or "" for none."""
EngineUrl = Annotated[str, AfterValidator(_engine)]
"""unix:// http:// https:// ssh://, in which {hostname} and {ip} stand for the agent's; ssh:// may end in the socket's path there."""
SyslogUrl = Annotated[str, AfterValidator(_syslog)]
"""``unix:///path``, ``tcp://host:port`` or ``tls://host:port``, or "" for none."""
