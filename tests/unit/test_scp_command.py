"""scp's own commands are recognised by their words; all else is a command like any other."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.session.scp_command import ScpCommand, read


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("scp -f a", ScpCommand(receive=False, paths=(b"a",))),
        ("scp -t .", ScpCommand(receive=True, paths=(b".",))),
        ("scp -r -p -d -t '/a b'", ScpCommand(receive=True, paths=(b"/a b",), recursive=True, preserve=True, directory=True)),
        ("scp -v -rp -f -- -x", ScpCommand(receive=False, paths=(b"-x",), recursive=True, preserve=True)),
        ("scp -f a 'b c' *.log", ScpCommand(receive=False, paths=(b"a", b"b c", b"*.log"))),
        ("scp -t ~/x", ScpCommand(receive=True, paths=(b"x",))),
        ("scp -t ~", ScpCommand(receive=True, paths=(b".",))),
        ("/usr/bin/scp -t ünï", ScpCommand(receive=True, paths=("ünï".encode(),))),
        ("scp -f 'a;b'", ScpCommand(receive=False, paths=(b"a;b",))),
        ("scp -f ')' '&&' \"|\" \\;", ScpCommand(receive=False, paths=(b")", b"&&", b"|", b";"))),
    ],
)
def test_what_scp_asks(command: str, expected: ScpCommand) -> None:
    """As OpenSSH's and PuTTY's clients send it."""
    assert read(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        *("", "scp", "scp -t", "scp -f -t a", "scp a b", "scp -t a b", "scp -x -f a", "scpx -f a", "sudo scp -t a", "scp\t-t a"),
        *("scp -t a; id", "scp -t a && id", "scp -f a | cat", "scp -t a > b", "scp -t $(id)", "scp -t `id`", "scp -t a\nid", "scp -t 'a"),
        *("scp -t 'a';id", "scp -t a&", 'scp -t "a"|cat', "(scp -t a)"),
        *("rsync --server . .", "echo scp -t a"),
    ],
)
def test_what_is_a_command_like_any_other(command: str) -> None:
    """Whatever a shell would do more than start scp is for a shell."""
    assert read(command) is None


@given(
    st.text(min_size=1).filter(
        lambda path: (
            not path.startswith(("-", "~")) and not set("\n`\0") & set(path) and "$(" not in path and not set(path) <= set("();<>|&")
        )
    )
)
def test_quoted_paths_come_as_they_are(path: str) -> None:
    """Every name quoted for a shell is read back."""
    found = read(f"scp -f {shlex.quote(path)}")
    assert found == ScpCommand(receive=False, paths=(path.encode("utf-8", "surrogateescape"),))
