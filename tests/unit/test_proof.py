"""Whatever is done to a trail is found, and told by file and line; a sound one is left alone."""

from __future__ import annotations

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octopus.core.chain import CURRENT, HEAD, PRUNED, REPAIRED, Link, seal
from octopus.core.proof import Fault, Kind, Proof
from tests.chain_parts import Tamper, alter, alter_and_rehash, delete, faults, insert, line, rehashed, sound, swap, truncate
from tests.stranger import prove_lines

PLACES = 850
"""Of each kind, in one file and in several: more than ten thousand in all."""


def told(found: list[Fault]) -> list[tuple[Kind, int]]:
    """Return what is wrong where."""
    return [(fault.kind, fault.line) for fault in found]


def sign(message: bytes) -> bytes:
    """Return what stands for a signature."""
    return b"%64d" % len(message)


def check(signed_by: str, message: bytes, signature: bytes) -> bool | None:
    """Tell whether ``sign`` made it."""
    return None if signed_by != "k" else base64.b64decode(signature) == sign(message)


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize("tamper", [alter, alter_and_rehash, delete, insert, swap, truncate])
def test_tampering_is_caught_at_ten_thousand_places(tamper: Tamper, files: int) -> None:
    """Always, wherever it happened, and in whatever file; by a stranger's verifier too."""
    lines = sound(20, every=6)
    chance = random.Random(f"{tamper.__name__}/{files}")
    done = caught = caught_by_stranger = 0
    while done < PLACES:
        tampered = tamper(lines, chance)
        if tampered == lines:
            continue
        done += 1
        caught += bool(faults(tampered, lines[-1], files=files))
        try:
            prove_lines(tampered, lines[-1])
        except ValueError:
            caught_by_stranger += 1
    assert (caught, caught_by_stranger) == (PLACES, PLACES)


@given(st.integers(0, 60), st.integers(1, 9), st.integers(1, 5))
def test_a_sound_trail_has_no_faults(count: int, every: int, files: int) -> None:
    """However long, however many checkpoints and files it has."""
    lines = sound(count, every=every)
    assert faults(lines, lines[-1] if lines else None, files=files) == []


@given(st.lists(st.binary(max_size=200), max_size=5), st.binary(max_size=200) | st.none())
def test_garbage_is_no_trail_and_no_crash(lines: list[bytes], head: bytes | None) -> None:
    """Each line of it is a fault."""
    assert len([fault for fault in faults(lines, head) if fault.kind is Kind.ALTERED and fault.file == CURRENT]) == len(lines)


def test_an_altered_line_is_named() -> None:
    """By its own number, and no other line is blamed."""
    lines = sound(9)
    lines[3] = lines[3].replace(b"echo 4", b"echo 5")
    assert told(faults(lines, lines[-1])) == [(Kind.ALTERED, 4)]


def test_a_line_altered_with_its_hash_is_named() -> None:
    """The one after it tells that it was another."""
    lines = sound(9)
    lines[3] = rehashed(lines[3], lambda body: body.replace(b"echo 4", b"echo 5"))
    assert told(faults(lines, lines[-1])) == [(Kind.ALTERED, 4)]


def test_garbage_instead_of_a_line_or_between_two_is_named() -> None:
    """Nothing else is blamed in either case."""
    lines = sound(9)
    assert told(faults([*lines[:3], b"garbage\n", *lines[3:]], lines[-1])) == [(Kind.ALTERED, 4)]
    assert told(faults([*lines[:3], b"garbage\n", *lines[4:]], lines[-1])) == [(Kind.ALTERED, 4)]


def test_missing_lines_are_named() -> None:
    """By their numbers, at the line that follows on them."""
    lines = sound(9)
    [one] = faults([*lines[:3], *lines[4:]], lines[-1])
    [many] = faults(lines[3:], lines[-1])
    assert (one.kind, one.line, one.text) == (Kind.MISSING, 4, "line 4 of the trail should stand before this one")
    assert (many.kind, many.line, many.text) == (Kind.MISSING, 1, "lines 1 to 3 of the trail should stand before this one")


def test_a_missing_file_is_named() -> None:
    """At the first line of the file after it."""
    lines = sound(9)
    proof = Proof(head=lines[-1])
    list(proof.walk("one", lines[:3]))
    list(proof.walk("three", lines[6:]))
    [fault] = proof.finish()
    assert (fault.kind, fault.file, fault.line) == (Kind.MISSING, "three", 1)


def test_inserted_lines_are_named() -> None:
    """One that repeats a number, whole in itself."""
    lines = sound(9)
    assert told(faults([*lines[:5], lines[2], *lines[5:]], lines[-1])) == [(Kind.INSERTED, 6)]


def test_swapped_lines_are_named() -> None:
    """Neighbours and others; nothing is said to be missing."""
    lines = sound(9)
    assert told(faults([*lines[:3], lines[4], lines[3], *lines[5:]], lines[-1])) == [(Kind.SWAPPED, 5)]
    moved = [*lines[:1], lines[4], *lines[2:4], lines[1], *lines[5:]]
    assert told(faults(moved, lines[-1])) == [(Kind.SWAPPED, 3), (Kind.SWAPPED, 4), (Kind.SWAPPED, 5)]


def test_a_trail_cut_off_is_told_by_its_last_checkpoint() -> None:
    """Even by one whole line."""
    lines = sound(9)
    [fault] = faults(lines[:-1], lines[-1])
    assert (fault.kind, fault.line) == (Kind.TRUNCATED, 8)
    [nothing] = faults([], lines[-1])
    assert nothing.kind is Kind.TRUNCATED


