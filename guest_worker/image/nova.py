"""An image for Nova: Debian 12 with the engine, the guest worker and its units, on one bootable disk (qcow2, BIOS).

Made without KVM, loop devices or mounts, by root: mmdebstrap installs packages into a folder, `mke2fs -d` turns it into a
file system, GRUB's core image is put before it. With the same packages the same bytes come out.
"""

import hashlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from importlib.metadata import distributions
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from guest_worker.datastores import recipe_of
from guest_worker.datastores.recipe import requirements_of
from guest_worker.datastores.store import Store
from guest_worker.image.sources import HERE, sources

SUITE, PYTHON, PLATFORM = "bookworm", "3.11", "x86_64-manylinux_2_36"
FILES = Path(__file__).with_name("files")  # of the image's root, beside those that are written here
TOOLS = {"mmdebstrap": "mmdebstrap", "qemu-img": "qemu-utils", "sfdisk": "fdisk", "mke2fs": "e2fsprogs",
         "grub-mkimage": "grub-common"}  # fmt: skip
GRUB = Path("/usr/lib/grub/i386-pc")
PACKAGES = (
    "systemd", "systemd-sysv", "systemd-resolved", "udev", "dbus", "linux-image-cloud-amd64", "initramfs-tools", "zstd",
    "cloud-init", "cloud-guest-utils", "fdisk", "e2fsprogs", "python3", "ca-certificates", "iproute2", "procps", "tzdata",
)  # fmt: skip
NEEDLESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "var/lib/apt/lists",
            "var/cache/apt", "var/cache/debconf", "var/log", "etc/machine-id", "var/lib/dbus/machine-id",
            "usr/share/bash-completion", "usr/share/i18n", "etc/resolv.conf", "var/cache/ldconfig/aux-cache",
            "boot/System.map-*", "usr/lib/udev/hwdb.d")  # fmt: skip
# QEMU 5.1 reads it (Nova has wanted that since Xena); with clusters of the usual 64 KiB it saves half as much
COMPRESSION = "compression_type=zstd,cluster_size=256k"
USERS, FIRST_UID = ("guest", "engine"), 900
OPT = "opt/coffer"
SECTOR, FIRST = 512, 2048  # bytes; sectors before the file system, for GRUB
EPOCH = 1_700_000_000  # the time of all files that have no other
CORE_MODULES = ("biosdisk", "part_msdos", "ext2", "search", "search_label", "linux", "boot", "normal", "configfile")
LABEL = "coffer-root"


class CannotBuild(Exception):
    """What is missing on this machine; says in a sentence what to install."""


