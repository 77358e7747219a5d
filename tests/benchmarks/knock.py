"""``python -m tests.benchmarks.knock PORT KEY COUNT AT_ONCE``: connects, runs a command and leaves, so often; prints the seconds."""

from __future__ import annotations

import asyncio
import sys
import time

import asyncssh

from tests.benchmarks.visitors import connecting


async def main(port: int, key: str, count: int, at_once: int) -> float:
    """Return the seconds that ``count`` connections take, ``at_once`` of them at a time."""
    loaded, room = asyncssh.read_private_key(key), asyncio.Semaphore(at_once)

    async def visit() -> None:
        async with room, connecting(port, loaded) as connection:
            ended = await connection.run("true", encoding=None)
            if ended.exit_status != 0:
                raise SystemExit(f"refused: {ended.stderr!r}")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(count):
            tasks.create_task(visit())
    return time.perf_counter() - began


if __name__ == "__main__":
    print(asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
