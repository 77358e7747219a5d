"""Proves a trail line by line: that its chain is whole, its checkpoints are signed, and its end is where the last checkpoint says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from hashlib import sha256
from typing import TypeVar

import msgspec

from octopus.core.chain import CHECKPOINT, CURRENT, HEAD, PRUNED, REPAIRED, TAIL, Link, is_whole, signed_part
from octopus.core.errors import printable
from octopus.core.types import Value

MAX_FAULTS = 1000
"""Faults that are told; the others are counted."""

CheckSignature = Callable[[str, bytes, bytes], bool | None]
"""Given ``signed_by``, the message and the signature in base64: whether it is good, None when that key is not known."""


class Kind(StrEnum):
    """What is wrong with a trail."""

    ALTERED = "altered"
    MISSING = "missing"
    INSERTED = "inserted"
    SWAPPED = "swapped"
    TRUNCATED = "truncated"
    SIGNATURE = "signature"
    RECORDING = "recording"


class Fault(Value, frozen=True, kw_only=True):
    """One thing that is wrong: in which file, at which of its lines (from 1; 0 is the file as a whole), and what."""

    kind: Kind
    file: str
    line: int
    text: str


class RecordingClaim(Value, frozen=True, kw_only=True):
    """What a line says of a recording: its path below the recordings' directory, SHA-256 and size in bytes."""

    file: str
    line: int
    seq: int
    session: str
    path: str
    sha256: str
    size: int


class _Recording(Value, frozen=True):
    path: str = ""
    sha256: str = ""
    size: int = -1


class _PrunedFile(Value, frozen=True):
    last: int = 0
    hash: str = ""


class _Line(Value, frozen=True):
    seq: int = 0
    prev: str = ""
    event: str = ""
    session: str = ""


class _Checkpoint(Value, frozen=True):
    signed_by: str = ""


class _Pruned(Value, frozen=True):
    files: tuple[_PrunedFile, ...] = ()


class _Repaired(Value, frozen=True):
    bytes: int = 0


class _Recorded(Value, frozen=True):
    recordings: tuple[_Recording, ...] = ()


class _Gap(msgspec.Struct):
    """Lines that are not there, up to now: ``start`` to ``end``; ``prev`` is what the line after them holds of the last of them."""

    start: int
    end: int
    prev: str
    file: str
    line: int


_Form = TypeVar("_Form", bound=Value)

_NO_LINE = _Line()
_EVENT = slice(80, 200)
"""Where the name of the event stands in a line."""


