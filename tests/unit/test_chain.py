"""The form of a line in the chain, and the names of finished files."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from octopus.core.chain import CURRENT, Link, first_seq, is_whole, rotated_name, seal, signed_part

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def test_a_line_is_sealed_as_documented() -> None:
    """Number and hash before in front, the SHA-256 of all bytes before it at the end."""
    line, link = seal(Link(), b'{"event":"exec"}')
    body = b'{"seq":1,"prev":"' + b"0" * 64 + b'","event":"exec"'
    digest = hashlib.sha256(body).hexdigest()
    assert line == body + b',"hash":"' + digest.encode() + b'"}\n'
    assert link == Link(seq=1, hash=digest)


def test_each_line_follows_on_the_one_before() -> None:
    """By its hash."""
    _, first = seal(Link(), b'{"a":1}')
    line, second = seal(first, b'{"a":1}')
    assert (json.loads(line)["seq"], json.loads(line)["prev"], second.seq) == (2, first.hash, 2)


def test_a_signature_covers_all_before_it() -> None:
    """It stands in base64 right before the hash."""
    line, _ = seal(Link(), b'{"a":1}', lambda message: hashlib.sha512(message).digest())
    message, signature = signed_part(line)
    assert json.loads(line)["signature"] == signature.decode()
    assert line.startswith(message + b',"signature":"' + signature + b'","hash":"')
    assert len(signature) == 88
    assert is_whole(line)


def test_most_lines_have_no_signature() -> None:
    """And nothing is taken for one."""
    assert signed_part(seal(Link(), b'{"a":1}')[0]) == (b"", b"")


@given(st.dictionaries(st.text(), JSON, min_size=1))
def test_what_a_line_holds_comes_back(fields: dict[str, object]) -> None:
    """Whatever floats, characters or names it holds: the bytes are hashed, not a way of writing them."""
    fields = {name: value for name, value in fields.items() if name not in ("seq", "prev", "hash")} or {"a": 1}
    line, link = seal(Link(seq=6, hash="f" * 64), json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    assert is_whole(line)
    assert json.loads(line.decode("utf-8", "surrogatepass")) == {"seq": 7, "prev": "f" * 64, **fields, "hash": link.hash}


@given(st.binary(max_size=300))
def test_no_garbage_is_whole(garbage: bytes) -> None:
    """Short or long."""
    assert not is_whole(garbage)


def test_finished_files_are_named_by_time_and_number() -> None:
    """And only they have a number."""
    name = rotated_name(1_700_000_000.9, 184)
    assert name == "audit-20231114-221320-000000000184.jsonl"
    assert first_seq(name) == 184
    assert [first_seq(other) for other in (CURRENT, "audit.head", "audit-1-2-3.jsonl", name + "x")] == [0, 0, 0, 0]
