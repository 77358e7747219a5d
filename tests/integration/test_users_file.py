"""The users file on disk: its mode, and what happens when it changes while people log in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from octopus.core.errors import AuthenticationFailed, ConfigError
from octopus.identity.passwords import hash_password
from octopus.identity.users_file import UsersFile

ALICE = f'[users.alice]\npassword = "{hash_password("alice-secret", ln=14)}"\n'
BOB = f'[users.bob]\npassword = "{hash_password("bob-secret", ln=14)}"\ngroups = ["dev"]\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A users file with alice."""
    path = tmp_path / "users.toml"
    path.touch(0o600)
    path.write_text(ALICE)
    return path


@pytest.fixture
async def open_file(path: Path) -> AsyncIterator[Callable[[], UsersFile]]:
    """A way to open it."""
    async with AsyncExitStack() as stack:

        def make() -> UsersFile:
            users = UsersFile(path)
            stack.push_async_callback(users.aclose)
            return users

        yield make


def _replace(path: Path, text: str, mode: int = 0o600) -> None:
    """Put another file in its place at once, as editors and deployments do."""
    other = path.with_suffix(".new")
    other.touch()
    other.chmod(mode)
    other.write_text(text)
    other.replace(path)


def _overwrite(path: Path, text: str) -> None:
    """Write into the file as it is."""
    path.write_text(text)


def _damage(path: Path, how: str) -> None:
    """Make the file unusable."""
    if how == "text":
        _replace(path, BOB + "oops")
    elif how == "mode":
        _replace(path, BOB, 0o666)
    elif how == "bytes":
        path.write_bytes(b"\xff\xfe")
    else:
        path.unlink()
        if how == "directory":
            path.mkdir()


def _mend(path: Path) -> None:
    """Put a good file in its place."""
    if path.is_dir():
        path.rmdir()
    _replace(path, BOB)


@pytest.mark.parametrize("replaced", [True, False])
async def test_a_change_is_seen_at_the_next_login(path: Path, open_file: Callable[[], UsersFile], replaced: bool) -> None:
    """Who is added comes in, who is taken out does not, without a restart."""
    users = open_file()
    await users.check_password("alice", "alice-secret")
    if replaced:
        _replace(path, BOB)
    else:
        _overwrite(path, BOB)
    assert (await users.check_password("bob", "bob-secret")).groups == {"dev"}
    with pytest.raises(AuthenticationFailed):
        await users.look_up("alice", "publickey")


@pytest.mark.parametrize("damage", ["text", "mode", "gone", "directory", "bytes"])
async def test_a_change_for_the_worse_keeps_what_was_and_is_reported(path: Path, open_file: Callable[[], UsersFile], damage: str) -> None:
    """A slip of the editor locks nobody out, and the next good content is taken."""
    users = open_file()
    _damage(path, damage)
    assert (await users.check_password("alice", "alice-secret")).login == "alice"
    faults = await users.probe()
    assert len(faults) == 1
    assert faults[0].startswith(str(path))
    _mend(path)
    assert (await users.check_password("bob", "bob-secret")).login == "bob"
    assert await users.probe() == []


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o666, 0o777])
def test_a_file_that_others_may_read_or_write_is_a_fault(path: Path, mode: int) -> None:
    """Hashes are secrets, and whoever may write the file may be anybody."""
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 640"):
        UsersFile(path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400, 0o440])
def test_a_file_that_a_group_may_read_is_sound(path: Path, mode: int, open_file: Callable[[], UsersFile]) -> None:
    """A service's own group reads what root owns."""
    path.chmod(mode)
    open_file()


def test_at_the_start_the_file_must_be_there_and_whole(path: Path) -> None:
    """No directory, no gateway: a missing or broken file, or a pipe, stops the start with its name."""
    path.write_text("oops")
    with pytest.raises(ConfigError, match=str(path)):
        UsersFile(path)
    path.unlink()
    with pytest.raises(ConfigError, match=str(path)):
        UsersFile(path)
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        UsersFile(path)


async def test_without_a_password_in_the_file_none_is_right(path: Path, open_file: Callable[[], UsersFile]) -> None:
    """Somebody who has only keys cannot be guessed."""
    _overwrite(path, "[users.alice]\ngroups = ['dev']")
    users = open_file()
    with pytest.raises(AuthenticationFailed):
        await users.check_password("alice", "alice-secret")
    assert (await users.look_up("alice", "publickey")).groups == {"dev"}
