"""The files of real containers: with a shell as its user, and without any by the archive API."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from octopus.core.ports import ContainerFiles
from octopus.core.types import ContainerClue, EngineAddress, Target
from octopus.demo.images import SHELLLESS
from octopus.engine.backend import DockerBackend
from tests.files_contract import ContainerFilesContract
from tests.parts.engines import Engine

HOST = {"NetworkMode": "none", "Tmpfs": {"/small": "size=2m,mode=1777"}}


def target_of(container: str, address: EngineAddress) -> Target:
    """The target of a container on a plain engine."""
    return Target(app="/test", task="test.1", agent="agent-1", engine=address, clue=ContainerClue(engine_id=container))


@pytest.fixture(scope="module")
def container(docker_engine: Engine) -> Iterator[str]:
    """A container with a shell."""
    with docker_engine.container(host_config=HOST) as container:
        yield container


@pytest.fixture(scope="module")
def bare(docker_engine: Engine) -> Iterator[str]:
    """A container without one."""
    with docker_engine.container(image=SHELLLESS, host_config=HOST) as container:
        yield container


@pytest.fixture
async def backend() -> AsyncIterator[DockerBackend]:
    """A backend with its default limits."""
    async with DockerBackend() as backend:
        yield backend


def token() -> str:
    """A session's token."""
    return secrets.token_hex(16)


class TestWithAShell(ContainerFilesContract):
    """As a user who is not root."""

    @pytest.fixture
    async def files(self, backend: DockerBackend, docker_engine: Engine, container: str) -> AsyncIterator[ContainerFiles]:
        """The files as the image's ``app``."""
        async with backend.files(target_of(container, docker_engine.address), "app", token()) as files:
            yield files

    @pytest.fixture
    async def base(self, files: ContainerFiles) -> bytes:
        """A directory of theirs."""
        return await directory(files, b"/tmp")


class TestWithoutAShell(ContainerFilesContract):
    """By the archive API, as root."""

    @pytest.fixture
    async def files(self, backend: DockerBackend, docker_engine: Engine, bare: str) -> AsyncIterator[ContainerFiles]:
        """The files of an image with two programs and nothing else."""
        async with backend.files(target_of(bare, docker_engine.address), "", token()) as files:
            yield files

    @pytest.fixture
    async def base(self, files: ContainerFiles) -> bytes:
        """A directory in it."""
        return await directory(files, b"/")


async def directory(files: ContainerFiles, where: bytes) -> bytes:
    """Make a new directory."""
    place = await files.resolve(where.rstrip(b"/") + b"/" + secrets.token_hex(6).encode(), follow=False)
    await files.make_directory(place)
    return place.path
