"""The one failure of a directory that the limits must know from the others."""

from __future__ import annotations

from octopus.core.errors import DirectoryUnavailable


class PasswordUnsettled(DirectoryUnavailable):
    """The directory was given the password and gave no answer: it may have counted a failure towards locking the account."""
