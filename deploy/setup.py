"""`python3 deploy/setup.py demo|mysql|test`: make a fresh machine ready. Standard library alone; broken off, it resumes.

What it makes, and where: environments in `.coffer/venv`, the guests' images in an open place that unprivileged
processes can enter (`open_home`). As root it installs the engines that are missing from Debian's packages, starting
and enabling nothing; elsewhere it says what to install.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guest_worker.datastores.recipe import Recipe
    from guest_worker.datastores.store import Store

HERE = Path(__file__).resolve().parents[1]
CREATE_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
PACKAGES: dict[str, Callable[[], bool]] = {  # beside the engines', which stand in their recipes
    "python3-venv": lambda: python_can("ensurepip"),
    "e2fsprogs": lambda: bool(shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")),
    "util-linux": lambda: bool(shutil.which("losetup", path="/usr/sbin:/sbin")),
    "iproute2": lambda: unprivileged() or bool(shutil.which("ip", path="/usr/sbin:/sbin:/usr/bin:/bin")),
    "nftables": lambda: unprivileged() or bool(shutil.which("nft", path="/usr/sbin:/sbin")),
    "procps": lambda: bool(shutil.which("ps")),
    "zstd": lambda: bool(shutil.which("zstd")),
}
RUNNING = ("control", "embedded")
ENVIRONMENTS = {"demo": RUNNING, "mysql": RUNNING, "newer": RUNNING, "test": ("dev",), "lint": ("dev",)}
STORED = ("mysql", "newer", "test")  # purposes that packages of other suites are taken for


def home() -> Path:
    """Folder of the stack's state."""
    return Path(os.environ.get("COFFER_HOME") or HERE / ".coffer").resolve()


def open_home() -> Path:
    """Folder that unprivileged processes can enter; as root not below the clone, which may be closed to others."""
    said = os.environ.get("COFFER_OPEN_HOME")
    if said:
        return Path(said).resolve()
    if os.geteuid() != 0:
        return home() / "open"
    return Path("/var/lib") / f"coffer-{hashlib.sha256(str(home()).encode()).hexdigest()[:10]}"


def unprivileged() -> bool:
    """Whether servers of the embedded cloud share the host's network."""
    return os.geteuid() != 0


def python() -> str:
    """The system's interpreter: an unprivileged guest can run it, one in somebody's home it cannot."""
    for each in ("/usr/bin/python3", "/usr/bin/python3.13", "/usr/bin/python3.12", "/usr/bin/python3.11"):
        if Path(each).exists() and version_of(each) >= (3, 11):
            return each
    if os.geteuid() == 0:
        sys.exit("set-up: needs Python 3.11 or later as /usr/bin/python3 (Debian 12, Ubuntu 24.04 or later have it)")
    return sys.executable


