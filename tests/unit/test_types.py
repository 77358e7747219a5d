"""What the values themselves hold to."""

from __future__ import annotations

import pytest

from octopus.core.types import TERMINAL_EVENTS, AuditEvent, Connection, Identity, TermSize, terminal_key


def test_nobody_has_no_identity() -> None:
    """An empty login is refused where it would become a person."""
    with pytest.raises(ValueError, match="login"):
        Identity(login="", method="password")
    assert Identity(login="alice", method="password").groups == frozenset()


@pytest.mark.parametrize(
    ("cols", "rows", "size"),
    [
        (132, 43, TermSize(cols=132, rows=43)),
        (0, 0, TermSize(cols=80, rows=24)),
        (-1, 1, TermSize(cols=80, rows=1)),
        (1001, 4_294_967_295, TermSize(cols=1000, rows=1000)),
    ],
)
def test_a_terminal_has_a_size_one_can_draw(cols: int, rows: int, size: TermSize) -> None:
    """Unknown and absurd sizes come within bounds."""
    assert TermSize.clamped(cols=cols, rows=rows) == size


@pytest.mark.parametrize(("client", "address"), [("192.0.2.7:50022", "192.0.2.7"), ("[2001:db8::1]:50022", "2001:db8::1")])
def test_a_client_is_counted_by_its_address(client: str, address: str) -> None:
    """The port goes, and the brackets of IPv6."""
    assert Connection(id="c-1", client=client).address == address


@pytest.mark.parametrize("name", sorted(TERMINAL_EVENTS))
def test_a_session_ends_once_whoever_writes_it(name: str) -> None:
    """Terminal events of one session share a key, whatever key they were given."""
    event = AuditEvent(event=name, key="worker-3/7", session="s-1f3c")
    assert event.is_terminal
    assert event.once == terminal_key("s-1f3c") == "s-1f3c/end"


@pytest.mark.parametrize("event", [AuditEvent(event="exec", key="k", session="s-1"), AuditEvent(event="session.ended", key="k")])
def test_other_events_keep_their_own_key(event: AuditEvent) -> None:
    """So does one that belongs to no session."""
    assert not event.is_terminal
    assert event.once == "k"