class Proof:
    """Takes a trail's lines in their order and collects what is wrong with them.

    ``head`` is what the file of the last checkpoint holds, None when it is not there. Without ``check`` no signature is looked at;
    with it, each checkpoint from the first good signature on has to have one.
    """

    def __init__(self, *, head: bytes | None, check: CheckSignature | None = None, max_faults: int = MAX_FAULTS) -> None:
        self.lines = self.checkpoints = self.signed = self.dropped = 0
        self.notes: list[str] = []
        self._faults: list[Fault] = []
        self._max_faults = max_faults
        self._check = check
        self._head = head
        self._head_line = (_read(head, _Line) if head and is_whole(head) else None) or _NO_LINE
        self._head_found = False
        self._file, self._place = CURRENT, 0
        self._before = (CURRENT, 0)
        self._seq, self._prev = 1, Link().hash
        self._unsure = False
        self._gaps: list[_Gap] = []
        self._pruned: dict[int, str] = {}
        self._checkpoint = 0

    @property
    def pruned(self) -> int:
        """Return the number of the last line that the trail says was pruned, 0 for none."""
        return max(self._pruned, default=0)

    def walk(self, file: str, lines: Iterable[bytes]) -> Iterator[RecordingClaim]:
        """Take in a file's lines, newline and all, oldest file first; yield what they say of recordings."""
        self._file, place = file, 0
        seq, prev = self._seq, self._prev
        for place, line in enumerate(lines, 1):
            digest = sha256(line[:-TAIL]).hexdigest()
            own = line[-TAIL:] == f',"hash":"{digest}"}}\n'.encode()
            if own and line.startswith(f'{{"seq":{seq},"prev":"{prev}",'.encode()):
                seq, prev = seq + 1, digest
            else:
                self._place, self._seq, self._prev = place, seq, prev
                self._misfit(line, digest if own else "")
                seq, prev = self._seq, self._prev
            # Most lines need not be parsed: only those of the trail itself, and ends of sessions that were recorded.
            event = line[_EVENT]
            if b'"audit.' in event or (b'ed","' in event and b'":[{' in line):
                self._place = place
                yield from self._remark(line)
        self._seq, self._prev = seq, prev
        self.lines += place
        self._before = (file, place) if place else self._before

    def finish(self) -> list[Fault]:
        """Return what is wrong with the whole, once every line was taken in."""
        for gap in self._gaps:
            if not (gap.start == 1 and self._pruned.get(gap.end) == gap.prev):
                lines = f"line {gap.start}" if gap.start == gap.end else f"lines {gap.start} to {gap.end}"
                self._fault(Kind.MISSING, gap.file, gap.line, f"{lines} of the trail should stand before this one")
        self._gaps.clear()
        self._finish_head()
        if self._check and not self.signed:
            self._fault(Kind.SIGNATURE, *self._before, "no checkpoint is signed by a key that was given")
        return self._faults

    def _misfit(self, line: bytes, digest: str) -> None:
        """Take in a line that does not follow on the one before it; ``digest`` is "" when its hash is not its own."""
        read = _read(line, _Line) or _NO_LINE
        if not digest:
            self._fault(Kind.ALTERED, self._file, self._place, "its hash does not fit what it holds")
            # A line that does not even say that it has this place may stand in its stead or between two others.
            in_place = line.startswith(b'{"seq":%d,' % self._seq)
            self._unsure = not in_place
            self._seq += in_place
            self._prev = ""
        elif read.seq == self._seq or (self._unsure and read.seq == self._seq + 1):
            if read.seq == self._seq and self._prev and read.prev != self._prev:
                before = (self._file, self._place - 1) if self._place > 1 else self._before
                self._fault(Kind.ALTERED, *before, f"line {read.seq} of the trail followed on another line than this")
            self._follow(read.seq, digest)
        elif read.seq > self._seq:
            self._gaps.append(_Gap(self._seq, read.seq - 1, read.prev, self._file, self._place))
            self._follow(read.seq, digest)
        elif self._fills_gap(read.seq):
            self._fault(Kind.SWAPPED, self._file, self._place, f"line {read.seq} of the trail stands here, after later ones")
        else:
            self._fault(Kind.INSERTED, self._file, self._place, f"it says it is line {read.seq} of the trail, which is another")

    def _follow(self, seq: int, digest: str) -> None:
        self._seq, self._prev, self._unsure = seq + 1, digest, False

    def _fills_gap(self, seq: int) -> bool:
        """Tell whether the line is one of those missing, and is no longer."""
        for gap in self._gaps:
            if gap.start <= seq <= gap.end:
                rest = [_Gap(start, end, gap.prev, gap.file, gap.line) for start, end in ((gap.start, seq - 1), (seq + 1, gap.end))]
                place = self._gaps.index(gap)
                self._gaps[place : place + 1] = [one for one in rest if one.start <= one.end]
                return True
        return False

    def _remark(self, raw: bytes) -> Iterator[RecordingClaim]:
        """Take in what a line says of the trail itself; yield what it says of recordings."""
        line = _read(raw, _Line) or _NO_LINE
        if line.event == CHECKPOINT:
            self.checkpoints += 1
            self._checkpoint = line.seq
            self._head_found = self._head_found or raw == self._head
            self._check_signature(raw, (_read(raw, _Checkpoint) or _Checkpoint()).signed_by)
        elif line.event == PRUNED:
            files = (_read(raw, _Pruned) or _Pruned()).files
            self._pruned |= {one.last: one.hash for one in files}
            self._note(f"{len(files)} files were pruned")
        elif line.event == REPAIRED:
            self._note(f"{(_read(raw, _Repaired) or _Repaired()).bytes} bytes of a torn last line were cut off at a start")
        elif line.session:
            yield from self._claims(raw, line)

    def _claims(self, raw: bytes, line: _Line) -> Iterator[RecordingClaim]:
        recorded = _read(raw, _Recorded)
        if recorded is None:
            self._fault(Kind.RECORDING, self._file, self._place, "what it says of recordings cannot be read")
            return
        for one in recorded.recordings:
            yield RecordingClaim(
                file=self._file,
                line=self._place,
                seq=line.seq,
                session=line.session,
                path=one.path,
                sha256=one.sha256,
                size=one.size,
            )

    def _note(self, text: str) -> None:
        self.notes.append(f"{self._file}:{self._place}: {text}")

    def _check_signature(self, raw: bytes, signed_by: str) -> None:
        message, signature = signed_part(raw)
        if not self._check:
            self.signed += bool(signature)
            return
        good = self._check(signed_by, message, signature) if signature else False
        if good:
            self.signed += 1
        elif signature and good is None:
            self._fault(Kind.SIGNATURE, self._file, self._place, f"signed by a key that was not given: {printable(signed_by, 80)}")
        elif signature:
            self._fault(Kind.SIGNATURE, self._file, self._place, "the signature does not fit the checkpoint")
        elif self.signed:
            self._fault(Kind.SIGNATURE, self._file, self._place, "a checkpoint without a signature, after signed ones")

    def _finish_head(self) -> None:
        last = self._seq - 1
        if self._head is None:
            if self.checkpoints > 1:
                self._fault(Kind.MISSING, HEAD, 0, "the last checkpoint is kept there too, and the file is not there")
        elif self._head_line.event != CHECKPOINT:
            self._fault(Kind.ALTERED, HEAD, 1, "it holds no checkpoint whose hash fits")
        elif not self._head_found and self._head_line.seq > last:
            text = f"the trail ends at line {last}, and its last checkpoint was line {self._head_line.seq} ({HEAD})"
            self._fault(Kind.TRUNCATED, *self._before, text)
        elif not self._head_found:
            self._fault(Kind.ALTERED, HEAD, 1, f"line {self._head_line.seq} of the trail is not the checkpoint that it holds")
        if self.lines and last > self._checkpoint:
            self.notes.append(f"{last - self._checkpoint} lines follow the last checkpoint: nothing proves yet that there were no more")

    def _fault(self, kind: Kind, file: str, line: int, text: str) -> None:
        if len(self._faults) < self._max_faults:
            self._faults.append(Fault(kind=kind, file=file, line=line, text=text))
        else:
            self.dropped += 1


def _read(line: bytes, kind: type[_Form]) -> _Form | None:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
