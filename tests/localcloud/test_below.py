"""Files that root writes below a folder whose users are hostile: whatever they put in the way leads nowhere."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud import below
from localcloud.below import OURS

SECRET = "canary"


def symlink_to_file(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "file")


def symlink_to_folder(place: Path, outside: Path) -> None:
    place.symlink_to(outside)


def relative_symlink(place: Path, outside: Path) -> None:
    place.symlink_to(os.path.relpath(outside, place.parent))


def dangling_symlink(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "new")


def hard_link(place: Path, outside: Path) -> None:
    os.link(outside / "file", place)


def pipe(place: Path, outside: Path) -> None:
    os.mkfifo(place)


def folder(place: Path, outside: Path) -> None:
    (place / "inner").mkdir(parents=True)


def proc_link(place: Path, outside: Path) -> None:
    place.symlink_to("/proc/self/cwd")


OBSTACLES = (symlink_to_file, symlink_to_folder, relative_symlink, dangling_symlink, hard_link, pipe, folder, proc_link)
VERBS: dict[str, Callable[[Path, str], None]] = {
    "write": lambda root, path: below.write(root, path, b"ours", 0o600, OURS),
    "append": lambda root, path: below.append(root, path, b"ours", 0o600, OURS),
    "folder": lambda root, path: below.folder(root, path, 0o777, OURS),
    "link": lambda root, path: below.link(root, path, "somewhere"),
    "empty": lambda root, path: below.empty(root, path),
}
PATHS = ("etc", "etc/passwd", "home/file", "home/.file.new", "home/a/b/c", "var/lib/guest", "run")


def picture(folder: Path) -> dict[str, tuple[int, int, int, int, str]]:
    """All that one can see of a folder: names, modes, owners, contents."""
    seen = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        found = path.lstat()
        text = path.read_text() if stat.S_ISREG(found.st_mode) else ""
        seen[str(path)] = (found.st_mode, found.st_uid, found.st_gid, found.st_size, text)
    return seen


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("obstacle", OBSTACLES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_in_the_way_leads_nowhere(
    tmp_path: Path, verb: str, path: str, obstacle: Callable[[Path, Path], None], depth: int
) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    place = root.joinpath(*Path(path).parts[: len(Path(path).parts) - depth])
    if place == root:
        pytest.skip("the root itself is nobody's but root's")
    outside.mkdir(mode=0o750)
    (outside / "file").write_text(SECRET)
    (outside / "file").chmod(0o640)
    place.parent.mkdir(parents=True, exist_ok=True)
    obstacle(place, outside)
    before = picture(outside)
    with contextlib.suppress(OSError):
        VERBS[verb](root, path)
    after = picture(outside)
    assert after == before


names = st.sampled_from(["..", ".", "etc", "home", "a", "", "/", "...", "a b", "é"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(parts=st.lists(names, max_size=8), absolute=st.booleans())
def test_no_path_leads_out_of_the_root(tmp_path: Path, parts: list[str], absolute: bool) -> None:
    outer = Path(tempfile.mkdtemp(dir=tmp_path))
    root = outer / "root"
    root.mkdir()
    path = ("/" if absolute else "") + "/".join(parts)
    try:
        below.write(root, path, b"ours", 0o600, OURS)
    except OSError:
        assert not below.parts_of(path)
    assert list(outer.iterdir()) == [root]


def test_a_file_is_replaced_with_its_own_mode_and_content(tmp_path: Path) -> None:
    os.umask(0o077)
    try:
        below.write(tmp_path, "a/b/file", b"first", 0o644, OURS)
        below.append(tmp_path, "a/b/file", b" and more", 0o640, OURS)
    finally:
        os.umask(0o022)
    file = tmp_path / "a/b/file"
    assert file.read_text() == "first and more"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
    assert list(file.parent.iterdir()) == [file]
