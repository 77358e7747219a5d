"""The sections of the configuration file, one model each: every key, its kind and its default.

Attributes are the keys, but for secrets: the key ``password_file`` names a file, the attribute ``password`` is what it holds.
A model checks its own keys; what concerns several keys or sections is in ``crossings.py``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from octopus.config.audit_section import Audit
from octopus.config.fields import (
    Address,
    Count,
    Duration,
    Globs,
    GroupFilter,
    Kinds,
    ListenAddresses,
    Networks,
    OptionalAddress,
    PathGlobs,
    Positive,
    RunAs,
    Size,
    Texts,
    Timeout,
    UserFilter,
    Workers,
)
from octopus.config.files import Directory, File, OptionalDirectory, PrivateFile, Secret, SocketDirectory
from octopus.config.measures import Capacity, Metrics, Usage
from octopus.config.section import NO_SECRET, Section
from octopus.config.urls import EngineUrl, HttpUrls, LdapUrls, ZooKeeperUrl
from octopus.core.policy import Rule
from octopus.core.types import RequestKind

_ANYWHERE = (Address("0.0.0.0", 2222),)  # noqa: S104  a gateway is there to be reached


class Ssh(Section):
    """``[ssh]``: what people connect to."""

    listen: ListenAddresses = _ANYWHERE
    host_keys: Directory = "/etc/octopus/hostkeys"
    banner_file: File = ""
    idle_timeout: Duration = 0.0
    login_grace_time: Timeout = 30.0
    max_sessions: Positive = 2000
    max_connections: Positive = 10_000
    max_unauthenticated: Positive = 200
    """Connections whose person is not known yet, in all."""
    max_unauthenticated_per_address: Positive = 20
    drain_timeout: Timeout = 12 * 3600.0
    workers: Workers = 0
    bulk_share: Annotated[float, Field(strict=False, ge=0.05, le=1.0)] = 0.33
    """Of a worker's time for bulk data while somebody types in one of its sessions; 1 is no limit."""
    post_quantum: Literal["preferred", "required"] = "preferred"
    """Whether connections are taken whose key exchange a quantum computer could undo later, from clients that know no better."""
    runtime_directory: SocketDirectory = "/run/octopus"
    """Sockets and locks of the running gateway; a restart finds the sessions of the one before through it."""
    trusted_user_ca_keys: File = ""
    proxy_protocol: bool = False


class Ldap(Section):
    """``[auth.ldap]``: the company's directory."""

    servers: Annotated[LdapUrls, Field(min_length=1)]
    start_tls: bool = False
    ca_file: File = ""
    bind_dn: str = ""
    bind_password: Secret = Field(alias="bind_password_file", default=NO_SECRET)
    user_base: Annotated[str, Field(min_length=1)]
    user_filter: UserFilter = "(&(objectClass=inetOrgPerson)(uid={login}))"
    group_base: str = ""
    group_filter: GroupFilter = "(member={dn})"
    nested_groups: bool = False
    """Ask Active Directory for groups within groups, in place of ``group_filter``."""
    ssh_key_attribute: str = "sshPublicKey"
    key_refresh: Timeout = 300.0
    """How often all keys are read."""
    timeout: Timeout = 5.0
    """For one question to one server."""
    retry_after: Timeout = 30.0
    """How long a server that failed is asked last."""
    connections: Annotated[int, Field(ge=1, le=256)] = 8


class Users(Section):
    """``[auth.users]``: the embedded file, where there is no directory."""

    file: Annotated[PrivateFile, Field(min_length=1)]


class Auth(Section):
    """``[auth.…]``: who people are; one of the two."""

    ldap: Ldap | None = None
    users: Users | None = None


class Mesos(Section):
    """``[mesos]``: the masters, listed or found through ZooKeeper."""

    masters: HttpUrls = ()
    zk: ZooKeeperUrl = ""
    zk_auth: Secret = Field(alias="zk_auth_file", default=NO_SECRET)
    """``user:password`` (ZooKeeper's digest scheme), where the nodes are protected."""
    scheme: Literal["http", "https"] = "http"
    """How masters found through ZooKeeper are spoken to."""
    ca_file: File = ""
    username: str = ""
    password: Secret = Field(alias="password_file", default=NO_SECRET)
    poll_interval: Timeout = 15.0
    """Between two readings of the state, where the master has no stream."""
    fetch_timeout: Timeout = 120.0
    max_state: Annotated[int, Field(ge=1_000_000)] = 400_000_000
    """Bytes of a state, inflated; 100,000 tasks are about 260 MB."""


class Marathon(Section):
    """``[marathon]``: apps and their tasks. ``policy_labels`` lets OCTOPUS_ALLOW_GROUPS on an app grant access."""

    urls: HttpUrls = ()
    ca_file: File = ""
    username: str = ""
    password: Secret = Field(alias="password_file", default=NO_SECRET)
    poll_interval: Timeout = 15.0
    """Between two readings, where Marathon has no events (0.8)."""
    policy_labels: bool = False
    accepted_roles: Texts = ()
    """Roles of apps that name none, where Marathon was started with ``--default_accepted_resource_roles``: it does not tell."""


