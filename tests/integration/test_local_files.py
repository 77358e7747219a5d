"""The fake of ContainerFiles keeps the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from octopus.core.ports import ContainerFiles
from tests.files_contract import ContainerFilesContract
from tests.parts.local_files import LocalFiles


class TestLocalFiles(ContainerFilesContract):
    """A directory of this machine."""

    @pytest.fixture
    def files(self, tmp_path: Path) -> ContainerFiles:
        """The fake."""
        return LocalFiles(bytes(tmp_path))

    @pytest.fixture
    def base(self, tmp_path: Path) -> bytes:
        """A directory in it."""
        (tmp_path / "base").mkdir()
        return bytes(tmp_path / "base")
