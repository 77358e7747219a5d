"""Who is accepted by which method, and that refusals cannot be told apart."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from octopus.core.errors import AuthenticationFailed, DirectoryUnavailable
from octopus.core.types import Identity
from octopus.identity.authenticator import Authenticator
from octopus.identity.limits import FailureLimits
from octopus.identity.unsettled import PasswordUnsettled
from tests.fake_directory import FakeClock, FakeDirectory, FakePerson

HOME = "192.0.2.1"


class GatedDirectory(FakeDirectory):
    """A directory that answers passwords only once the gate is open; ``failure`` is raised instead of an answer."""

    def __init__(self) -> None:
        super().__init__(
            {
                "alice": FakePerson("alice-secret", frozenset({"dev"}), frozenset({"SHA256:alice"})),
                "carol": FakePerson("carol-secret", fingerprints=frozenset({"SHA256:shared"})),
                "dave": FakePerson("dave-secret", fingerprints=frozenset({"SHA256:shared"})),
                "mallory": FakePerson("mallory-secret", fingerprints=frozenset({"SHA256:mallory"}), disabled=True),
            }
        )
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()
        self.failure: Exception | None = None

    async def check_password(self, login: str, password: str) -> Identity:
        """See ``Directory``."""
        self.reached.set()
        await self.gate.wait()
        if self.failure is not None:
            self.asked += 1
            raise self.failure
        return await super().check_password(login, password)


class Scene:
    """An authenticator over a gated directory, on a clock of its own."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.directory = GatedDirectory()
        self.limits = FailureLimits()
        self.authenticator = Authenticator(self.directory, self.limits, clock=self.clock, sleep=self.clock.sleep, **options)

    async def password(self, login: str, password: str, address: str = HOME, method: str = "password") -> Identity:
        """Try a password."""
        return await self.authenticator.authenticate(method=method, login=login, password=password, address=address)

    async def refused(self, **attempt: Any) -> tuple[str, float]:
        """Return what the person hears of an attempt that fails, and how long it took."""
        began = self.clock.now
        with pytest.raises(AuthenticationFailed) as refusal:
            await self.authenticator.authenticate(address=HOME, **attempt)
        return refusal.value.notice, self.clock.now - began


@pytest.fixture
async def scene() -> Scene:
    """A scene with the usual settings."""
    return Scene()


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_password_proves_a_person_and_the_method_is_told(scene: Scene, method: str) -> None:
    """Both ways to send a password lead to the same identity but for the method."""
    assert await scene.password("alice", "alice-secret", method=method) == Identity(login="alice", groups=frozenset({"dev"}), method=method)


async def test_a_key_proves_its_one_owner_with_or_without_a_login(scene: Scene) -> None:
    """``task@`` finds the owner, ``login+task@`` must be the owner."""
    for login in ("", "alice", "ALICE"):
        identity = await scene.authenticator.authenticate(method="publickey", login=login, fingerprint="SHA256:alice", address=HOME)
        assert identity == Identity(login="alice", groups=frozenset({"dev"}), method="publickey")


async def test_a_key_of_two_people_needs_the_login(scene: Scene) -> None:
    """What is ambiguous is refused until the person says who they are."""
    await scene.refused(method="publickey", fingerprint="SHA256:shared")
    identity = await scene.authenticator.authenticate(method="publickey", login="dave", fingerprint="SHA256:shared", address=HOME)
    assert identity.login == "dave"


async def test_a_certificate_proves_one_of_its_principals(scene: Scene) -> None:
    """One principal is the login; of several one must be said."""
    for login, principals in (("", ("alice",)), ("alice", ("alice",)), ("carol", ("alice", "carol"))):
        identity = await scene.authenticator.authenticate(method="certificate", login=login, principals=principals, address=HOME)
        assert identity.login == (login or "alice")
        assert identity.method == "certificate"


