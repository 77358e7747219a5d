"""A configuration is read whole or refused with every fault, each with its file, line and key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from octopus.config import Config, load
from octopus.core.errors import ConfigError
from octopus.core.policy import Rule
from octopus.core.types import RequestKind

SMALL = """
[auth.users]
file = "users.toml"
[mesos]
masters = ["http://m1:5050"]
[docker]
url = "unix:///run/docker.sock"
[[policy]]
groups = ["dev"]
apps = ["/**"]
allow = ["shell"]
"""

BROKEN = """\
[ssh]
listen = ["0.0.0.0"]
listn = "x"
idle_timeout = 30
login_grace_time = "0"
drain_timeout = "99999d"
workers = "many"
max_sessions = 0
proxy_protocol = "yes"
banner_file = "missing.txt"
host_keys = ""
[auth.ldap]
servers = ["http://x", "ldaps://u:hunter2@h"]
start_tls = true
bind_dn = "cn=x"
bind_pasword_file = "./secret"
user_filter = "(uid=x)"
group_filter = "(member={dn}"
[auth.users]
file = "open.toml"
[mesos]
masters = "http://m"
zk = "zk://m"
password_file = "hunter2"
[docker]
url = "https://{host}:1"
inventory = 1
[[policy]]
apps = ["/a**"]
allow = ["shel"]
[[policy]]
groups = ["x", 1]
apps = []
allow = []
run_as = "a b"
max_sessions = -1
[audit]
directory = "open.toml"
syslog = "udp://h:1"
retention = 1979-05-27
[unique]
mode = "aply"
[metrics]
prefix = "a b"
statsd = "x"
[nonsense]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a users file that is private and one that is not."""
    for name, mode in [("users.toml", 0o600), ("open.toml", 0o644), ("secret", 0o600)]:
        (tmp_path / name).write_text("s3cret\n")
        (tmp_path / name).chmod(mode)
    return tmp_path


def load_text(place: Path, text: str, **environ: str) -> Config:
    """Return the configuration of ``text`` under ``environ``."""
    path = place / "octopus.toml"
    path.write_text(text)
    return load(path, environ)


def faults(place: Path, text: str, **environ: str) -> list[str]:
    """Return the faults of ``text`` under ``environ``, without the directory's path."""
    with pytest.raises(ConfigError) as refused:
        load_text(place, text, **environ)
    assert refused.value.exit_status == 78
    return [fault.replace(f"{place}/", "") for fault in refused.value.faults]


def test_a_small_file_is_enough(place: Path) -> None:
    """What is not said has the default of the documentation."""
    config = load_text(place, SMALL)
    assert [str(address) for address in config.ssh.listen] == ["0.0.0.0:2222"]
    assert (config.ssh.login_grace_time, config.ssh.drain_timeout, config.audit.retention) == (30.0, 43_200.0, 34_560_000.0)
    assert config.auth.users is not None
    assert config.auth.users.file == str(place / "users.toml")
    assert config.rules == (Rule(groups=frozenset({"dev"}), apps=("/**",), allow=frozenset({RequestKind.SHELL})),)


