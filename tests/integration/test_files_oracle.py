"""Random operations on a real container's files and on a local directory come to the same."""

from __future__ import annotations

import asyncio
import posixpath
import secrets
import tempfile
from collections.abc import Awaitable, Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octopus.core.files import AttributeChanges, FileFailure, WriteMode
from octopus.core.ports import ContainerFiles
from octopus.engine.backend import DockerBackend
from tests.files_contract import make_directory, names, symlink
from tests.integration.test_container_files import container, target_of, token  # noqa: F401  a fixture
from tests.parts.engines import Engine
from tests.parts.local_files import LocalFiles

NAME = st.one_of(
    st.sampled_from([b"a", b"b", b"c"]),
    st.lists(st.integers(1, 255).filter(lambda byte: byte != 0x2F), min_size=1, max_size=12)
    .map(bytes)
    .filter(lambda name: name not in (b".", b"..")),
)
PATH = st.lists(st.one_of(NAME, st.just(b"..")), min_size=1, max_size=2).map(b"/".join).filter(lambda path: not path.startswith(b".."))
PIECES = st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 70_000)), max_size=4)
STEP = st.one_of(
    st.tuples(st.just("write"), PATH, PIECES, st.booleans(), st.booleans()),
    st.tuples(st.just("read"), PATH, PIECES),
    st.tuples(st.just("mkdir"), PATH),
    st.tuples(st.just("symlink"), PATH, NAME),
    st.tuples(st.just("rename"), PATH, PATH, st.booleans()),
    st.tuples(st.just("remove"), PATH),
    st.tuples(st.just("rmdir"), PATH),
    st.tuples(st.just("truncate"), PATH, st.integers(0, 400_000)),
    st.tuples(st.just("list"), PATH),
)


async def act(files: ContainerFiles, base: bytes, step: tuple[object, ...]) -> object:
    """Do one step below ``base`` and return what came of it: figures, content, or the kind of failure."""
    op, path, *rest = step
    at = posixpath.join(base, bytes(path))  # type: ignore[call-overload]
    try:
        return await STEPS[str(op)](files, at, *rest)
    except FileFailure as failure:
        return type(failure).__name__


async def _write(files: ContainerFiles, path: bytes, pieces: list[tuple[int, int]], truncate: bool, exclusive: bool) -> object:
    writer = await files.open_write(await files.resolve(path), WriteMode(truncate=truncate, exclusive=exclusive))
    for offset, size in pieces:
        await writer.write(offset, (b"%d." % (offset + size)) * (size // 4))
    return await writer.close()


async def _read(files: ContainerFiles, path: bytes, pieces: list[tuple[int, int]]) -> object:
    reader = await files.open_read(await files.resolve(path))
    found = [await reader.read(offset, size) for offset, size in pieces]
    return found, reader.size, (await reader.stat()).mode, await reader.close()


async def _rename(files: ContainerFiles, path: bytes, other: bytes, replace: bool) -> None:
    new = posixpath.join(posixpath.dirname(path), posixpath.basename(other))
    if new != path:
        await files.rename(await files.resolve(path, follow=False), await files.resolve(new, follow=False), replace=replace)


async def _truncate(files: ContainerFiles, path: bytes, size: int) -> object:
    place = await files.resolve(path)
    if place.attributes and place.attributes.regular:
        await files.change(place, AttributeChanges(size=size))
    return place.attributes is None


async def _remove(files: ContainerFiles, path: bytes) -> None:
    await files.remove(await files.resolve(path, follow=False))


async def _rmdir(files: ContainerFiles, path: bytes) -> None:
    await files.remove_directory(await files.resolve(path, follow=False))


async def _symlink(files: ContainerFiles, path: bytes, text: bytes) -> None:
    await symlink(files, text, path)


STEPS: dict[str, Callable[..., Awaitable[object]]] = {
    "write": _write,
    "read": _read,
    "mkdir": make_directory,
    "symlink": _symlink,
    "rename": _rename,
    "remove": _remove,
    "rmdir": _rmdir,
    "truncate": _truncate,
    "list": names,
}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEP, min_size=5, max_size=25))
def test_a_container_does_as_a_local_directory(docker_engine: Engine, container: str, steps: list[tuple[object, ...]]) -> None:  # noqa: F811
    """The same figures, bytes and kinds of failure, step for step."""

    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            local = LocalFiles(folder.encode())
            async with DockerBackend() as backend, backend.files(target_of(container, docker_engine.address), "", token()) as files:
                base = b"/tmp/" + secrets.token_hex(6).encode()
                await make_directory(files, base)
                for step in steps:
                    assert await act(files, base, step) == await act(local, folder.encode(), step), step

    asyncio.run(run())
