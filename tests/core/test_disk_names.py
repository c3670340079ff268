"""A volume is found by its id on whatever bus Nova attaches it."""

import os
from pathlib import Path

import pytest

from guest_worker.disk import Disk, DiskRefused, is_name_of
from guest_worker.paths import GuestPaths

VOLUME = "3a9ac3a2-5a3f-4c59-9d6b-6c3f1f1f0d2e"
TWIN = "3a9ac3a2-5a3f-4c59-9d6c-000000000000"  # the same first 20 characters: only SCSI tells them apart
LINKS = {
    "virtio-3a9ac3a2-5a3f-4c59-9": True,
    f"scsi-0QEMU_QEMU_HARDDISK_{VOLUME}": True,
    f"scsi-SQEMU_QEMU_HARDDISK_{VOLUME}": True,
    "ata-QEMU_HARDDISK_3a9ac3a2-5a3f-4c59-9": True,
    "nvme-QEMU_NVMe_Ctrl_3a9ac3a2-5a3f-4c59-9": True,
    "nvme-QEMU_NVMe_Ctrl_3a9ac3a2-5a3f-4c59-9_1": True,
    f"scsi-0QEMU_QEMU_HARDDISK_{VOLUME}-part1": False,
    f"scsi-0QEMU_QEMU_HARDDISK_{TWIN}": False,
    "scsi-0QEMU_QEMU_HARDDISK_3a9ac3a2-5a3f-4c59-9": False,
    "virtio-3a9ac3a2-5a3f-4c59-9-part1": False,
    f"virtio-{VOLUME}": False,  # no virtio disk shows so much
    "virtio-3a9ac3a2": False,
    "nvme-eui.3a9ac3a2": False,
    "nvme-QEMU_NVMe_Ctrl_3a9ac3a2-5a3f-4c59-9-part1": False,
    "ata-QEMU_HARDDISK_QM00001": False,
    "dm-name-3a9ac3a2-5a3f-4c59-9": False,
    "wwn-0x5000": False,
    "": False,
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_is_known_by_its_bus_and_serial_number(name: str) -> None:
    assert is_name_of(name, VOLUME) is LINKS[name]


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The privileged process of a machine without a disk."""
    monkeypatch.setattr("guest_worker.disk.pwd.getpwnam", lambda name: None)
    paths = GuestPaths(tmp_path)
    paths.disks.mkdir(parents=True)
    return Disk(paths)


def device(disk: Disk, name: str, number: int) -> Path:
    """A disk with a link; nobody opens it."""
    path = disk._paths.root / f"dev/sd{number}"
    os.mknod(path, 0o60600, os.makedev(7, 200 + number))
    (disk._paths.disks / name).symlink_to(path)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices")
def test_two_links_of_one_disk_are_one_and_two_disks_are_none(disk: Disk) -> None:
    with pytest.raises(DiskRefused, match="is not attached"):
        disk._device(VOLUME)
    path = device(disk, f"scsi-0QEMU_QEMU_HARDDISK_{VOLUME}", 1)
    (disk._paths.disks / f"scsi-SQEMU_QEMU_HARDDISK_{VOLUME}").symlink_to(path)
    device(disk, f"scsi-0QEMU_QEMU_HARDDISK_{TWIN}", 2)
    assert disk._device(VOLUME) == str(path)
    device(disk, "virtio-3a9ac3a2-5a3f-4c59-9", 3)
    with pytest.raises(DiskRefused, match=r"could be any of .*sd1, .*sd3"):
        disk._device(VOLUME)


def test_a_file_is_no_disk(disk: Disk) -> None:
    (disk._paths.disks / "virtio-3a9ac3a2-5a3f-4c59-9").write_text("")
    with pytest.raises(DiskRefused, match="is no disk"):
        disk._device(VOLUME)