@pytest.mark.parametrize(
    "attempt",
    [
        {"method": "publickey", "fingerprint": "SHA256:nobody"},
        {"method": "publickey", "fingerprint": ""},
        {"method": "publickey", "fingerprint": "SHA256:alice", "login": "carol"},
        {"method": "publickey", "fingerprint": "SHA256:mallory"},
        {"method": "publickey", "fingerprint": "SHA256:shared"},
        {"method": "certificate", "principals": ()},
        {"method": "certificate", "principals": ("alice", "carol")},
        {"method": "certificate", "principals": ("alice",), "login": "carol"},
        {"method": "certificate", "principals": (), "login": "alice"},
        {"method": "certificate", "principals": ("",)},
        {"method": "certificate", "principals": ("mallory",)},
        {"method": "certificate", "principals": ("nobody",)},
        {"method": "none"},
        {"method": ""},
    ],
)
async def test_every_refused_proof_sounds_and_takes_the_same(scene: Scene, attempt: dict[str, Any]) -> None:
    """Unknown, shared, foreign and switched off cannot be told apart by words or time."""
    assert await scene.refused(**attempt) == (AuthenticationFailed.default_notice, 0.25)


async def test_every_refused_password_sounds_and_takes_the_same(scene: Scene) -> None:
    """Wrong, unknown, empty, disabled and limited cannot be told apart by words or time."""
    attempts = [("alice", "wrong"), ("nobody", "x"), ("", "x"), ("alice", ""), ("mallory", "mallory-secret"), *[("bob", "x")] * 7]
    refusals = [await scene.refused(method="password", login=login, password=password) for login, password in attempts]
    assert set(refusals) == {(AuthenticationFailed.default_notice, 2.0)}


async def test_a_directory_slower_than_the_refusal_time_is_rounded_up(scene: Scene) -> None:
    """A slow answer shows as a whole number of steps only."""

    class Slow(FakeDirectory):
        async def check_password(self, login: str, password: str) -> Identity:
            await scene.clock.sleep(2.7)
            return await super().check_password(login, password)

    authenticator = Authenticator(Slow({}), scene.limits, clock=scene.clock, sleep=scene.clock.sleep)
    began = scene.clock.now
    with pytest.raises(AuthenticationFailed):
        await authenticator.authenticate(method="password", login="alice", password="x", address=HOME)
    assert scene.clock.now - began == pytest.approx(4.0)


async def test_the_operator_is_told_the_reason_and_never_the_password(scene: Scene) -> None:
    """The error's text and its cause are for the log, the notice for the person."""
    with pytest.raises(AuthenticationFailed) as refusal:
        await scene.password("alice", "not-hers-at-all")
    assert "alice" in str(refusal.value)
    assert "not-hers-at-all" not in str(refusal.value)
    assert isinstance(refusal.value.__cause__, AuthenticationFailed)


async def test_the_directory_is_not_asked_beyond_the_limit(scene: Scene) -> None:
    """After five failures neither a wrong nor the right password reaches the directory, until the window is over."""
    for n in range(5):
        await scene.refused(method="password", login="alice", password=f"guess{n}")
    await scene.refused(method="password", login="alice", password="guess6")
    await scene.refused(method="keyboard-interactive", login="ALICE", password="alice-secret")
    assert scene.directory.asked == 5
    scene.clock.now += 600
    assert (await scene.password("alice", "alice-secret")).login == "alice"


async def test_a_key_still_lets_in_whose_password_is_limited(scene: Scene) -> None:
    """Somebody else's guesses do not shut out a person with a key."""
    for n in range(5):
        await scene.refused(method="password", login="alice", password=f"guess{n}")
    identity = await scene.authenticator.authenticate(method="publickey", fingerprint="SHA256:alice", address=HOME)
    assert identity.login == "alice"


async def test_a_hundred_parallel_guesses_reach_the_directory_five_times(scene: Scene) -> None:
    """Guesses in flight count, from wherever they come."""
    scene.directory.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        guesses = [tasks.create_task(_outcome(scene.password("alice", f"guess{n}", f"2001:db8:{n:x}::1"))) for n in range(100)]
        await scene.directory.reached.wait()
        scene.directory.gate.set()
    assert {guess.result() for guess in guesses} == {AuthenticationFailed}
    assert scene.directory.asked == 5


