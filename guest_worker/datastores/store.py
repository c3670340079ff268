"""Engines that the distribution's release lacks: packages of another suite of its own mirror, unpacked into a folder.

Nothing is installed: apt resolves and checks the packages in a state of its own, and the engine's program is started by
the loader of the C library that came with it. Standard library alone.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = ".store"  # beside the images: every server sees it, and cannot write it
COMPLETE = "packages.txt"  # written last: name, version and digest of each package
LOADER = """#!/bin/sh
here=$(dirname "$(readlink -f "$0")"){up}
exec "$here/{loader}" --library-path "$here/{libraries}" --argv0 "$0" "$here/{program}" "$@"
"""
NEEDLESS = (
    "etc",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/bin",
    "usr/lib/systemd",
)
NOT_UNPACKED = ("perl", "libperl", "gcc-", "libgdbm", "libdb5", "libc-gconv")
SECONDS = 300


class NotToBeHad(OSError):
    """The packages cannot be had here; says why in a sentence."""


@dataclass(frozen=True)
class Store:
    """A package of a suite, of one series (`9.7`), with others that it does not ask for, and its programs, by their path.

    `needless`: what its packages bring and is not kept, as patterns below the folder.
    The mirror keeps a suite's newest version alone, so none is pinned: what was taken is written down, apt has checked
    its digests against the suite's signature, and it stays until the folder is removed.
    """

    suite: str
    package: str
    series: str
    programs: tuple[str, ...]
    beside: tuple[str, ...] = ()
    needless: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """The series without the epoch that Debian puts before it."""
        return self.series.rpartition(":")[2]

    def prefix(self, images: Path) -> Path | None:
        """Where the newest is that was taken with all of these programs, if any."""
        found = (images / FOLDER).glob(f"{self.package}-*/{COMPLETE}")
        whole = (
            each for each in found if all((each.parent / "bin" / Path(name).name).exists() for name in self.programs)
        )
        newest = max(whole, key=lambda each: each.stat().st_mtime, default=None)
        return newest.parent if newest else None

    def take(self, images: Path) -> Path:
        """Take the packages and unpack them; NotToBeHad when that is not possible here."""
        there = self.prefix(images)
        if there is not None:
            return there
        folder = images / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{self.package}-", dir=folder) as work:
            apt = Apt(Path(work) / "apt", self.suite)
            version = apt.candidate(self.package)
            if not version.startswith(f"{self.series}."):
                raise NotToBeHad(f"{self.suite} has {self.package} {version}, not {self.series}")
            new = Path(work) / "new"
            new.mkdir()
            self._unpack(apt.packages(self.package, *self.beside), new)
            (new / COMPLETE).write_text(apt.listing())
            for path in (new, *new.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            there = folder / f"{self.package}-{version.replace(':', '_')}"  # a colon parts folders of libraries
            shutil.rmtree(there, ignore_errors=True)
            new.rename(there)
        return there

    def _unpack(self, packages: list[Path], new: Path) -> None:
        for each in packages:
            if not each.name.startswith(NOT_UNPACKED):
                _run(["dpkg-deb", "-x", str(each), str(new)])
        for name in NEEDLESS:
            if not any(each.startswith(f"{name}/") for each in self.programs):
                shutil.rmtree(new / name, ignore_errors=True)
        for pattern in self.needless:
            for each in new.glob(pattern):
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        loader = next((new / "usr").glob("lib*/ld-linux*.so.*"))
        libraries = next((new / "usr/lib").glob("*/libc.so.6")).parent
        (new / "bin").mkdir()
        for program in self.programs:
            place = new / program
            if place.read_bytes().startswith(b"\x7fELF"):
                real = place.rename(place.with_name(f"{place.name}.elf"))  # scripts start it where it was
                text = LOADER.format(up="/.." * (len(Path(program).parts) - 1), loader=loader.relative_to(new),
                                     libraries=libraries.relative_to(new), program=real.relative_to(new))  # fmt: skip
                place.write_text(text)
                place.chmod(0o755)
            (new / "bin" / place.name).symlink_to(f"../{program}")


class Apt:
    """apt for one suite of the distribution's own mirror, with a state of its own that knows no installed package."""

    def __init__(self, folder: Path, suite: str) -> None:
        """Read which packages there are."""
        if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
            raise NotToBeHad("this machine has no apt")
        self._cache = folder / "cache"
        for name in ("lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb {_mirror()} {suite} main\n")
        settings = {
            "Dir::State": folder,
            "Dir::State::status": folder / "status",
            "Dir::State::lists": folder / "lists",
            "Dir::Cache": self._cache,
            "Dir::Etc::sourcelist": folder / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "",  # the folder is ours alone
            "Debug::NoLocking": "true",
            "Acquire::Languages": "none",
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "20",
        }
        self._options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        self._do("apt-get", "update", "-qq", "--error-on=any")

    def _do(self, *command: str) -> str:
        return _run([command[0], *self._options, *command[1:]])

    def candidate(self, package: str) -> str:
        """The version that would be taken."""
        for line in self._do("apt-cache", "policy", package).splitlines():
            name, _, value = line.strip().partition(": ")
            if name == "Candidate" and value != "(none)":
                return value
        raise NotToBeHad(f"the mirror has no package {package}")

    def packages(self, *names: str) -> list[Path]:
        """The files of packages and of all that they need."""
        self._do("apt-get", "install", "-qq", "-y", "--download-only", *names)
        return sorted((self._cache / "archives").glob("*.deb"))

    def listing(self) -> str:
        """Name, version and digest of each file."""
        files = [str(each) for each in sorted((self._cache / "archives").glob("*.deb"))]
        return "".join(
            f"{Path(line.split(maxsplit=1)[1]).name} sha256:{line.split()[0]}\n"
            for line in _run(["sha256sum", *files]).splitlines()
        )


def _mirror() -> str:
    """The distribution's mirror that this machine's apt uses, with the key that it trusts it by."""
    form = "$(ORIGIN)|$(LABEL)|$(SIGNED_BY)|$(REPO_URI)"
    for line in _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"]).splitlines():
        origin, label, key, address = line.split("|")
        if origin == label == "Debian":
            return f"[signed-by={key}] {address}" if key.startswith("/") else address
    raise NotToBeHad("apt of this machine names no mirror of Debian")


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace",
                              env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{command[0]} did not end within {SECONDS} s") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotToBeHad(f"{command[0]} failed: {said[-1] if said else done.returncode}")
    return done.stdout
