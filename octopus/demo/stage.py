"""What a scene is played on: a folder of its own and a Docker engine, both gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from octopus.core.errors import Unavailable
from octopus.core.types import EngineAddress
from octopus.demo.engines import PrivateEngine, first_answering, open_engine
from octopus.demo.images import BUSYBOX, SHELLLESS, ensure_images
from octopus.demo.process import StartFailed, new_directory

SYSTEM_ENGINE = "unix:///var/run/docker.sock"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a scene is played; ``private`` says that the engine was started for it."""

    directory: Path
    engine: EngineAddress
    private: bool


@contextlib.contextmanager
def set_up(system_engine: str = SYSTEM_ENGINE) -> Iterator[Stage]:
    """Give a stage: the engine that answers at ``system_engine``, else a private one. Raise Unavailable, saying what is missing."""
    with _folder() as directory:
        found = first_answering([system_engine])
        if found is not None:
            with _images(found):
                yield Stage(directory=directory, engine=found, private=False)
            return
        with _private_engine() as engine:
            yield Stage(directory=directory, engine=engine.local, private=True)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    directory = new_directory("demo")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _images(address: EngineAddress) -> Iterator[None]:
    """Lend an engine that is not ours the images it lacks."""
    with contextlib.closing(open_engine(address)) as api:
        had = {tag for image in api.images() for tag in image["RepoTags"] or []}
        try:
            ensure_images(api)
        except FileNotFoundError as error:
            raise Unavailable(str(error)) from error
        try:
            yield
        finally:
            for name in {BUSYBOX, SHELLLESS} - had:
                api.remove_image(name, force=True)


@contextlib.contextmanager
def _private_engine() -> Iterator[PrivateEngine]:
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(PrivateEngine())
        except (StartFailed, FileNotFoundError) as error:
            raise Unavailable(f"no Docker engine answers at {SYSTEM_ENGINE}, and none of our own can be started: {error}") from error
        yield engine