def test_every_fault_is_told_at_once(place: Path) -> None:
    """Each line names file, line and key, what is wrong and what is expected; nothing secret is in it."""
    found = faults(place, BROKEN)
    assert found == (Path(__file__).parent / "data" / "faults.txt").read_text().splitlines()
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a = ", "octopus.toml:1: not valid TOML: Invalid value"),
        ("x = 1\n[ssh\n", "octopus.toml:2: not valid TOML, column 5: Expected ']' at the end of a table declaration"),
        ('x = "a\n', "octopus.toml:1: not valid TOML, column 7: Illegal character '\\n'"),
        ('\n\nx = """\n', "octopus.toml:3: not valid TOML: Unterminated string"),
        ("[ssh]\n[ssh]\n", "octopus.toml:2: not valid TOML, column 5: Cannot declare ('ssh',) twice"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(place: Path, text: str, fault: str) -> None:
    """The first fault of syntax ends the reading."""
    assert faults(place, text) == [fault]


def test_a_file_that_cannot_be_read_is_told(place: Path) -> None:
    """Missing, a directory, not UTF-8, too long."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file or directory"):
        load(place / "none.toml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(place, {})
    (place / "latin.toml").write_bytes(b"# one\n# t\xf6o\n")
    with pytest.raises(ConfigError, match=r"latin\.toml:2: not UTF-8 text"):
        load(place / "latin.toml", {})
    (place / "long.toml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="longer than 4194304 bytes"):
        load(place / "long.toml", {})


def test_an_empty_file_lacks_people_place_and_policy(place: Path) -> None:
    """The faults between keys are told even where nothing stands."""
    assert faults(place, "") == [
        "octopus.toml: auth: nobody could log in; expected [auth.ldap] or [auth.users]",
        "octopus.toml: mesos: there is nothing to enter; expected mesos.masters, mesos.zk or docker.inventory = true",
        "octopus.toml: docker.tls_ca: is missing; an engine at https:// needs tls_ca, tls_cert, tls_key",
        "octopus.toml: policy: nobody could enter anything; expected at least one [[policy]]",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("[docker]", "[docker]\ninventory = true", "docker.inventory: true, and there is [mesos] too"),
        (
            "unix:///run/docker.sock",
            "ssh://root@{hostname}",
            "docker.ssh_key: is missing; an engine at ssh:// needs ssh_key, ssh_known_hosts",
        ),
        ("unix:///run/docker.sock", "https://{hostname}:2376", "docker.tls_ca: is missing; an engine at https:// needs tls_ca"),
        ("unix:///run/docker.sock", "tcp://{hostname}", "docker.url: 'tcp://{hostname}' is no engine; expected unix:///path"),
        ("unix:///run/docker.sock", "http://{hostname", "docker.url: 'http://{hostname' has a placeholder"),
        ("unix:///run/docker.sock", "ssh://a@h:22/run/docker.sock", "docker.ssh_key: is missing; an engine at ssh:// needs ssh_key"),
        ("unix:///run/docker.sock", "http://u:hunter2@h", "docker.url: 'http://…@h' is no engine"),
        ('groups = ["dev"]', "", "policy[0]: speaks of nobody; expected groups = [...] or users = [...]"),
        ('groups = ["dev"]', 'groups = [""]', "policy[0].groups[0]: is empty; expected text"),
        (
            'allow = ["shell"]',
            'allow = ["shell"]\nforward_localhost = true',
            'policy[0].forward_localhost: stands alone; expected "forward" in allow',
        ),
        (
            'allow = ["shell"]',
            'allow = ["shell"]\npaths = ["/tmp/**"]',
            'policy[0].paths: stands alone; expected "download" or "upload" in allow',
        ),
        (
            'allow = ["shell"]',
            'allow = ["exec"]\nkeep_files = "10MB"',
            'policy[0].keep_files: stands alone; expected "download" or "upload" in allow',
        ),
        ('allow = ["shell"]', 'allow = ["upload"]\nkeep_files = "10"', "policy[0].keep_files: '10' is no size; expected text such as"),
        ('allow = ["shell"]', 'allow = ["upload"]\nkeep_files = "65GiB"', "policy[0].keep_files: '65GiB' is too large; expected at most"),
        (
            'allow = ["shell"]',
            'allow = ["upload"]\npaths = ["tmp/**"]',
            "policy[0].paths[0]: 'tmp/**' is no glob over paths: a path begins with '/'",
        ),
        ("http://m1:5050", "http://:5050", "mesos.masters[0]: 'http://:5050' is no address this key knows"),
        ("http://m1:5050", "http://m1:x", "mesos.masters[0]: 'http://m1:x' is no address this key knows"),
        ('masters = ["http://m1:5050"]', 'zk = "zk://a,b/c"', "mesos.zk: 'zk://a,b/c' is no ZooKeeper address"),
        (
            "[mesos]",
            '[audit.s3]\nbucket = "audit"\naccess_key_file = "./secret"\n[mesos]',
            "audit.s3.secret_key_file: is missing; an object store needs bucket, access_key_file, secret_key_file",
        ),
        (
            "[mesos]",
            '[audit.s3]\nbucket = "Audit"\naccess_key_file = "./secret"\nsecret_key_file = "./secret"\n[mesos]',
            "audit.s3.bucket: 'Audit' is not allowed; expected the name of a bucket",
        ),
        ("[mesos]", '[audit.s3]\nendpoint = "s3.corp"\n[mesos]', "audit.s3.endpoint: 's3.corp' is no address this key knows"),
        ("[mesos]", '[audit.s3]\nendpoint = "https://u:p@s3.corp"\n[mesos]', "audit.s3.endpoint: 'https://…@s3.corp' is no address"),
        (
            "[mesos]",
            '[audit]\nsyslog = "tcp://h:1"\nsyslog_ca_file = "./secret"\n[mesos]',
            'audit.syslog_ca_file: stands alone; expected syslog = "tls://host:port" beside it',
        ),
        (
            "[mesos]",
            '[audit]\nsyslog = "tls://h:1"\nsyslog_key_file = "./secret"\n[mesos]',
            "audit.syslog_key_file: stands alone; expected syslog_cert_file beside it",
        ),
        ("[mesos]", '[mesos]\nusername = "u"', "mesos.username: stands alone; expected password_file beside it"),
        ("[mesos]", '[mesos]\nusername = "u"\npassword_file = "./empty"', "mesos.password_file: './empty' holds no secret"),
        ("[mesos]", '[mesos]\nusername = "u"\npassword_file = "./open.toml"', "mesos.password_file: './open.toml' is open to its group or"),
        ("[mesos]", '[mesos]\nusername = "u"\npassword_file = "./latin"', "mesos.password_file: './latin' cannot be read as UTF-8 text"),
        ("[mesos]", "[metrics]\nprefix = 7\n[mesos]", "metrics.prefix: is a number; expected text"),
        ("[mesos]", '[admin]\ntls_cert = "./secret"\n[mesos]', "admin.tls_cert: stands alone; expected tls_key beside it"),
        ("[mesos]", '[admin]\nlisten = "0.0.0.0:80"\n[mesos]', "admin.listen: passwords would go there in clear; expected tls_cert and"),
        ("[mesos]", '[admin]\ntrusted_proxies = ["here"]\n[mesos]', "admin.trusted_proxies[0]: 'here' is no network; expected such as"),
        ("[mesos]", '[mesos]\nzk_auth_file = "./secret"', "mesos.zk_auth_file: stands alone; expected zk beside it"),
        ("[mesos]", '[metrics]\nstatsd = "h:99999"\n[mesos]', "metrics.statsd: 'h:99999' is no address"),
        ("[mesos]", "[limits]\nwindow = []\n[mesos]", "limits.window: '[]' is no duration"),
        ("[mesos]", "[mesos]\nmax_state = 5", "mesos.max_state: '5' is not allowed; expected 1000000 or more"),
        ("[mesos]", '[mesos]\nscheme = "https://"', "mesos.scheme: 'https://' is not allowed; expected 'http' or 'https'"),
        ("http://m1:5050", "http://u@m1:5050", "mesos.masters[0]: a name or password stands in the address"),
        ("http://m1:5050", "http://[m1", "mesos.masters[0]: 'http://[m1' is no address this key knows"),
        ('apps = ["/**"]', 'apps = ["/a["]', "policy[0].apps[0]: '/a[' is no glob: of special signs a glob knows"),
        ('allow = ["shell"]', "", "policy[0].allow: is missing"),
        ("users.toml", "nul\\u0000", "auth.users.file: a path holds no NUL"),
        ("users.toml", "", "auth.users.file: is empty; expected text"),
        ("users.toml", ".", "auth.users.file: '.' is not a file; expected the path of one"),
    ],
)
def test_each_kind_of_fault_has_its_words(place: Path, old: str, new: str, fault: str) -> None:
    """One thing wrong gives one line that begins so."""
    (place / "empty").touch(0o600)
    (place / "latin").touch(0o600)
    (place / "latin").write_bytes(b"\xff\n")
    assert old in SMALL
    [line] = faults(place, SMALL.replace(old, new))
    assert re.sub(r"^octopus\.toml(:\d+)?: ", "", line).startswith(fault)
    assert "hunter2" not in line


def test_one_engine_is_all_or_nothing(place: Path) -> None:
    """With ``inventory`` the address names one engine, and no cluster is needed."""
    inventory = SMALL.replace('[mesos]\nmasters = ["http://m1:5050"]', "").replace("[docker]", "[docker]\ninventory = true")
    assert load_text(place, inventory).docker.inventory
    [line] = faults(place, inventory.replace("unix:///run/docker.sock", "http://{hostname}:2375"))
    assert line.endswith("docker.url: names many engines; with inventory = true expected one, without {hostname} and {ip}")


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("64KB", 64_000), ("10MB", 10_000_000), ("1GiB", 1 << 30)])
def test_sizes(place: Path, text: str, size: int) -> None:
    """Thousands and powers of two are told apart."""
    config = load_text(place, SMALL.replace('allow = ["shell"]', f'allow = ["upload"]\nkeep_files = "{text}"'))
    assert config.rules[0].keep_files == size


def test_what_may_be_off_is_off_when_empty(place: Path) -> None:
    """An empty address, duration or file is none."""
    config = load_text(place, '[admin]\nlisten = ""\n[metrics]\nstatsd = "[::1]:8125"\n' + SMALL)
    assert (config.admin.listen, str(config.metrics.statsd)) == (None, "[::1]:8125")


def test_the_environment_overlays_the_file(place: Path) -> None:
    """Text, numbers, booleans, durations, lists of both spellings, nested sections; other programs' variables are left alone."""
    config = load_text(
        place,
        SMALL,
        OCTOPUS_SSH__LISTEN="127.0.0.1:1, [::1]:2",
        OCTOPUS_SSH__WORKERS="3",
        OCTOPUS_SSH__PROXY_PROTOCOL="true",
        OCTOPUS_SSH__DRAIN_TIMEOUT="1h",
        OCTOPUS_AUTH__USERS__FILE="./secret",
        OCTOPUS_MESOS__MASTERS='["http://a", "http://b"]',
        OCTOPUS_METRICS__PREFIX="5",
        OCTOPUS_POLICY='[{users = ["al"], apps = ["/x"], allow = []}]',
        OCTOPUS_SESSION="abc",
        HOME="/",
    )
    assert [str(address) for address in config.ssh.listen] == ["127.0.0.1:1", "[::1]:2"]
    assert (config.ssh.workers, config.ssh.proxy_protocol, config.ssh.drain_timeout) == (3, True, 3600.0)
    assert config.auth.users is not None
    assert config.auth.users.file == str(place / "secret")
    assert (config.mesos.masters, config.metrics.prefix) == (("http://a", "http://b"), "5")
    assert config.rules == (Rule(users=frozenset({"al"}), apps=("/x",), allow=frozenset()),)


def test_faults_of_the_environment_name_the_variable(place: Path) -> None:
    """A wrong value and an unknown name are faults, as in the file."""
    wrong = {"OCTOPUS_SSH__MAX_SESSIONS": "many", "OCTOPUS_SSH__LISTN": "x", "OCTOPUS_A__B": "x", "OCTOPUS_POLICY__0__ALLOW": "x"}
    assert faults(place, SMALL, **wrong) == [
        "OCTOPUS_SSH__MAX_SESSIONS: ssh.max_sessions: is text; expected a whole number",
        "OCTOPUS_A__B: a.b: unknown key",
        "OCTOPUS_POLICY__0__ALLOW: policy.0.allow: unknown key",
        "OCTOPUS_SSH__LISTN: ssh.listn: unknown key (did you mean listen?)",
    ]
    assert faults(place, f"ssh = 1\n{SMALL}", OCTOPUS_SSH__WORKERS="1") == ["octopus.toml:1: ssh: is a number; expected a table"]


def test_faults_within_a_value_of_the_environment_are_told(place: Path) -> None:
    """What is of the right kind is read as such, and its own fault told, not that it is text."""
    wrong = {
        "OCTOPUS_SSH__MAX_SESSIONS": "-1",
        "OCTOPUS_SSH__LISTEN": "foo",
        "OCTOPUS_POLICY": '[{users = ["al"], apps = ["/x"], allow = ["fly"]}]',
    }
    told = faults(place, SMALL, **wrong)
    assert (
        "OCTOPUS_POLICY: policy[0].allow[0]: 'fly' is not allowed; expected 'shell', 'exec', 'download', 'upload', 'forward' or 'logs'"
        in told
    )
    assert [line for line in told if "ssh.listen[0]: 'foo' is no address" in line]
    assert [line for line in told if "ssh.max_sessions: '-1' is not allowed" in line]
    assert not [line for line in told if "is text" in line]


def test_a_secret_is_read_from_its_file_and_hidden(place: Path) -> None:
    """The attribute holds the first line; the repr of the configuration does not show it."""
    config = load_text(place, SMALL.replace("[mesos]", '[mesos]\nusername = "u"\npassword_file = "./secret"'))
    assert config.mesos.password.get_secret_value() == "s3cret"
    assert "s3cret" not in f"{config!r} {config}"


def test_a_systemd_credential_fills_a_key_that_is_not_set(place: Path) -> None:
    """Its mode is systemd's business; a key that is set stays."""
    credentials = place / "credentials"
    credentials.mkdir()
    (credentials / "mesos.password").write_text("from systemd")
    (credentials / "mesos.password").chmod(0o440)
    named = SMALL.replace("[mesos]", '[mesos]\nusername = "u"')
    config = load_text(place, named, CREDENTIALS_DIRECTORY=str(credentials))
    assert config.mesos.password.get_secret_value() == "from systemd"
    named = named.replace("[mesos]", '[mesos]\npassword_file = "./secret"')
    assert load_text(place, named, CREDENTIALS_DIRECTORY=str(credentials)).mesos.password.get_secret_value() == "s3cret"
