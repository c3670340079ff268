"""Servers whose user has laid traps in its root folder: root of the host walks into none of them."""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localcloud.conftest import Lab, until
from tests.localcloud.processes import as_guest, guest_user, of_user, running
from tests.localcloud.test_below import picture
from tests.localcloud.test_servers import _start_the_host, _stop_the_host
from tests.stack import RunningStack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="without root, servers have no users and no namespaces")

NAMES = ("etc", "etc/passwd", "etc/coffer/guest.json", "var", "var/lib", "var/lib/guest", "home", "run", "tmp", "dev", "proc",
         "usr", "images", ".", "home/.cache", "tmp/.new", "../console.log", "../init.json")  # fmt: skip
TRAPS = "; ".join(
    f"rm -rf '/{name}' 2>/dev/null; ln -sfn '{{outside}}' '/{name}' 2>/dev/null; "
    f"ln -sf '{{outside}}/file' '/{name}' 2>/dev/null; mkfifo '/{name}' 2>/dev/null"
    for name in NAMES
)
MORE = """
for each in /home /tmp; do
  mkdir -p $each/a/b; ln -s {outside} $each/a/link; ln -s {outside}/file $each/a/b/file; mkfifo $each/a/pipe
  mv $each/a/b $each/a/c; ln -s {outside} $each/a/b
done
"""


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host's that no server may touch."""
    folder = tmp_path / "outside"
    folder.mkdir(mode=0o700)
    (folder / "file").write_text("canary")
    (folder / "file").chmod(0o600)
    before = picture(folder)
    yield folder
    assert picture(folder) == before


def trapped(lab: Lab, outside: Path) -> str:
    """A server that has tried to lay traps everywhere."""
    server = lab.boot()
    as_guest(server, TRAPS.format(outside=outside))
    said = as_guest(server, MORE.format(outside=outside) + "ls -la /tmp/a")
    assert f"link -> {outside}" in said
    root = lab.cloud_folder / "servers" / server / "root"
    for name in (".", "dev", "etc", "proc", "run", "var", "var/lib", "images", "usr"):
        found = (root / name).lstat()
        assert (stat.S_ISDIR(found.st_mode), found.st_uid) == (True, 0), name
    return server


def test_starting_again_walks_into_no_trap(lab: Lab, outside: Path) -> None:
    server = trapped(lab, outside)
    user = guest_user(server)
    for _ in range(2):
        lab.conn.compute.stop_server(server)
        lab.wait(server, "SHUTOFF")
        lab.conn.compute.start_server(server)
        lab.wait(server, "ACTIVE")
    assert until("it runs", lambda: running(user))


def test_a_restart_of_the_host_walks_into_no_trap(lab: Lab, stack: RunningStack, outside: Path) -> None:
    server = trapped(lab, outside)
    _stop_the_host(stack)
    _start_the_host(stack)
    lab.wait(server, "ACTIVE")


def test_a_deletion_removes_the_traps_and_not_what_they_lead_to(lab: Lab, outside: Path) -> None:
    server = trapped(lab, outside)
    lab.delete(server)
    assert not (lab.cloud_folder / "servers" / server).exists()


def test_a_deletion_is_not_led_astray_by_a_folder_that_is_swapped_meanwhile(lab: Lab, outside: Path) -> None:
    server = trapped(lab, outside)
    swapping = "cd /home; mkdir d; (while :; do mv d e; ln -s {outside} d; rm d; mv e d; done) >/dev/null 2>&1 &"
    as_guest(server, swapping.format(outside=outside))
    time.sleep(0.2)
    lab.delete(server)


def test_the_console_is_the_server_s_own_file(lab: Lab, outside: Path) -> None:
    server = trapped(lab, outside)
    console = lab.cloud_folder / "servers" / server / "console.log"
    as_guest(server, "cat /proc/self/fd/* ; ls -la /proc/1/cwd /proc/1/fd /proc/1/root")
    assert console.is_file()
    assert not console.is_symlink()
    assert "canary" not in lab.console(server)


def test_the_embedded_cloud_s_state_is_root_s_alone(lab: Lab, stack: RunningStack) -> None:
    lab.boot()
    assert (stack.settings.home / "cloud.db").exists()
    assert not list(lab.cloud_folder.glob("*.db*"))
    for folder in (stack.settings.home, lab.cloud_folder):
        assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid) == (0o700, 0)
    files = [*stack.settings.home.glob("cloud.db*"), *(stack.settings.home / "keystone").rglob("*"),
             *(lab.cloud_folder / "volumes").iterdir(), *(lab.cloud_folder / "servers").glob("*/*")]  # fmt: skip
    open_to_others = [str(each) for each in files if each.is_file() and each.lstat().st_mode & 0o077]
    assert open_to_others == []


def test_loop_devices_are_root_s_alone(lab: Lab) -> None:
    volumes = lab.conn.block_storage
    volume = volumes.create_volume(name=f"of-a-test-{time.time()}", size=1)
    until("available", lambda: volumes.get_volume(volume.id).status == "available")
    disk = {"boot_index": -1, "uuid": volume.id, "source_type": "volume", "destination_type": "volume"}
    root_disk = {"boot_index": 0, "uuid": lab.conn.image.find_image("quiet").id, "source_type": "image",
                 "destination_type": "local"}  # fmt: skip
    server = lab.boot(block_device_mapping_v2=[root_disk, disk])
    pid = next(pid for pid, _ in of_user(guest_user(server)))
    number = Path(f"/proc/{pid}/root/dev/vdb").stat().st_rdev
    (device,) = [
        each for each in Path("/dev").glob("loop*") if each.is_block_device() and each.stat().st_rdev == number
    ]
    assert (device.stat().st_uid, device.stat().st_gid, stat.S_IMODE(device.stat().st_mode)) == (0, 0, 0o600)
    lab.delete(server)
    until("free", lambda: volumes.get_volume(volume.id).status == "available")
    volumes.delete_volume(volume.id)