async def test_many_right_passwords_at_once_all_get_in(scene: Scene) -> None:
    """Who must wait for others from the same address is let in after them, not refused."""
    scene.directory.people |= {f"user{n}": FakePerson("secret") for n in range(60)}
    scene.directory.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        logins = [tasks.create_task(_outcome(scene.password(f"user{n}", "secret"))) for n in range(60)]
        await scene.directory.reached.wait()
        scene.directory.gate.set()
    assert {login.result() for login in logins} == {Identity}


async def test_who_waits_too_long_for_others_is_refused() -> None:
    """Waiting for attempts in flight has an end."""
    scene = Scene(queue_time=0.01)
    scene.limits = FailureLimits(failures_per_login=1)
    scene.authenticator = Authenticator(scene.directory, scene.limits, queue_time=0.01, clock=scene.clock, sleep=scene.clock.sleep)
    scene.directory.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(_outcome(scene.password("alice", "alice-secret")))
        await scene.directory.reached.wait()
        assert await _outcome(scene.password("alice", "guess")) is AuthenticationFailed
        scene.directory.gate.set()
    assert first.result() is Identity


async def test_equal_attempts_at_once_ask_the_directory_once(scene: Scene) -> None:
    """An editor's five connections are one bind, right or wrong."""
    for login, password in (("alice", "alice-secret"), ("alice", "wrong")):
        scene.directory.asked = 0
        scene.directory.gate.clear()
        scene.directory.reached.clear()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(_outcome(scene.password(login, password)))
            await scene.directory.reached.wait()
            scene.directory.gate.set()
        assert scene.directory.asked == 1


async def test_a_success_is_remembered_for_seconds_and_dropped_on_a_failure(scene: Scene) -> None:
    """The same password right after asks nobody; a wrong one, or time, ends that."""
    await scene.password("alice", "alice-secret")
    scene.clock.now += 9
    again = await scene.password("Alice", "alice-secret", "198.51.100.7", "keyboard-interactive")
    assert (again.login, again.method, scene.directory.asked) == ("alice", "keyboard-interactive", 1)
    await scene.refused(method="password", login="alice", password="wrong")
    await scene.password("alice", "alice-secret")
    assert scene.directory.asked == 3
    scene.clock.now += 11
    await scene.password("alice", "alice-secret")
    assert scene.directory.asked == 4


async def test_a_directory_that_is_down_is_said_and_uses_up_no_attempts(scene: Scene) -> None:
    """Unavailable is not refused: the person hears it and may try again."""
    scene.directory.available = False
    for _ in range(10):
        with pytest.raises(DirectoryUnavailable):
            await scene.password("alice", "alice-secret")
    for attempt in ({"method": "publickey", "fingerprint": "SHA256:alice"}, {"method": "certificate", "principals": ("alice",)}):
        with pytest.raises(DirectoryUnavailable):
            await scene.authenticator.authenticate(address=HOME, **attempt)
    scene.directory.available = True
    assert (await scene.password("alice", "alice-secret")).login == "alice"


async def test_a_password_the_directory_took_without_an_answer_counts(scene: Scene) -> None:
    """The directory may have counted it, so it counts here: a slow directory cannot be made to lock an account."""
    scene.directory.failure = PasswordUnsettled("no answer")
    for n in range(8):
        with pytest.raises((DirectoryUnavailable, AuthenticationFailed)):
            await scene.password("alice", f"guess{n}")
    assert scene.directory.asked == 5


async def test_hanging_up_on_a_guess_does_not_undo_it(scene: Scene) -> None:
    """A client that leaves before the answer has used up an attempt: the guess may be at the directory already."""
    scene.directory.gate.clear()
    for n in range(8):
        scene.directory.reached.clear()
        guess = asyncio.create_task(_outcome(scene.password("alice", f"guess{n}")))
        reached = asyncio.create_task(scene.directory.reached.wait())
        await asyncio.wait([guess, reached], return_when=asyncio.FIRST_COMPLETED)
        guess.cancel()
        reached.cancel()
        await asyncio.wait([guess, reached])
    scene.directory.gate.set()
    await scene.refused(method="password", login="alice", password="alice-secret")
    assert scene.directory.asked == 0


async def _outcome(attempt: Any) -> type:
    try:
        return type(await attempt)
    except (AuthenticationFailed, DirectoryUnavailable) as error:
        return type(error)