@dataclass(frozen=True)
class NovaImage:
    """One image to be built: which engine, into which folder, from which mirror of Debian (empty: apt's own)."""

    engine: str
    to: Path
    requirements: Path
    uv: str
    mirror: str = ""
    size_mib: int = 2048
    store: Path | None = None
    """Folder of engines that the release lacks (`guest_worker.datastores.store`)."""
    series: str = ""
    """Of the engine, where the recipe has several; empty: the first."""
    log: Path = field(default=Path(os.devnull))

    def build(self) -> Path:
        """Make the image and its list of software; return the image. CannotBuild, CalledProcessError."""
        check_tools()
        self.to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".image-", dir=self.to) as work:
            root, raw = Path(work) / "root", Path(work) / "disk.raw"
            self._install(root)  # says first whether there is such a series
            version = self._fill(root)
            software = list(installed(root))
            _strip(root, self.engine)
            (root / "etc/machine-id").touch()  # empty: systemd makes one at the first boot
            (root / "etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")
            _same_times(root)
            _disk(root, raw, self.size_mib)
            image = self.to / f"coffer-{self.engine}-{version}.qcow2"
            new = image.with_suffix(".new")
            self._run("qemu-img", "convert", "-O", "qcow2", "-c", "-o", COMPRESSION, str(raw), str(new))
            new.rename(image)
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        image.with_suffix(".json").write_text(
            json.dumps(described(self.engine, version, digest, self.size_mib), indent=2)
        )
        image.with_suffix(".sbom.json").write_text(
            json.dumps(bill_of_materials(image.stem, digest, software), indent=1)
        )
        return image

    @property
    def _edition(self) -> Store | None:
        """Where the engine comes from; None: the release's own packages. CannotBuild."""
        recipe = recipe_of(self.engine)
        newer = {each.number: each for each in recipe.newer}
        if self.series and self.series not in newer:
            more = f"; with --series: {', '.join(newer)}" if newer else ""
            raise CannotBuild(f"there is no series {self.series} of {self.engine} beside its first{more}")
        return newer[self.series] if self.series else recipe.store

    @property
    def packages(self) -> tuple[str, ...]:
        """Of the release; for an engine that comes from elsewhere those alone that its upgrade needs."""
        recipe = recipe_of(self.engine)
        return (*PACKAGES, *(recipe.packages if self._edition is None or recipe.needs_older else ()))

    def _run(self, *command: str, **environment: str) -> None:
        with self.log.open("a") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, env={**os.environ, **environment})

    def _install(self, root: Path) -> None:
        no_cluster = (
            'mkdir -p "$1/etc/postgresql-common" &&'
            ' echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"'
        )
        mirror = self.mirror or debian_mirror()
        self._run("mmdebstrap", "--variant=minbase", f"--include={','.join(self.packages)}", "--format=directory",
                  f"--essential-hook={no_cluster}", SUITE, str(root), *mirror.splitlines(),
                  SOURCE_DATE_EPOCH=str(EPOCH))  # fmt: skip

    def _fill(self, root: Path) -> str:
        """Put in what is ours; return the engine's version."""
        for number, user in enumerate(USERS):
            self._inside(root, "useradd", "--system", "--uid", str(FIRST_UID + number), "--user-group", "--no-create-home",
                         "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", user)  # fmt: skip
        shutil.copytree(FILES, root, dirs_exist_ok=True)
        lib = root / OPT / "lib"
        for path in sources(self.engine):
            copy = lib / path.relative_to(HERE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        for requirements, more in ((self.requirements, ()), (requirements_of(self.engine), ("--no-deps",))):
            self._run(self.uv, "pip", "install", "--quiet", "--require-hashes", "-r", str(requirements), *more,
                      "--target", str(root / OPT / "packages"), "--python-version", PYTHON, "--python-platform", PLATFORM,
                      UV_LINK_MODE="copy")  # fmt: skip
        prefix = self._engine_of_the_store(root)
        (root / "etc/coffer").mkdir(parents=True, exist_ok=True)
        (root / "etc/coffer/image.env").write_text(f"DATASTORE={self.engine}\nENGINE_PREFIX={prefix}\n")
        code = f"from guest_worker.datastores import recipe_of; print(recipe_of('{self.engine}').version('{prefix}'))"
        version = self._inside(root, "/usr/bin/env", f"PYTHONPATH=/{OPT}/lib", "python3", "-c", code).strip()
        self._inside(root, "python3", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", f"/{OPT}")
        for unit in (
            "coffer-disk.service",
            "coffer-guest.service",
            "systemd-networkd.service",
            "systemd-resolved.service",
        ):
            self._inside(root, "systemctl", "--quiet", "enable", unit)
        self._inside(root, "systemctl", "--quiet", "mask", *masked(root))
        self._inside(root, "passwd", "--quiet", "--lock", "root")
        (root / "boot/grub").mkdir(parents=True, exist_ok=True)
        (root / "boot/grub/grub.cfg").write_text(menu(root))
        return version

    def _engine_of_the_store(self, root: Path) -> str:
        """Copy an engine that the release lacks; return its prefix in the image."""
        edition = self._edition
        if edition is None:
            return ""
        found = edition.take(self.store or self.to)
        shutil.copytree(found, root / OPT / "engine", symlinks=True)
        return f"/{OPT}/engine"

    def _inside(self, root: Path, *command: str) -> str:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": str(EPOCH)}
        with self.log.open("a") as log:
            return subprocess.run(
                ["chroot", str(root), *command],
                check=True,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            ).stdout


def check_tools() -> None:
    """Raise CannotBuild for what is missing."""
    if os.geteuid() != 0:
        raise CannotBuild("an image for Nova is built by root: its files belong to several users")
    missing = [
        package for tool, package in TOOLS.items() if not shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin:/bin")
    ]
    if not (GRUB / "boot.img").exists():
        missing.append("grub-pc-bin")
    if missing:
        raise CannotBuild(f"please install first: apt-get install --no-install-recommends {' '.join(sorted(missing))}")


def debian_mirror() -> str:
    """The lines of sources.list for this release that apt of this machine uses."""
    form = "$(RELEASE)|$(SITE)|$(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = {(release, uri) for release, _, uri in (each.split("|") for each in lines) if release.startswith(SUITE)}
    if not found:
        raise CannotBuild(f"apt of this machine names no mirror of {SUITE}: say one with --mirror")
    return "\n".join(f"deb {uri} {release} main" for release, uri in sorted(found))


def masked(root: Path) -> Iterator[str]:
    """Units that no database server needs: logins, and what changes packages by itself."""
    yield from (
        "getty@tty1.service",
        "serial-getty@ttyS0.service",
        "console-getty.service",
        "cloud-init-hotplugd.socket",
        "e2scrub_reap.service",  # of LVM; seen to hold a boot up for minutes
    )
    for timer in sorted((root / "usr/lib/systemd/system").glob("*.timer")):
        if timer.name.startswith(("apt-", "dpkg-", "e2scrub")):
            yield timer.name


def menu(root: Path) -> str:
    """GRUB's menu, of one entry that is taken at once."""
    kernel, initrd = (max(root.glob(f"boot/{name}-*")).name for name in ("vmlinuz", "initrd.img"))
    options = "ro console=tty0 console=ttyS0,115200 net.ifnames=0 panic=30"
    return (f"search --no-floppy --label {LABEL} --set=root\n"
            f"linux /boot/{kernel} root=LABEL={LABEL} {options}\ninitrd /boot/{initrd}\nboot\n")  # fmt: skip


def _same_times(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if path.lstat().st_mtime > EPOCH:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)


def _strip(root: Path, engine: str) -> None:
    """Remove what no database server of this engine needs."""
    for pattern in (*NEEDLESS, *recipe_of(engine).needless):
        for name in glob(pattern, root_dir=root):  # noqa: PTH207 - Path.glob does not see a link that leads nowhere
            _remove(root / name)


def _remove(path: Path) -> None:
    """Remove a file, or all that is in a folder."""
    if path.is_dir() and not path.is_symlink():
        for each in path.iterdir():
            shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
    else:
        path.unlink(missing_ok=True)


def _disk(root: Path, raw: Path, size_mib: int) -> None:
    """A disk with GRUB before one partition, whose file system holds the folder."""
    filesystem, core = raw.with_suffix(".ext4"), raw.with_suffix(".core")
    key = str(uuid5(NAMESPACE_DNS, LABEL))
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-L", LABEL, "-U", key, "-E", f"hash_seed={key},root_owner=0:0",
              "-d", str(root), str(filesystem), f"{size_mib - FIRST * SECTOR // 2**20}M"]  # fmt: skip
    fixed = {**os.environ, "E2FSPROGS_FAKE_TIME": str(EPOCH), "SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run(mke2fs, check=True, env=fixed)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-o", str(core), *CORE_MODULES],
                   check=True)  # fmt: skip
    with raw.open("wb") as disk:
        disk.truncate(size_mib * 2**20)
    table = f"label: dos\nlabel-id: 0xc0ffe400\nstart={FIRST}, type=83, bootable\n"
    subprocess.run(["sfdisk", "--quiet", str(raw)], input=table, text=True, check=True)
    with raw.open("r+b") as disk:
        _write_grub(disk.fileno(), (GRUB / "boot.img").read_bytes(), core.read_bytes())
    subprocess.run(["dd", f"if={filesystem}", f"of={raw}", "bs=1M", "conv=notrunc,sparse", "status=none",
                    f"seek={FIRST * SECTOR // 2**20}"], check=True)  # fmt: skip
    filesystem.unlink()