def test_lines_after_the_last_checkpoint_are_noted() -> None:
    """They are sound, but more may have followed."""
    lines = sound(25)
    proof = Proof(head=lines[19])
    list(proof.walk(CURRENT, lines[:23]))
    assert proof.finish() == []
    assert proof.notes == ["3 lines follow the last checkpoint: nothing proves yet that there were no more"]


def test_the_last_checkpoint_has_to_be_kept() -> None:
    """Without it nobody sees that a trail was cut; the first is written before it is kept."""
    lines = sound(20)
    assert told(faults(lines, None)) == [(Kind.MISSING, 0)]
    assert faults(lines[:10], None) == []


@pytest.mark.parametrize("head", [b"", b"garbage\n", sound(9)[0]])
def test_what_is_kept_has_to_be_a_checkpoint(head: bytes) -> None:
    """Not nothing, not garbage, not any other line."""
    [fault] = faults(sound(9), head)
    assert (fault.kind, fault.file) == (Kind.ALTERED, HEAD)


def test_a_trail_written_anew_is_not_the_one_of_the_checkpoint() -> None:
    """Whole in itself, but another."""
    [fault] = faults(sound(20, user="mallory"), sound(20)[-1])
    assert (fault.kind, fault.file) == (Kind.ALTERED, HEAD)


def test_signatures_are_checked() -> None:
    """Good ones are counted."""
    lines = sound(20, sign=sign)
    proof = Proof(head=lines[-1], check=check)
    list(proof.walk(CURRENT, lines))
    assert (proof.finish(), proof.checkpoints, proof.signed) == ([], 2, 2)


def test_without_keys_signatures_are_counted() -> None:
    """Not checked."""
    lines = sound(20, sign=sign)
    proof = Proof(head=lines[-1])
    list(proof.walk(CURRENT, lines))
    assert (proof.finish(), proof.signed) == ([], 2)


def test_wrong_signatures_are_faults() -> None:
    """One that does not fit, one of a stranger, none after others; and a trail with no good one at all."""
    bad, _ = line(Link(), "audit.checkpoint", lambda message: b"x" * 64, signed_by="k")
    stranger, _ = line(Link(), "audit.checkpoint", sign, signed_by="other")
    none = sound(10)
    assert [fault.text for fault in faults([bad], bad, check)] == [
        "the signature does not fit the checkpoint",
        "no checkpoint is signed by a key that was given",
    ]
    assert next(fault.text for fault in faults([stranger], stranger, check)) == "signed by a key that was not given: other"
    assert told(faults(none, none[-1], check)) == [(Kind.SIGNATURE, 10)]
    first, link = line(Link(), "audit.checkpoint", sign, signed_by="k")
    second, _ = line(link, "audit.checkpoint")
    assert told(faults([first, second], second, check)) == [(Kind.SIGNATURE, 2)]


def test_what_lines_say_of_recordings_is_handed_out() -> None:
    """With the place of the line; what cannot be read is a fault."""
    good, link = line(Link(), "session.ended", recordings=[{"path": "a.cast", "sha256": "ab", "size": 3}])
    bad, link = line(link, "session.ended", recordings=[{"path": 1}])
    none, _ = line(link, "exec", session="", recordings=[{"path": "b.cast"}])
    proof = Proof(head=None)
    [claim] = proof.walk(CURRENT, [good, bad, none])
    assert (claim.file, claim.line, claim.seq, claim.session, claim.path, claim.size) == (CURRENT, 1, 1, "s-1", "a.cast", 3)
    assert told(proof.finish()) == [(Kind.RECORDING, 2)]


def test_pruned_files_are_not_missing() -> None:
    """As far as the trail says that they were, and what the last line of them was."""
    lines = sound(9)
    hashes = [json.loads(one)["hash"] for one in lines]
    note, _ = line(Link(seq=9, hash=hashes[8]), PRUNED, files=[{"last": 2, "hash": hashes[1]}, {"last": 5, "hash": hashes[4]}])
    for start in (0, 2, 5):
        proof = Proof(head=lines[-1])
        list(proof.walk(CURRENT, [*lines[start:], note]))
        assert proof.finish() == []
        assert (proof.pruned, proof.notes[0]) == (5, f"{CURRENT}:{10 - start}: 2 files were pruned")
    assert told(faults([*lines[3:], note], lines[-1])) == [(Kind.MISSING, 1)]
    other, _ = line(Link(seq=9, hash=hashes[8]), PRUNED, files=[{"last": 5, "hash": "0" * 64}])
    assert told(faults([*lines[5:], other], lines[-1])) == [(Kind.MISSING, 1)]


def test_a_note_of_the_trail_that_cannot_be_read_proves_nothing() -> None:
    """It is whole, and counts for nothing."""
    unreadable, link = line(Link(), PRUNED, files=3)
    torn, link = line(link, REPAIRED, bytes="many")
    not_even, _ = seal(link, b'{"event":"audit.x')
    proof = Proof(head=None)
    list(proof.walk(CURRENT, [unreadable, torn, not_even]))
    assert proof.pruned == 0
    assert proof.finish() == []


def test_a_repair_is_noted() -> None:
    """It is the trace of a crash, no fault."""
    first, _ = line(Link(), REPAIRED, bytes=34)
    proof = Proof(head=None)
    list(proof.walk(CURRENT, [first]))
    assert proof.finish() == []
    assert proof.notes[0] == "audit.jsonl:1: 34 bytes of a torn last line were cut off at a start"


def test_faults_are_told_up_to_a_limit() -> None:
    """The others are counted."""
    proof = Proof(head=None, max_faults=3)
    list(proof.walk(CURRENT, [b"garbage\n"] * 10))
    assert (len(proof.finish()), proof.dropped) == (3, 7)