def version_of(interpreter: str) -> tuple[int, ...]:
    """Major and minor version."""
    said = subprocess.run(
        [interpreter, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True
    )
    return tuple(int(each) for each in said.stdout.split())


def python_can(module: str) -> bool:
    """Whether the interpreter has a module."""
    return subprocess.run([python(), "-c", f"import {module}"], capture_output=True).returncode == 0


def step(sentence: str, work: Callable[[], bool]) -> None:
    """Say what is going on and how long it took; what was there already is not worth a line."""
    began = time.monotonic()
    tty = sys.stdout.isatty()
    if tty:
        sys.stdout.write(f"  … {sentence}\r")
        sys.stdout.flush()
    if work():
        sys.stdout.write(f"  ✓ {sentence} ({time.monotonic() - began:.1f} s)\n")
    elif tty:
        sys.stdout.write("\033[K")
    sys.stdout.flush()


def run(command: list[str], log: Path, **environment: str) -> None:
    """Run with its output in the set-up's log, and show the end of it when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write(f"$ {' '.join(command)}\n")
        file.flush()
        code = subprocess.run(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                              env={**os.environ, **environment}).returncode  # fmt: skip
    if code:
        tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-15:])
        sys.exit(f"set-up: {command[0]} ended with {code}; the end of {log}:\n    {tail}")


def engines() -> "dict[str, Recipe]":
    """What the image of each engine is made of. It stands in the guests' package, which the control plane's images lack."""
    sys.path.insert(0, str(HERE))
    from guest_worker.datastores import managers, recipe_of

    return {each: recipe_of(each) for each in managers()}


def install_packages(log: Path) -> bool:
    """Install what is missing from the distribution, or say what to install."""
    wanted = [*PACKAGES.items(), *(each for recipe in engines().values() for each in recipe.packages.items())]
    missing = [name for name, there in wanted if not there()]
    if not missing:
        return False
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(
            "set-up: please install these first, with Debian's names: " + " ".join(missing)
            + "\n  (Debian, Ubuntu: sudo apt-get install --no-install-recommends " + " ".join(missing)
            + ";\n   no service of theirs needs to run: Coffer starts servers of its own)"
        )  # fmt: skip
    if "postgresql" in missing and not CREATE_CLUSTER.exists():
        CREATE_CLUSTER.parent.mkdir(parents=True, exist_ok=True)
        CREATE_CLUSTER.write_text("create_main_cluster = false\n")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "l"}
    run(["apt-get", "update", "-qq"], log, **quiet)
    run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120",
         "-o", "Dpkg::Options::=--force-confold", *missing], log, **quiet)  # fmt: skip
    if "postgresql" in missing and Path("/run/systemd/system").exists():
        run(["systemctl", "disable", "--now", "postgresql.service"], log)
    return True


def install_uv(log: Path) -> bool:
    """The installer, pinned by hash, in an environment of its own."""
    folder, wanted = home() / "venv/uv", digest("uv")
    if is_current(folder, wanted):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    run([python(), "-m", "venv", str(folder)], log)
    run([str(folder / "bin/pip"), "install", "-q", "--require-hashes", "-r", str(requirements("uv"))], log)
    (folder / "digest").write_text(wanted)
    return True


def install_environment(name: str, log: Path) -> bool:
    """One environment, exactly as locked; made aside by uv, marked last."""
    folder, wanted = home() / "venv" / name, digest(name)
    if is_current(folder, wanted):
        return False
    uv = str(home() / "venv/uv/bin/uv")
    shutil.rmtree(folder, ignore_errors=True)
    run([uv, "venv", "-q", "--python", python(), str(folder)], log)
    run([uv, "pip", "install", "-q", "--python", str(folder / "bin/python"), "--require-hashes", "-r",
         str(requirements(name))], log, UV_COMPILE_BYTECODE="1", UV_LINK_MODE="copy")  # fmt: skip
    (folder / "digest").write_text(wanted)
    return True


def requirements(name: str) -> Path:
    """The locked list of an environment."""
    return HERE / "requirements" / f"{name}.txt"


def digest(name: str) -> str:
    """What an environment is made of."""
    return hashlib.sha256(requirements(name).read_bytes() + python().encode()).hexdigest()


def is_current(folder: Path, wanted: str) -> bool:
    """Whether an environment is complete and as locked."""
    stamp = folder / "digest"
    return stamp.exists() and stamp.read_text() == wanted


def build_images(interpreter: Path, log: Path) -> bool:
    """The images of the database servers; no error if they are current."""
    images = open_home() / "images"
    images.mkdir(parents=True, exist_ok=True)
    before = {path: path.stat().st_mtime for path in images.glob("*/digest")}
    for engine, recipe in engines().items():
        if recipe.store is not None and recipe.store.prefix(images) is None:
            continue
        run([str(interpreter), "-m", "guest_worker.image", "--engine", engine, "--to", str(images), "--python", python(),
             "--uv", str(home() / "venv/uv/bin/uv")], log, PYTHONPATH=str(HERE), PYTHONDONTWRITEBYTECODE="1")  # fmt: skip
    return before != {path: path.stat().st_mtime for path in images.glob("*/digest")}


def take_engines(purpose: str, said: list[str]) -> bool:
    """Take what the distribution's release lacks, all at once: engines (`mysql`), newer series (`newer`), or both.

    `said`: why one cannot be had, which is no failure.
    """
    images = open_home() / "images"
    images.mkdir(parents=True, exist_ok=True)
    wanted = [
        (f"{engine} {store.number}", store)
        for engine, recipe in engines().items()
        for store in (*((recipe.store,) if purpose != "newer" else ()), *(recipe.newer if purpose != "mysql" else ()))
        if store is not None and store.prefix(images) is None
    ]

    def take(name: str, store: "Store") -> None:
        try:
            store.take(images)
        except OSError as error:
            said.append(f"{name} is not offered, for it cannot be had here: {error}")

    threads = [threading.Thread(target=take, args=each) for each in wanted]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return len(said) < len(wanted)


def lock() -> None:
    """Lock each group and each engine's client again: exact versions with hashes, for all platforms, no index's address."""
    fixed = {"uv": [], "guest": [], "control": ["guest"], "embedded": ["control"], "dev": ["control", "embedded"]}
    lists = {each: HERE / "requirements" / each for each in fixed}
    for engine in engines():
        lists[engine] = HERE / "guest_worker/datastores" / engine / "requirements"
        fixed[engine] = ["guest"]
    for name, others in fixed.items():
        command = [str(home() / "venv/uv/bin/uv"), "pip", "compile", "-q", "--universal", "--python-version", "3.11",
                   "--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", *sys.argv[2:],
                   f"{lists[name].name}.in", "-o", f"{lists[name].name}.txt"]  # fmt: skip
        for other in others:
            command += ["-c", f"{lists[other]}.txt"]
        subprocess.run(command, check=True, cwd=lists[name].parent)


def clean() -> None:
    """Forget all: the state, the environments, and what lies in the open place."""
    if os.geteuid() == 0:
        detach_volumes(open_home())
        remove_network(open_home() / "cloud")
    for folder in (open_home(), home()):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            sys.exit(f"clean: {folder} could not be removed whole")


def detach_volumes(folder: Path) -> None:
    """Loop devices of volumes outlive a cloud that was killed, and would hold their space for ever."""
    listed = subprocess.run(["losetup", "--noheadings", "--output", "NAME,BACK-FILE"], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        device, _, file = line.strip().partition(" ")
        if file.strip().startswith(f"{folder}/"):
            subprocess.run(["losetup", "--detach", device], check=False)


def remove_network(state: Path) -> None:
    """Namespaces and bridges outlive a cloud that was killed, and so do the servers in them."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([python(), "-m", "localcloud.links", str(state)], cwd=HERE, env=environment, check=False)


def main() -> None:
    """Do the set-up for the purpose that the command line names."""
    purpose = sys.argv[1] if len(sys.argv) > 1 else "demo"
    if purpose in ("lock", "clean"):
        {"lock": lock, "clean": clean}[purpose]()
        return
    names = ENVIRONMENTS[purpose]
    home().mkdir(parents=True, exist_ok=True, mode=0o700)
    log = home() / "log/setup.log"
    step("database engines from the distribution's packages", lambda: install_packages(log))
    step("uv, the installer", lambda: install_uv(log))
    unavailable: list[str] = []
    taking = threading.Thread(
        target=step, args=("engines of another suite", partial(take_engines, purpose, unavailable))
    )
    if purpose in STORED:
        taking.start()
    for name in names:
        step(f"Python environment {name!r}", partial(install_environment, name, log))
    if purpose in STORED:
        taking.join()
    for sentence in unavailable:
        sys.stdout.write(f"  - {sentence}\n")
    if purpose != "lint":
        interpreter = home() / "venv" / names[0] / "bin/python"
        step("images of the database servers", lambda: build_images(interpreter, log))


if __name__ == "__main__":
    main()