def _write_grub(disk: int, boot: bytes, core: bytes) -> None:
    """Put GRUB into the boot sector and the gap behind it, as grub-bios-setup does.

    The boot sector keeps the partition table; at 0x5c it has the sector of the core image, and the core image's first
    sector ends with a list of where its rest is (sector, length in sectors, segment).
    """
    padded = core + bytes(-len(core) % SECTOR)
    if len(padded) // SECTOR >= FIRST:
        raise CannotBuild("GRUB's core image is too large for the gap before the first partition")
    rest = struct.pack("<QHH", 2, len(padded) // SECTOR - 1, 0x820)
    os.pwrite(disk, padded[: SECTOR - 12] + rest + padded[SECTOR:], SECTOR)
    sector = bytearray(boot[:440])
    sector[0x5C:0x64] = struct.pack("<Q", 1)
    sector[0x66:0x68] = b"\x90\x90"  # boot.img's jump for floppies: not taken from a disk
    os.pwrite(disk, bytes(sector), 0)
    os.pwrite(disk, b"\x55\xaa", 510)


# -- what is told about it ---------------------------------------------------------------------------------------------


def described(engine: str, version: str, digest: str, size_mib: int) -> dict[str, object]:
    """What Glance is told of the image, as `deploy.upload` reads it."""
    return {
        "name": f"coffer-{engine}-{version}",
        "sha256": digest,
        "tags": ["coffer", "database", engine, f"{engine}-{version}"],
        "min_disk": -(-size_mib // 1024),
        "min_ram": 512,
        "disk_format": "qcow2",
        "container_format": "bare",
        "properties": {"os_distro": "debian", "os_version": "12", "hw_rng_model": "virtio", "os_require_quiesce": "no"},
    }


def installed(root: Path) -> Iterator[dict[str, str]]:
    """Name, version and package URL of all software in the image."""
    form = "${Package} ${Version} ${Architecture}\\n"
    listed = subprocess.run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat", form],
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    for line in listed.splitlines():
        name, version, machine = line.split()
        yield _component(name, version, f"pkg:deb/debian/{name}@{version}?arch={machine}&distro={SUITE}")
    for found in sorted(distributions(path=[str(root / OPT / "packages")]), key=lambda each: each.name.lower()):
        yield _component(found.name, found.version, f"pkg:pypi/{found.name.lower()}@{found.version}")
    for listing in (root / OPT / "engine").glob("packages.txt"):
        for line in listing.read_text().splitlines():
            name, version, machine = line.split()[0].removesuffix(".deb").split("_")
            yield _component(name, version, f"pkg:deb/debian/{name}@{version}?arch={machine}")


def _component(name: str, version: str, url: str) -> dict[str, str]:
    return {"type": "library", "name": name, "version": version, "purl": url}


def bill_of_materials(name: str, digest: str, software: Sequence[dict[str, str]]) -> dict[str, object]:
    """The list of software as CycloneDX writes it."""
    subject = {"type": "operating-system", "name": name, "version": digest[:12],
               "hashes": [{"alg": "SHA-256", "content": digest}]}  # fmt: skip
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": subject},
            "components": list(software)}  # fmt: skip
