"""Faults between keys: what each key alone could not know.

They are looked for in the raw tables, whether or not the single keys are right, so that one run names everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from octopus.config.toml_lines import KeyPath

Fault = tuple[KeyPath, str]


def crossings(data: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the path and the text of each fault between keys of ``data``, as TOML and environment gave it."""
    yield from _auth(data)
    yield from _cluster(data)
    yield from _engine(data)
    yield from _unique(data)
    yield from _passwords(data)
    yield from _policy(data)
    yield from _admin(data)
    yield from _shipping(data)


def _auth(data: Mapping[str, Any]) -> Iterator[Fault]:
    ldap, users = _at(data, "auth", "ldap"), _at(data, "auth", "users")
    if ldap is None and users is None:
        yield ("auth",), "nobody could log in; expected [auth.ldap] or [auth.users]"
    if ldap is not None and users is not None:
        yield ("auth", "users"), "there are two directories; expected either [auth.ldap] or [auth.users]"
    if _at(data, "auth", "ldap", "start_tls") is True and "ldap://" not in str(_at(data, "auth", "ldap", "servers")):
        yield ("auth", "ldap", "start_tls"), "all servers speak TLS from the start; expected false, or ldap:// servers"


def _cluster(data: Mapping[str, Any]) -> Iterator[Fault]:
    masters, zk, inventory = bool(_at(data, "mesos", "masters")), bool(_at(data, "mesos", "zk")), _at(data, "docker", "inventory") is True
    if masters and zk:
        yield ("mesos", "zk"), "masters are listed too; expected either masters or zk"
    if _at(data, "mesos", "zk_auth_file") and not zk:
        yield ("mesos", "zk_auth_file"), "stands alone; expected zk beside it"
    if inventory and (masters or zk):
        yield ("docker", "inventory"), "true, and there is [mesos] too; expected either the one engine or the cluster"
    if not (masters or zk or inventory):
        yield ("mesos",), "there is nothing to enter; expected mesos.masters, mesos.zk or docker.inventory = true"
    if inventory and "{" in str(_at(data, "docker", "url")):
        yield ("docker", "url"), "names many engines; with inventory = true expected one, without {hostname} and {ip}"


def _engine(data: Mapping[str, Any]) -> Iterator[Fault]:
    url = str(_at(data, "docker", "url") or "https://")
    needs = {"https://": ("tls_ca", "tls_cert", "tls_key"), "ssh://": ("ssh_key", "ssh_known_hosts")}
    for scheme, keys in needs.items():
        missing = [key for key in keys if not _at(data, "docker", key)]
        if url.startswith(scheme) and missing:
            yield ("docker", missing[0]), f"is missing; an engine at {scheme} needs {', '.join(missing)}"


def _unique(data: Mapping[str, Any]) -> Iterator[Fault]:
    if _at(data, "unique", "mode") == "apply" and not _at(data, "marathon", "urls"):
        yield ("unique", "mode"), '"apply", and there is no Marathon to scale apps of; expected marathon.urls'
    if _at(data, "unique", "leader_auth_file") and not _at(data, "unique", "leader"):
        yield ("unique", "leader_auth_file"), "stands alone; expected leader beside it"


def _passwords(data: Mapping[str, Any]) -> Iterator[Fault]:
    pairs = [
        (("auth", "ldap"), "bind_dn", "bind_password_file"),
        (("mesos",), "username", "password_file"),
        (("marathon",), "username", "password_file"),
    ]
    for section, name, password in pairs:
        table = _at(data, *section)
        given = [key for key in (name, password) if isinstance(table, Mapping) and table.get(key)]
        if len(given) == 1:
            other = password if given == [name] else name
            yield (*section, given[0]), f"stands alone; expected {other} beside it"


def _policy(data: Mapping[str, Any]) -> Iterator[Fault]:
    rules = data.get("policy")
    if not rules:
        yield ("policy",), "nobody could enter anything; expected at least one [[policy]]"
    for place, rule in enumerate(rules if isinstance(rules, list) else []):
        if isinstance(rule, Mapping) and not rule.get("groups") and not rule.get("users"):
            yield ("policy", place), "speaks of nobody; expected groups = [...] or users = [...]"
        if isinstance(rule, Mapping) and rule.get("forward_localhost") is True and "forward" not in (rule.get("allow") or ()):
            yield ("policy", place, "forward_localhost"), 'stands alone; expected "forward" in allow'
        for key in ("paths", "keep_files") if isinstance(rule, Mapping) else ():
            if rule.get(key) not in (None, [], "0") and not {"download", "upload"} & set(map(str, rule.get("allow") or ())):
                yield ("policy", place, key), 'stands alone; expected "download" or "upload" in allow'


def _admin(data: Mapping[str, Any]) -> Iterator[Fault]:
    given = [key for key in ("tls_cert", "tls_key") if _at(data, "admin", key)]
    if len(given) == 1:
        yield ("admin", given[0]), f"stands alone; expected {'tls_key' if given == ['tls_cert'] else 'tls_cert'} beside it"
    listen = _at(data, "admin", "listen")
    here = not isinstance(listen, str) or not listen or listen.startswith(("127.", "localhost:", "[::1]:"))
    if not (here or given or _at(data, "admin", "trusted_proxies")):
        yield (
            ("admin", "listen"),
            "passwords would go there in clear; expected tls_cert and tls_key, trusted_proxies, or a loopback address",
        )


def _shipping(data: Mapping[str, Any]) -> Iterator[Fault]:
    keys = ("bucket", "access_key_file", "secret_key_file")
    missing = [key for key in keys if not _at(data, "audit", "s3", key)]
    if 0 < len(missing) < len(keys):
        yield ("audit", "s3", missing[0]), f"is missing; an object store needs {', '.join(keys)}"
    url, key, certificate = (str(_at(data, "audit", name) or "") for name in ("syslog", "syslog_key_file", "syslog_cert_file"))
    for name in ("syslog_ca_file", "syslog_cert_file", "syslog_key_file"):
        if _at(data, "audit", name) and not url.startswith("tls://"):
            yield ("audit", name), 'stands alone; expected syslog = "tls://host:port" beside it'
    if key and not certificate:
        yield ("audit", "syslog_key_file"), "stands alone; expected syslog_cert_file beside it"


def _at(data: Mapping[str, Any], *path: str) -> Any:
    here: Any = data
    for key in path:
        here = here.get(key) if isinstance(here, Mapping) else None
    return here
