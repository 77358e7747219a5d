"""Proves what is in an audit directory: the trail's files in their order, and the recordings they speak of. Blocking."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from octopus.control.audit_file import open_files
from octopus.control.audit_prune import RECORDINGS
from octopus.core.chain import CURRENT, HEAD
from octopus.core.errors import AuditUnavailable
from octopus.core.proof import CheckSignature, Fault, Kind, Proof, RecordingClaim
from octopus.core.types import Value

MAX_HEAD = 1 << 20
"""Bytes of the file that holds the last checkpoint."""
_BLOCK = 1 << 20
"""About how many bytes are read at once: more only where a line is longer, which is then no line of ours."""

Progress = Callable[[int], object]
"""Told how many more bytes were read."""


class Verdict(Value, frozen=True, kw_only=True):
    """What was found: ``faults`` are proof that something was done to the trail, ``notes`` what its reader should know.

    ``dropped`` faults are not listed; ``signed`` of the ``checkpoints`` have a signature (a good one, where keys were given).
    """

    files: int
    lines: int
    checkpoints: int
    signed: int
    recordings: int
    faults: tuple[Fault, ...]
    dropped: int
    notes: tuple[str, ...]


def size(directory: Path) -> int:
    """Return about how many bytes ``verify`` is going to read."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.suffix in {".jsonl", *RECORDINGS} and path.is_file())


def verify(directory: Path, *, check: CheckSignature | None = None, progress: Progress = lambda size: None) -> Verdict:
    """Return what there is to say of the trail in ``directory``, which may be written meanwhile. Raise AuditUnavailable.

    ``check`` knows the keys that checkpoints have to be signed by; without it no signature is looked at.
    """
    try:
        with ExitStack() as stack:
            # First what was true already when the trail is read.
            head = _head(directory)
            files = open_files(directory, stack)
            return _verdict(directory, files, head, Proof(head=head, check=check), progress)
    except OSError as error:
        raise AuditUnavailable(f"{error.filename or directory}: cannot be read: {error.strerror}") from error


def nothing(directory: Path) -> Verdict:
    """Return what there is to say where no gateway has started yet, and made its directory."""
    return Verdict(files=0, lines=0, checkpoints=0, signed=0, recordings=0, faults=(_missing(directory),), dropped=0, notes=())


def _verdict(directory: Path, files: list[BinaryIO], head: bytes | None, proof: Proof, progress: Progress) -> Verdict:
    recordings = _Recordings(directory / "recordings", progress)
    torn: list[int] = []
    for file in files:
        name = Path(file.name).name
        for claim in proof.walk(name, _lines(file, progress, torn if name == CURRENT else None)):
            recordings.take(claim)
    faults = (*_nothing(directory, files, head), *proof.finish(), *recordings.finish(proof.pruned))
    notes = [f"{CURRENT}: {count} bytes of a torn last line: written right now, or cut off by the next start" for count in torn]
    return Verdict(
        files=len(files),
        lines=proof.lines,
        checkpoints=proof.checkpoints,
        signed=proof.signed,
        recordings=recordings.good,
        faults=faults,
        dropped=proof.dropped + recordings.dropped,
        notes=(*proof.notes, *notes, *recordings.notes()),
    )


def _nothing(directory: Path, files: list[BinaryIO], head: bytes | None) -> list[Fault]:
    # A gateway's first act is a line: where none ever was, another directory is meant, or all of it was taken away.
    return [] if files or head is not None else [_missing(directory)]


def _missing(directory: Path) -> Fault:
    text = f"there is no trail in {directory}: nothing has been recorded yet, or all of it was taken away"
    return Fault(kind=Kind.MISSING, file=CURRENT, line=0, text=text)


def _head(directory: Path) -> bytes | None:
    try:
        with (directory / HEAD).open("rb") as file:
            return file.read(MAX_HEAD)
    except FileNotFoundError:
        return None


def _lines(file: BinaryIO, progress: Progress, torn: list[int] | None) -> Iterator[bytes]:
    """Yield lines, newline and all; the length of a last one without goes to ``torn``, where that is no fault."""
    return chain.from_iterable(_blocks(file, progress, torn))


def _blocks(file: BinaryIO, progress: Progress, torn: list[int] | None) -> Iterator[list[bytes]]:
    while lines := file.readlines(_BLOCK):
        progress(sum(map(len, lines)))
        if torn is not None and not lines[-1].endswith(b"\n"):
            torn.append(len(lines.pop()))
        yield lines


class _Recordings:
    """Holds recordings to what the trail says of them."""

    def __init__(self, directory: Path, progress: Progress, max_faults: int = 1000) -> None:
        self.good = self.dropped = 0
        self._directory = directory
        self._progress = progress
        self._max_faults = max_faults
        self._wrong: list[tuple[RecordingClaim, bool, str]] = []

    def take(self, claim: RecordingClaim) -> None:
        """Look at the file of which a line speaks."""
        missing, text = self._look(claim)
        if not text:
            self.good += 1
        elif len(self._wrong) < self._max_faults:
            self._wrong.append((claim, missing, text))
        else:
            self.dropped += 1

    def finish(self, pruned: int) -> list[Fault]:
        """Return what is wrong; recordings of lines up to ``pruned`` may be gone."""
        return [
            Fault(kind=Kind.RECORDING, file=claim.file, line=claim.line, text=text)
            for claim, missing, text in self._wrong
            if not (missing and claim.seq <= pruned)
        ]

    def notes(self) -> Iterator[str]:
        """Yield what stands beside the recordings of the trail."""
        open_ones = self._count(".part")
        if open_ones:
            yield f"{open_ones} recordings are not complete yet (.part)"
        strangers = self._count("") - self.good - len(self._wrong)
        if strangers > 0:
            yield f"{strangers} recordings are not on the trail"

    def _count(self, more: str) -> int:
        return sum(1 for suffix in RECORDINGS for _ in self._directory.rglob(f"*{suffix}{more}"))

    def _look(self, claim: RecordingClaim) -> tuple[bool, str]:
        name = f"recording {claim.path!r} of session {claim.session!r}"
        path = Path(claim.path)
        if path.is_absolute() or ".." in path.parts or "\0" in claim.path:
            return False, f"{name}: that is no path below the recordings"
        try:
            with (self._directory / path).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                length = file.tell()
        except FileNotFoundError:
            return True, f"{name} is missing"
        self._progress(length)
        if (length, digest) != (claim.size, claim.sha256):
            return False, f"{name} was altered: {length} bytes with SHA-256 {digest}, not {claim.size} with {claim.sha256}"
        return False, ""
