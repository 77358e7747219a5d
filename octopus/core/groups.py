"""What a task group raised, as the one error it stands for.

Not ``except*``: Python before 3.11.4, Debian 12's among them, puts what is raised there into a group of its own.
"""

from __future__ import annotations

from octopus.core.errors import OctopusError


def ours(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of ours when all in the group are, else the group: a bug among them is not to be hidden."""
    leaves = list(_leaves(group))
    return leaves[0] if all(isinstance(one, OctopusError) for one in leaves) else group


def _leaves(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for part in error.exceptions for leaf in _leaves(part)]
