"""What the private parts of demo and tests decide without starting anything."""

from __future__ import annotations

import ast
import datetime
import io
import os
import re
import tarfile
from pathlib import Path

import pytest
from cryptography import x509

from octopus.demo.certificates import Authority
from octopus.demo.engines import PrivateEngine, first_answering
from octopus.demo.images import archive, folder, link, plain
from octopus.demo.keeper import mounts_under, parent_of
from octopus.demo.process import log_end

ROOT = Path(__file__).parents[2]

EVERYWHERE = {"bash", "coreutils", "dash", "libc-bin", "mount", "util-linux"}
"""Packages that Debian and Ubuntu are never without."""

WITH_ANOTHER = {"openssh-sftp-server": "openssh-server"}
"""Packages that another one brings along."""

MOUNTINFO = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:40 / /d/exec/netns/default rw - nsfs nsfs rw
31 22 0:41 / /d/data/overlay2/a\\040b/merged rw - overlay overlay rw
32 22 0:42 / /do/not/touch rw - tmpfs tmpfs rw
33 22 0:43 / /d/data rw - tmpfs tmpfs rw
"""


def test_mounts_below_a_folder_come_innermost_first() -> None:
    """A name that merely begins alike is another folder; a space is written as an octal escape."""
    assert mounts_under("/d", MOUNTINFO) == ["/d/data/overlay2/a b/merged", "/d/exec/netns/default", "/d/data"]


def test_the_parent_of_a_process_is_known() -> None:
    """Ours is found, and a process that is gone has none."""
    assert parent_of(str(os.getpid())) == os.getppid()
    assert parent_of("0") == 0


def test_a_server_is_certified_for_its_names_and_a_client_for_none(tmp_path: Path) -> None:
    """Addresses and DNS names are told apart, and keys are private."""
    authority = Authority(tmp_path)
    server, client = authority.issue("server", hosts=["127.0.0.2", "localhost"]), authority.issue("client")
    names = x509.load_pem_x509_certificate(server.cert.read_bytes()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert [str(address) for address in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.2"]
    assert names.value.get_values_for_type(x509.DNSName) == ["localhost"]
    with pytest.raises(x509.ExtensionNotFound):
        x509.load_pem_x509_certificate(client.cert.read_bytes()).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert {path.stat().st_mode & 0o777 for path in (server.key, client.key)} == {0o600}


def test_an_expired_certificate_can_be_had(tmp_path: Path) -> None:
    """A negative lifetime ends in the past and begins before that."""
    files = Authority(tmp_path).issue("old", hosts=["localhost"], lifetime=datetime.timedelta(days=-1))
    certificate = x509.load_pem_x509_certificate(files.cert.read_bytes())
    assert certificate.not_valid_before_utc < certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC)


def test_an_archive_holds_what_it_was_given() -> None:
    """Modes, owners, targets and contents survive."""
    entries = [
        folder("tmp", mode=0o1777),
        folder("home/app", owner=1000),
        plain("etc/x", b"12", mode=0o600),
        link("bin/sh", "/bin/busybox"),
    ]
    with tarfile.open(fileobj=io.BytesIO(archive(entries))) as tar:
        tmp, home, file, shell = tar.getmembers()
        content = tar.extractfile(file)
        assert content is not None
        assert content.read() == b"12"
    assert (tmp.isdir(), tmp.mode, home.uid, home.gid, file.mode) == (True, 0o1777, 1000, 1000, 0o600)
    assert (shell.issym(), shell.linkname) == (True, "/bin/busybox")


def test_the_end_of_a_long_log_is_told() -> None:
    """An error carries the last of it, whatever bytes those are."""
    assert log_end(io.BytesIO(b"early\n" * 1000 + b"\xfflast\n")).endswith("early\n�last")
    assert log_end(io.BytesIO(b"")) == ""


def test_tls_takes_a_host_and_an_authority(tmp_path: Path) -> None:
    """One without the other is a mistake, told before anything starts."""
    with pytest.raises(ValueError, match="both"):
        PrivateEngine(host="127.0.0.2")
    with pytest.raises(ValueError, match="both"):
        PrivateEngine(authority=Authority(tmp_path))


def test_no_url_is_no_engine() -> None:
    """An unset DOCKER_HOST is passed over."""
    assert first_answering(["", ""]) is None


def test_the_ground_holds_every_package_that_a_test_needs() -> None:
    """A program that happens to be on one machine is missing on the next; so what a test asks for by ``need``, ground.sh installs."""
    script = (ROOT / "octopus/demo/ground.sh").read_text(encoding="utf-8")
    installed = set(re.findall(r"^    want ([a-z0-9.-]+) ", script, re.MULTILINE))
    needed = {
        call.args[1].value
        for path in (ROOT / "tests").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "need"
        and isinstance(call.args[1], ast.Constant)
    }
    assert {WITH_ANOTHER.get(str(package), package) for package in needed} - EVERYWHERE - installed == set()
