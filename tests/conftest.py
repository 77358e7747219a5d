"""Registers the real parts as fixtures for every test."""

import pytest

from tests.parts.directory import slapd, slapd_pair
from tests.parts.engines import docker_engine, tls_authority, two_tls_engines
from tests.parts.object_store import swift, swift_server
from tests.parts.sshd import sshd
from tests.parts.zookeeper import zookeeper

__all__ = ["docker_engine", "slapd", "slapd_pair", "sshd", "swift", "swift_server", "tls_authority", "two_tls_engines", "zookeeper"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the long tests be longer."""
    parser.addoption("--kills", default="42", help="how many deaths the test of random kills has")
