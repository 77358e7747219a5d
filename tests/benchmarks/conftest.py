"""The scene of the end-to-end tests serves the benchmarks too."""

from tests.e2e.conftest import company, people, scene

__all__ = ["company", "people", "scene"]
