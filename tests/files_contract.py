"""What every ContainerFiles does: a suite to subclass. The directory it works in is the container's own to fill."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
from collections.abc import Iterable

import pytest

from octopus.core.files import (
    AttributeChanges,
    DirectoryNotEmpty,
    FileAttributes,
    FileExists,
    FileFailure,
    FileUnsupported,
    IsADirectory,
    NoSuchFile,
    NotADirectory,
    Passed,
    Place,
    TooManyLinks,
    WriteMode,
)
from octopus.core.ports import ContainerFiles

PIECE = 32 * 1024
NAMES = [
    b"with spaces  in it ",
    b"new\nline\n",
    b"quotes'\"`$(reboot)\\",
    b"-rf",
    b"--",
    "ünïcødé €".encode(),
    bytes(range(0x80, 0x100)),
    bytes(byte for byte in range(1, 0x80) if byte != 0x2F),
    b"*",
    b"~",
    b"...",
    b"\\0141",
    b"n" * 255,
]


async def upload(
    files: ContainerFiles, path: bytes, data: bytes, mode: WriteMode | None = None, piece: int = PIECE, place: Place | None = None
) -> Passed:
    """Write a file as a client does, where it was decided to be already with ``place``."""
    writer = await files.open_write(place or await files.resolve(path), mode or WriteMode())
    try:
        for at in range(0, len(data), piece):
            await writer.write(at, data[at : at + piece])
        return await writer.close()
    finally:
        await writer.abort()


async def download(files: ContainerFiles, path: bytes, piece: int = PIECE) -> tuple[bytes, Passed]:
    """Read a file as a client does, to its end."""
    reader = await files.open_read(await files.resolve(path))
    parts: list[bytes] = []
    while data := await reader.read(sum(map(len, parts)), piece):
        parts.append(data)
    return b"".join(parts), await reader.close()


async def names(files: ContainerFiles, path: bytes) -> list[bytes]:
    """List a directory."""
    return sorted([one.name async for batch in files.entries(await files.resolve(path)) for one in batch])


async def attributes(files: ContainerFiles, path: bytes, *, follow: bool = True) -> FileAttributes:
    """Stat what must be there."""
    found = (await files.resolve(path, follow=follow)).attributes
    if found is None:
        raise NoSuchFile
    return found


async def make_directory(files: ContainerFiles, path: bytes) -> None:
    """Make a directory."""
    await files.make_directory(await files.resolve(path, follow=False))


async def symlink(files: ContainerFiles, text: bytes, path: bytes) -> None:
    """Make a link."""
    await files.symlink(text, await files.resolve(path, follow=False))


class ContainerFilesContract:
    """A subclass gives the fixtures ``files`` and ``base``, an empty directory of the container's user."""

    async def test_a_file_comes_back_as_it_went(self, files: ContainerFiles, base: bytes) -> None:
        """Of every size around the limits; what passed is counted and hashed on both ways."""
        for size in (0, 1, 4096, 256 * 1024 - 1, 256 * 1024, 1024 * 1024 + 3):
            data = os.urandom(size)
            path = posixpath.join(base, b"file")
            expected = Passed(size=size, sha256=hashlib.sha256(data).hexdigest(), ordered=True, complete=True)
            assert await upload(files, path, data) == expected
            assert await download(files, path) == (data, expected)
            assert (await attributes(files, path)).size == size

    async def test_names_are_bytes(self, files: ContainerFiles, base: bytes) -> None:
        """Whatever a file system takes as a name goes both ways, in paths, lists, links and renames."""
        for name in NAMES:
            path = posixpath.join(base, name)
            await upload(files, path, name)
            assert (await files.resolve(path)).path == path
            assert (await download(files, path))[0] == name
        assert await names(files, base) == sorted(NAMES)
        await symlink(files, NAMES[1], posixpath.join(base, b"link"))
        place = await files.resolve(posixpath.join(base, b"link"), follow=False)
        assert await files.read_link(place) == NAMES[1]
        assert (await files.resolve(place.path)).path == posixpath.join(base, NAMES[1])
        for name in [*NAMES, b"link"]:
            await files.remove(await files.resolve(posixpath.join(base, name), follow=False))
        assert await names(files, base) == []

    async def test_a_relative_path_starts_at_home(self, files: ContainerFiles) -> None:
        """The empty path is home itself."""
        for path in (b"", b".", b"./."):
            assert (await files.resolve(path)).path == (await files.resolve(files.home)).path

    async def test_links_are_followed_as_the_kernel_does(self, files: ContainerFiles, base: bytes) -> None:
        """Relative, absolute, through directories, out and back; a loop ends; a dangling one leads to where it points."""
        await make_directory(files, posixpath.join(base, b"d"))
        await upload(files, posixpath.join(base, b"d/f"), b"found")
        real = posixpath.join(base, b"d/f")
        for name, text in [(b"r", b"d/f"), (b"a", real), (b"dir", b"./d"), (b"up", b"d/../../" + posixpath.basename(base) + b"/dir/f")]:
            await symlink(files, text, posixpath.join(base, name))
        for path in (b"r", b"a", b"dir/f", b"up", b"dir/../d/./f", b"d//f"):
            assert (await files.resolve(posixpath.join(base, path))).path == real
            assert (await download(files, posixpath.join(base, path)))[0] == b"found"
        assert (await attributes(files, posixpath.join(base, b"r"), follow=False)).symlink
        await symlink(files, b"loop2", posixpath.join(base, b"loop"))
        await symlink(files, b"loop", posixpath.join(base, b"loop2"))
        with pytest.raises(TooManyLinks):
            await files.resolve(posixpath.join(base, b"loop"))
        await symlink(files, b"d/new", posixpath.join(base, b"dangling"))
        place = await files.resolve(posixpath.join(base, b"dangling"))
        assert (place.path, place.attributes) == (posixpath.join(base, b"d/new"), None)

    async def test_what_is_not_there_is_told(self, files: ContainerFiles, base: bytes) -> None:
        """A missing last name is a place; a missing directory, or a file for a directory, is not."""
        await upload(files, posixpath.join(base, b"f"), b"")
        assert (await files.resolve(posixpath.join(base, b"no"))).attributes is None
        for path, kind in [(b"no/f", NoSuchFile), (b"f/x", NotADirectory)]:
            with pytest.raises(kind):
                await files.resolve(posixpath.join(base, path))
        with pytest.raises(NoSuchFile):
            await files.open_read(await files.resolve(posixpath.join(base, b"no")))
        with pytest.raises(IsADirectory):
            await files.open_read(await files.resolve(base))
        with pytest.raises(IsADirectory):
            await files.open_write(await files.resolve(base), WriteMode())
        with pytest.raises(NotADirectory):
            await names(files, posixpath.join(base, b"f"))
        with pytest.raises(NoSuchFile):
            await files.remove(await files.resolve(posixpath.join(base, b"no")))

    async def test_reads_at_any_offset(self, files: ContainerFiles, base: bytes) -> None:
        """Back and forth, beyond the end, across blocks: the bytes that are there, and no claim that all passed in order."""
        data = os.urandom(1024 * 1024)
        await upload(files, posixpath.join(base, b"f"), data)
        reader = await files.open_read(await files.resolve(posixpath.join(base, b"f")))
        for offset, size in [(900_000, 10), (0, 300_000), (262_143, 2), (1_048_570, 100), (1_048_576, 1), (2_000_000, 5), (5, 5)]:
            assert await reader.read(offset, size) == data[offset : offset + size]
        passed = await reader.close()
        assert (passed.ordered, passed.complete) == (False, False)

    @pytest.mark.parametrize("size", [0, 10, 262_144, 300_000])
    async def test_what_is_fetched_along_is_the_file(self, files: ContainerFiles, base: bytes, size: int) -> None:
        """Resolved by who is about to read it a path leads where it does otherwise, and what is read is all of it."""
        data = os.urandom(size)
        await upload(files, posixpath.join(base, b"a\nb"), data)
        await symlink(files, b"a\nb", posixpath.join(base, b"l"))
        for name in (b"a\nb", b"l", b".//a\nb", b"../" + posixpath.basename(base) + b"/l"):
            path = posixpath.join(base, name)
            place, plain = await files.resolve(path, ahead=True), await files.resolve(path)
            assert (place.asked, place.path) == (path, plain.path)
            assert plain.attributes is not None
            assert place.begun or (place.attributes and same(place.attributes, plain.attributes))
            again = await files.resolve(path, ahead=True)
            reader = await files.open_read(again)
            assert await reader.read(0, 1 << 20) == data[: 1 << 20]
            assert same(await reader.stat(), plain.attributes)
            assert (await reader.close()).size == reader.size == size
        for name in (b"", b"none"):
            path = posixpath.join(base, name)
            place, plain = await files.resolve(path, ahead=True), await files.resolve(path)
            assert (place.path, place.attributes is None) == (plain.path, plain.attributes is None)

    async def test_a_directory_made_here_counts_as_empty_only_until_it_is_not(self, files: ContainerFiles, base: bytes) -> None:
        """What was put there is found again with its mode, whoever put it; what others made meanwhile is replaced, but no link followed."""
        folder = posixpath.join(base, b"own")
        await files.make_directory(await files.resolve(folder))
        path = posixpath.join(folder, b"a b ")
        writer = await files.open_write(await files.resolve(path, new=True), WriteMode(mode=0o600))
        await writer.write(0, b"one")
        await writer.close()
        again = await files.resolve(path, new=True)
        assert again.attributes is not None
        assert again.attributes.mode & 0o777 == 0o600
        writer = await files.open_write(again, WriteMode(mode=0o644))
        await writer.write(0, b"two")
        await writer.close()
        assert (await attributes(files, path)).mode & 0o777 == 0o600
        late = await files.resolve(posixpath.join(folder, b"late"), new=True)
        writer = await files.open_write(late, WriteMode())
        await symlink(files, path, posixpath.join(folder, b"late"))
        await writer.write(0, b"three")
        with contextlib.suppress(FileFailure):
            await writer.close()
        assert (await download(files, path))[0] == b"two"

    async def test_a_slow_reader_reads_it_all(self, files: ContainerFiles, base: bytes) -> None:
        """What is fetched ahead meanwhile changes nothing about where the file ends."""
        content = os.urandom(1_100_000)
        await upload(files, posixpath.join(base, b"f"), content)
        reader = await files.open_read(await files.resolve(posixpath.join(base, b"f")))
        parts: list[bytes] = []
        while part := await reader.read(sum(map(len, parts)), 32_768):
            parts.append(part)
            for _ in range(3):  # each after what was asked for before it
                await files.resolve(posixpath.join(base, b"f"))
        passed = await reader.close()
        assert b"".join(parts) == content
        assert (passed.complete, passed.size) == (True, len(content))

    async def test_writes_at_any_offset(self, files: ContainerFiles, base: bytes) -> None:
        """Overtaking, overlapping, with holes: as a local file takes them."""
        model = bytearray(400_000)
        writer = await files.open_write(await files.resolve(posixpath.join(base, b"f")), WriteMode())
        for offset, size in [(300_000, 100_000), (0, 10), (10, 50_000), (5, 10), (49_999, 7)]:
            data = os.urandom(size)
            model[offset : offset + size] = data
            await writer.write(offset, data)
        assert (await writer.stat()).size == 400_000
        assert not (await writer.close()).ordered
        assert (await download(files, posixpath.join(base, b"f")))[0] == model

    async def test_two_slashes_are_one(self, files: ContainerFiles, base: bytes) -> None:
        """Also at the beginning, where some shells keep both: a rule would not know the path again."""
        await upload(files, base + b"/f", b"f")
        for path in (b"/" + base + b"/f", b"//" + base + b"//f", b"/" + base + b"/new"):
            for follow in (True, False):
                found = await files.resolve(path, follow=follow)
                assert found.path == base + (b"/new" if path.endswith(b"new") else b"/f")

    async def test_a_writer_reads_what_it_wrote(self, files: ContainerFiles, base: bytes) -> None:
        """At once, anywhere, before the file is in its place and where it is changed in place."""
        path = posixpath.join(base, b"f")
        for mode in (WriteMode(), WriteMode(truncate=False), WriteMode()):
            writer = await files.open_write(await files.resolve(path), mode)
            await writer.change(AttributeChanges(size=0))
            await writer.write(0, b"abcdef")
            assert [await writer.read(0, 100), await writer.read(2, 2), await writer.read(6, 1)] == [b"abcdef", b"cd", b""]
            await writer.write(4, b"EFG")
            assert await writer.read(3, 100) == b"dEFG"
            await writer.change(AttributeChanges(size=2))
            assert await writer.read(0, 100) == b"ab"
            await writer.write(2, bytes(300_000))
            assert (await writer.read(299_990, 100), (await writer.close()).complete) == (bytes(12), True)
        assert len((await download(files, path))[0]) == 300_002

    async def test_nothing_is_read_far_beyond_the_end(self, files: ContainerFiles, base: bytes) -> None:
        """Whatever offset a client may name."""
        path = posixpath.join(base, b"f")
        await upload(files, path, b"a")
        for offset in (2**31, 2**63 - 1, 2**63, 2**64 - 1):
            reader = await files.open_read(await files.resolve(path))
            with contextlib.suppress(FileFailure):
                assert await reader.read(offset, 100) == b""
            assert await reader.read(0, 100) == b"a"
            await reader.close()

    async def test_a_new_file_appears_whole_or_not_at_all(self, files: ContainerFiles, base: bytes) -> None:
        """Until it is closed nobody but its writer sees it; aborted it was never there, and what it was to replace still is."""
        path = posixpath.join(base, b"f")
        for size in (10, 700_000):
            writer = await files.open_write(await files.resolve(path), WriteMode())
            await writer.write(0, bytes(size))
            assert await names(files, base) == []
            place = await files.resolve(path)
            assert place.attributes is not None
            assert place.attributes.size == size
            assert not (await writer.abort()).complete
            assert (await files.resolve(path)).attributes is None
        await upload(files, path, b"old")
        writer = await files.open_write(await files.resolve(path), WriteMode())
        await writer.write(0, bytes(700_000))
        assert (await download(files, path))[0] == b"old"
        await writer.abort()
        assert ((await download(files, path))[0], await names(files, base)) == (b"old", [b"f"])

    async def test_the_flags_mean_what_they_mean_to_open(self, files: ContainerFiles, base: bytes) -> None:
        """Exclusive, without create, resumed, appended."""
        path = posixpath.join(base, b"f")
        with pytest.raises(NoSuchFile):
            await files.open_write(await files.resolve(path), WriteMode(create=False, truncate=False))
        await upload(files, path, b"0123456789", WriteMode(exclusive=True))
        with pytest.raises(FileExists):
            await upload(files, path, b"x", WriteMode(exclusive=True))
        writer = await files.open_write(await files.resolve(path), WriteMode(truncate=False))
        await writer.write(8, b"abcd")
        assert (await writer.stat()).size == 12
        await writer.close()
        assert (await download(files, path))[0] == b"01234567abcd"
        writer = await files.open_write(await files.resolve(path), WriteMode(truncate=False, append=True))
        await writer.write(0, b"!")
        await writer.write(0, b"?")
        await writer.close()
        assert (await download(files, path))[0] == b"01234567abcd!?"
        with pytest.raises(FileFailure):
            await writer.write(0, b"late")

    async def test_mode_and_times_are_kept(self, files: ContainerFiles, base: bytes) -> None:
        """As given at opening, while open, and afterwards; a replaced file keeps its mode."""
        path = posixpath.join(base, b"f")
        await upload(files, path, b"x", WriteMode(mode=0o777))
        assert (await attributes(files, path)).mode & 0o7777 == 0o755
        writer = await files.open_write(await files.resolve(path), WriteMode(mode=0o600))
        await writer.change(AttributeChanges(atime=1_000_000_000, mtime=1_100_000_000))
        await writer.write(0, b"y")
        await writer.close()
        found = await attributes(files, path)
        assert (found.mode & 0o7777, found.mtime) == (0o755, 1_100_000_000)
        await files.change(await files.resolve(path), AttributeChanges(mode=0o400, atime=5, mtime=7))
        found = await attributes(files, path)
        assert (found.mode & 0o7777, found.mtime) == (0o400, 7)
        await files.change(await files.resolve(base), AttributeChanges(mode=0o700))
        assert (await attributes(files, base)).mode == 0o040700

    async def test_a_size_is_set(self, files: ContainerFiles, base: bytes) -> None:
        """Shorter, longer (zeros), and while it is being written."""
        path = posixpath.join(base, b"f")
        await upload(files, path, b"0123456789")
        for size, content in [(4, b"0123"), (6, b"0123\0\0"), (0, b"")]:
            await files.change(await files.resolve(path), AttributeChanges(size=size))
            assert (await download(files, path))[0] == content
        writer = await files.open_write(await files.resolve(path), WriteMode())
        await writer.write(0, b"abcdef")
        await writer.change(AttributeChanges(size=3))
        await writer.close()
        assert (await download(files, path))[0] == b"abc"

    async def test_files_are_renamed_linked_and_removed(self, files: ContainerFiles, base: bytes) -> None:
        """A taken name is refused unless it is to be replaced; a directory is no file."""
        a, b, d = (posixpath.join(base, name) for name in (b"a", b"b", b"d"))
        await upload(files, a, b"a")
        await upload(files, b, b"b")
        await make_directory(files, d)
        with pytest.raises(FileExists):
            await files.rename(await files.resolve(a), await files.resolve(b), replace=False)
        await files.rename(await files.resolve(a), await files.resolve(b), replace=True)
        await files.rename(await files.resolve(b), await files.resolve(d + b"/c"), replace=False)
        assert (await names(files, base), (await download(files, d + b"/c"))[0]) == ([b"d"], b"a")
        await files.link(await files.resolve(d + b"/c"), await files.resolve(a))
        assert (await download(files, a))[0] == b"a"
        with pytest.raises(FileExists):
            await files.link(await files.resolve(d + b"/c"), await files.resolve(a))
        for taken in (a, d):
            with pytest.raises(FileExists):
                await make_directory(files, taken)
            with pytest.raises(FileExists):
                await symlink(files, b"x", taken)
        with pytest.raises(IsADirectory):
            await files.remove(await files.resolve(d))
        await files.remove(await files.resolve(a))
        await symlink(files, d, a)
        await files.remove(await files.resolve(a, follow=False))
        assert (await names(files, base), await names(files, d)) == ([b"d"], [b"c"])

    async def test_what_takes_a_links_place_goes_nowhere_else(self, files: ContainerFiles, base: bytes) -> None:
        """A link is replaced itself, though it leads to a directory, and so is what becomes of its own name: that stays."""
        a, d, e, door = (posixpath.join(base, name) for name in (b"a", b"d", b"e", b"door"))
        await upload(files, a, b"a")
        await make_directory(files, d)
        await symlink(files, d, door)
        await files.rename(await files.resolve(a), await files.resolve(door, follow=False), replace=True)
        assert (await names(files, d), (await download(files, door))[0]) == ([], b"a")
        assert not (await attributes(files, door, follow=False)).symlink
        await symlink(files, d, a)
        await files.rename(await files.resolve(a, follow=False), await files.resolve(door, follow=False), replace=True)
        assert ((await attributes(files, door, follow=False)).symlink, await names(files, base)) == (True, [b"d", b"door"])
        if files.has_shell:
            await make_directory(files, e)
            for path in (e, door):
                place = await files.resolve(path, follow=False)
                await files.rename(place, place, replace=True)
            assert await names(files, base) == [b"d", b"door", b"e"]
            with pytest.raises(FileFailure):
                await files.rename(await files.resolve(e), await files.resolve(door, follow=False), replace=True)
            assert (await names(files, d), (await attributes(files, door, follow=False)).symlink) == ([], True)

    async def test_directories_are_renamed_and_removed(self, files: ContainerFiles, base: bytes) -> None:
        """Only empty ones; without a shell a clear word instead."""
        d, e = posixpath.join(base, b"d"), posixpath.join(base, b"e")
        await make_directory(files, d)
        await upload(files, d + b"/f", b"")
        if not files.has_shell:
            for work in (
                files.remove_directory(await files.resolve(d)),
                files.rename(await files.resolve(d), await files.resolve(e), replace=False),
            ):
                with pytest.raises(FileUnsupported, match="shell"):
                    await work
            return
        with pytest.raises(DirectoryNotEmpty):
            await files.remove_directory(await files.resolve(d))
        await files.rename(await files.resolve(d), await files.resolve(e), replace=False)
        assert await names(files, e) == [b"f"]
        await files.remove(await files.resolve(e + b"/f"))
        await upload(files, d, b"")
        with pytest.raises(NotADirectory):
            await files.remove_directory(await files.resolve(d))
        await files.remove_directory(await files.resolve(e))
        assert await names(files, base) == [b"d"]

    async def test_a_list_tells_what_stat_tells(self, files: ContainerFiles, base: bytes) -> None:
        """Files, directories and links, each as itself."""
        await upload(files, posixpath.join(base, b"f"), b"12345")
        await make_directory(files, posixpath.join(base, b"d"))
        await upload(files, posixpath.join(base, b"d/hidden"), b"x" * 100_000)
        await symlink(files, b"f", posixpath.join(base, b"l"))
        found = [one async for batch in files.entries(await files.resolve(base)) for one in batch]
        for one in found:
            there = await attributes(files, posixpath.join(base, one.name), follow=False)
            assert same(one.attributes, there)
        assert sorted(one.name for one in found) == [b"d", b"f", b"l"]


def same(one: FileAttributes, other: FileAttributes) -> bool:
    """Whether two stats agree in all that a tar holds, too (no size of directories)."""
    figures: Iterable[tuple[int, ...]] = ((a.mode, a.uid, a.gid, a.mtime, 0 if a.directory else a.size) for a in (one, other))
    return len(set(figures)) == 1
