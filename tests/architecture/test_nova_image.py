"""The parts of an image for Nova that can be looked at without building one."""

import configparser
import json
import struct
from pathlib import Path

import pytest

from guest_worker.datastores import managers, recipe_of
from guest_worker.image import nova
from guest_worker.image.sources import HERE
from guest_worker.paths import ENGINE, GUEST
from guest_worker.settings import GuestSettings

UNITS = sorted(nova.FILES.glob("etc/systemd/system/*.service"))


def unit(path: Path) -> dict[str, dict[str, str]]:
    """A unit file by section; a setting that stands twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return {name: dict(parser[name]) for name in parser.sections()}


@pytest.mark.parametrize("path", UNITS, ids=[each.name for each in UNITS])
def test_a_unit_starts_a_module_of_the_guest_and_outlives_its_restart(path: Path) -> None:
    service = unit(path)["Service"]
    program, option, module = service["ExecStart"].split()
    assert (program, option) == ("/usr/bin/python3", "-m")
    place = HERE.joinpath(*module.split("."))
    assert place.with_suffix(".py").exists() or (place / "__main__.py").exists()
    # the engine, and what takes long, are children: they go on
    assert (service["KillMode"], service["Restart"]) == ("process", "always")
    assert service["NoNewPrivileges"] == "yes"


def test_the_guest_is_told_what_it_reads_and_runs_as_its_own_user() -> None:
    service = unit(nova.FILES / "etc/systemd/system/coffer-guest.service")["Service"]
    names = {each.partition("=")[0].lower() for each in service["Environment"].split()}
    assert names - {"pythonpath", "pythondontwritebytecode", "malloc_arena_max", "malloc_trim_threshold_"} <= set(
        GuestSettings.model_fields
    )
    assert (service["User"], service["CapabilityBoundingSet"]) == (GUEST, "")
    assert f"ENGINE_USER={ENGINE}" in service["Environment"].split()
    assert nova.USERS == (GUEST, ENGINE)


def test_grub_is_written_around_the_partition_table() -> None:
    boot = bytes(range(256)) * 2
    core = b"".join(bytes([number]) * 512 for number in range(1, 8)) + b"the end"
    table = b"partitions".ljust(64, b"!")
    with Path("/dev/shm/coffer-grub-test").open("w+b") as disk:
        try:
            disk.write(bytes(446) + table + bytes(1 << 20))
            disk.flush()
            nova._write_grub(disk.fileno(), boot, core)
            disk.seek(0)
            written = disk.read()
        finally:
            Path(disk.name).unlink()
    assert written[446:510] == table
    assert written[510:512] == b"\x55\xaa"
    assert written[:0x5C] == boot[:0x5C]
    assert struct.unpack("<Q", written[0x5C:0x64]) == (1,)
    assert written[1024:].startswith(core[512:])
    assert struct.unpack("<QHH", written[1012:1024]) == (2, 7, 0x820)


def test_a_core_image_that_would_reach_into_the_partition_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("w+b") as disk, pytest.raises(nova.CannotBuild, match="too large"):
        nova._write_grub(disk.fileno(), bytes(512), bytes(2048 * 512))


def test_what_is_missing_on_this_machine_is_said_by_the_names_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(nova.CannotBuild, match=r"apt-get install .*mmdebstrap .*qemu-utils"):
        nova.check_tools()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(nova.CannotBuild, match="by root"):
        nova.check_tools()


def test_a_series_that_there_is_no_recipe_of_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    image = nova.NovaImage("mariadb", tmp_path, tmp_path, "uv", series="9.9")
    with pytest.raises(nova.CannotBuild, match=r"no series 9\.9 of mariadb beside its first; with --series: 11\.8"):
        assert image._edition


@pytest.mark.parametrize("engine", managers())
def test_each_series_of_a_recipe_has_its_packages(engine: str, tmp_path: Path) -> None:
    recipe = recipe_of(engine)
    chosen = [nova.NovaImage(engine, tmp_path, tmp_path, "uv", series=each.number)._edition for each in recipe.newer]
    assert [nova.NovaImage(engine, tmp_path, tmp_path, "uv")._edition, *chosen] == list(recipe.editions)


@pytest.mark.parametrize(
    ("engine", "series", "own"),
    [
        ("mariadb", "", True),
        ("mariadb", "11.8", False),
        ("postgresql", "", True),
        ("postgresql", "17", True),
        ("mysql", "", False),
    ],
)
def test_an_image_has_the_release_s_packages_where_it_or_its_upgrade_needs_them(
    engine: str, series: str, own: bool, tmp_path: Path
) -> None:
    """PostgreSQL takes data over with the programs of both series."""
    packages = nova.NovaImage(engine, tmp_path, tmp_path, "uv", series=series).packages
    assert set(packages) - set(nova.PACKAGES) == (set(recipe_of(engine).packages) if own else set())


@pytest.mark.parametrize("engine", managers())
def test_glance_is_told_tags_and_what_a_flavor_must_have(engine: str) -> None:
    told = nova.described(engine, "1.2", "abc", 2500)
    assert told["name"] == f"coffer-{engine}-1.2"
    assert {engine, f"{engine}-1.2", "database"} <= set(told["tags"])  # type: ignore[call-overload]
    assert told["min_disk"] == 3
    json.dumps(told)


def test_what_no_server_needs_is_left_out_and_nothing_else(tmp_path: Path) -> None:
    kept = [
        "usr/lib/postgresql/15/lib/llvmjit.so",
        "boot/vmlinuz-6.1",
        "usr/lib/udev/hwdb.bin",
        "usr/share/postgresql/15/x",
    ]
    gone = ["usr/lib/postgresql/15/lib/bitcode/postgres/a.bc", "boot/System.map-6.1", "usr/share/doc/a/copyright",
            "usr/lib/udev/hwdb.d/20-usb.hwdb"]  # fmt: skip
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/resolv.conf").symlink_to("/run/nowhere")
    nova._strip(tmp_path, "postgresql")
    assert sorted(str(each.relative_to(tmp_path)) for each in tmp_path.rglob("*") if not each.is_dir()) == sorted(kept)


def test_the_list_of_software_has_packages_of_debian_and_of_python(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    entry = "Package: mariadb-server-core\nStatus: install ok installed\nVersion: 1:10.11.6-0+deb12u1\n"
    entry += "Architecture: amd64\nMaintainer: x <x@example.org>\nDescription: a server\n\n"
    (tmp_path / "var/lib/dpkg/status").write_text(entry)
    metadata = tmp_path / nova.OPT / "packages/PyMySQL-1.2.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: PyMySQL\nVersion: 1.2\n\nVersion: of the text\n")
    found = list(nova.installed(tmp_path))
    assert [(each["name"], each["version"]) for each in found] == [
        ("mariadb-server-core", "1:10.11.6-0+deb12u1"), ("PyMySQL", "1.2"),
    ]  # fmt: skip
    bill = nova.bill_of_materials("x", "0" * 64, found)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
