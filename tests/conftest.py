"""Registers the real parts as fixtures for every test."""

from tests.parts.engines import docker_engine, tls_authority, two_tls_engines

__all__ = ["docker_engine", "tls_authority", "two_tls_engines"]