class Docker(Section):
    """``[docker]``: how an agent's engine is reached."""

    url: EngineUrl = "https://{hostname}:2376"
    tls_ca: File = ""
    tls_cert: File = ""
    tls_key: PrivateFile = ""
    ssh_key: PrivateFile = ""
    ssh_known_hosts: File = ""
    inventory: bool = False
    connect_timeout: Timeout = 5.0
    call_timeout: Timeout = 10.0
    start_timeout: Timeout = 15.0
    """From the request to start a command to the engine's answer."""
    exit_timeout: Timeout = 3600.0
    """How long a command may run on after it has closed its output."""
    calls: Annotated[int, Field(ge=1, le=256)] = 4
    """API calls in flight to one engine."""
    spool_directory: OptionalDirectory = ""
    """Where files are meanwhile that pass to and from containers without a shell; empty is the usual place for temporary files."""
    spool_size: Annotated[Size, Field(ge=1)] = 8 << 30
    """The largest of them."""


class PolicyRule(Section):
    """``[[policy]]``: one rule."""

    groups: Texts = ()
    users: Texts = ()
    apps: Annotated[Globs, Field(min_length=1)]
    allow: Kinds
    run_as: RunAs = ""
    record_input: bool = False
    record_output: Size = 0
    idle_timeout: Duration = 0.0
    max_sessions: Count = 0
    keep_background: bool = False
    paths: PathGlobs = ()
    """Where downloads and uploads may go, after links are followed; empty is everywhere."""
    keep_files: Size = 0
    """Of files that pass by sftp and scp, up to this size, a copy is kept beside the recordings; "0" keeps none."""
    forward_localhost: bool = False
    """With "forward": also ports on the loopback of a container with a network of its own, which nobody mapped."""

    def rule(self) -> Rule:
        """Return it as the policy takes it."""
        return Rule(
            groups=frozenset(self.groups),
            users=frozenset(self.users),
            apps=self.apps,
            allow=frozenset(map(RequestKind, self.allow)),
            run_as=self.run_as,
            record_input=self.record_input,
            record_output=self.record_output,
            idle_timeout=self.idle_timeout,
            max_sessions=self.max_sessions,
            keep_background=self.keep_background,
            paths=self.paths,
            keep_files=self.keep_files,
            forward_localhost=self.forward_localhost,
        )


class Limits(Section):
    """``[limits]``: failed logins, in ``window``."""

    failures_per_login: Positive = 5
    failures_per_address: Positive = 20
    window: Timeout = 600.0
    remember_success: Duration = 10.0
    """How long a password that was right is not asked of the directory again; 0 is never."""
    refusal_time: Timeout = 2.0
    """How long a refusal of a password takes, whatever its reason."""


class Unique(Section):
    """``[unique]``: the daemon that follows the agents."""

    mode: Literal["off", "observe", "apply"] = "observe"
    apps: Globs = ("/**",)
    interval: Timeout = 30.0
    settle_time: Duration = 90.0
    """How long an agent must have been registered before instances are started for it."""
    apps_per_minute: Annotated[int, Field(ge=1, le=1000)] = 10
    """Apps scaled within a minute."""
    check_after: Timeout = 300.0
    """After a scaling, when its instances should run."""
    leader: ZooKeeperUrl = ""
    leader_auth: Secret = Field(alias="leader_auth_file", default=NO_SECRET)
    """``user:password`` (ZooKeeper's digest scheme): only who has it may touch the node."""


class Admin(Section):
    """``[admin]``: pages and API; an empty ``listen`` is off."""

    listen: OptionalAddress = Address("127.0.0.1", 8022)
    viewers: Texts = ()
    """Groups who may look: at what they may enter, at the cluster, and at sessions of their own."""
    operators: Texts = ()
    """Groups who may look at everything, end sessions and scale."""
    tls_cert: File = ""
    tls_key: PrivateFile = ""
    trusted_proxies: Networks = ()
    """Whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    tokens_file: PrivateFile = ""
    """Tokens of machines, by their hash."""
    idle_timeout: Timeout = 1800.0
    session_lifetime: Timeout = 12 * 3600.0
    """How long a login lasts however much it is used."""


class Config(Section):
    """The whole configuration."""

    ssh: Ssh = Ssh()
    auth: Auth = Auth()
    mesos: Mesos = Mesos()
    marathon: Marathon = Marathon()
    docker: Docker = Docker()
    policy: Annotated[tuple[PolicyRule, ...], Field(strict=False)] = ()
    audit: Audit = Audit()
    limits: Limits = Limits()
    unique: Unique = Unique()
    admin: Admin = Admin()
    capacity: Capacity = Capacity()
    usage: Usage = Usage()
    metrics: Metrics = Metrics()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of the policy, in the order of the file."""
        return tuple(rule.rule() for rule in self.policy)
