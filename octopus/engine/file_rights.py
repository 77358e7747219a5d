"""What a container's user may do to a file, by owner and mode bits, where no kernel can be asked. Pure but for names."""

from __future__ import annotations

from dataclasses import dataclass

from octopus.core.files import FileAttributes, FileDenied

READ, WRITE, ENTER = 4, 2, 1
_STICKY = 0o1000
NOBODY = 65534


@dataclass(frozen=True)
class Rights:
    """A user of a container: ids as the kernel would hold them. Root may do everything."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()

    def check(self, attributes: FileAttributes, wanted: int) -> None:
        """Raise FileDenied unless all the bits in ``wanted`` are granted."""
        shift = 6 if attributes.uid == self.uid else 3 if attributes.gid in {self.gid, *self.groups} else 0
        if self.uid and wanted & ~(attributes.mode >> shift):
            raise FileDenied

    def check_entry(self, directory: FileAttributes, entry: FileAttributes | None) -> None:
        """Raise FileDenied unless a name may be made, removed or replaced there; a sticky directory asks whose it is."""
        self.check(directory, WRITE | ENTER)
        if self.uid and entry and directory.mode & _STICKY and self.uid not in (entry.uid, directory.uid):
            raise FileDenied

    def check_owner(self, attributes: FileAttributes) -> None:
        """Raise FileDenied unless mode and times may be set."""
        if self.uid not in (0, attributes.uid):
            raise FileDenied

    def check_give(self, attributes: FileAttributes, uid: int, gid: int) -> None:
        """Raise FileDenied unless the file may be given to these: by root, or by its owner to a group of theirs."""
        theirs = attributes.uid == self.uid == uid and gid in {attributes.gid, self.gid, *self.groups}
        if self.uid and not theirs:
            raise FileDenied


def rights(user: str, passwd: str, group: str) -> Rights:
    """Return who ``user`` (``name``, ``uid``, ``user:group``, "" root) is, by /etc/passwd and /etc/group; unknown: nobody."""
    name, _, group_name = user.partition(":")
    name = name or "0"
    accounts = [fields for line in passwd.splitlines() if len(fields := line.split(":")) >= 7]
    account = next((one for one in accounts if one[0] == name), None) or next((one for one in accounts if one[2] == name), None)
    uid = _id(account[2] if account else name)
    gid = _id(account[3]) if account else 0 if name.isdecimal() else NOBODY
    known = [fields for line in group.splitlines() if len(fields := line.split(":")) >= 4]
    if group_name:
        gid = _id(next((one[2] for one in known if group_name in (one[0], one[2])), group_name))
        return Rights(uid, gid)
    login = account[0] if account else name
    return Rights(uid, gid, frozenset(_id(one[2]) for one in known if login in one[3].split(",")))


def _id(text: str) -> int:
    return int(text) if text.isdecimal() and text.isascii() else NOBODY
