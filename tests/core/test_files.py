"""What is written privately is on the disk when it has been written: the file, and then its name."""

import os
from pathlib import Path

import pytest

from contract.files import write_private


def test_the_file_is_synced_before_its_name_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "secrets/one", []
    sync = os.fsync

    def watched(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").resolve(), path.exists() and path.read_text()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    write_private(path, "first")
    write_private(path, "second")
    new = path.with_name(".one.new")
    assert synced == [(new, False), (path.parent, "first"), (new, "first"), (path.parent, "second")]
    assert path.stat().st_mode & 0o777 == 0o600
