"""An engine that cannot be had is refused with a sentence, and leaves nothing behind."""

import shutil
from pathlib import Path

import pytest

from guest_worker.datastores import managers, recipe_of
from guest_worker.datastores.store import COMPLETE, FOLDER, NotToBeHad, Store

STORES = [recipe_of(each).store for each in managers() if recipe_of(each).store]
needs_apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="this machine has no apt")


def refused(store: Store, images: Path) -> str:
    """Why it cannot be had."""
    with pytest.raises(NotToBeHad) as said:
        store.take(images)
    assert list((images / FOLDER).iterdir()) == []
    assert store.prefix(images) is None
    return str(said.value)


@pytest.mark.parametrize("store", STORES)
def test_without_apt(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert refused(store, tmp_path) == "this machine has no apt"


@needs_apt
@pytest.mark.parametrize("store", STORES)
def test_without_a_way_to_the_mirror(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert "\n" not in refused(store, tmp_path)


@pytest.mark.parametrize("store", STORES)
def test_what_was_taken_is_taken_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    there = tmp_path / FOLDER / f"{store.package}-{store.series}.1-1"
    there.mkdir(parents=True)
    assert store.prefix(tmp_path) is None  # it was broken off
    (there / COMPLETE).write_text("")
    assert store.prefix(tmp_path) is None  # by a release that needed less of it
    (there / "bin").mkdir()
    for program in store.programs:
        (there / "bin" / Path(program).name).touch()
    assert store.take(tmp_path) == there
