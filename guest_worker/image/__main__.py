"""`python -m guest_worker.image`: build an image for the embedded cloud, a folder with a manifest."""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from guest_worker import host

HERE = Path(__file__).resolve().parents[2]
PACKAGES = ("guest_worker", "workflows")
MANIFEST = """name: {name}
tags: [database, {engine}]
grace: 30
users: [guest, engine]
folders:
  - {{path: var/lib/guest, user: guest, mode: "0700"}}
  - {{path: var/lib/engine, user: guest, group: engine, mode: "0750"}}
  - {{path: run/engine, user: engine, group: guest, mode: "0750"}}
processes:
  - {{name: disk, user: root, command: ["{{images}}/.venv/bin/python", "-m", "guest_worker.disk"]}}
  - {{name: guest, user: guest, command: ["{{images}}/.venv/bin/python", "-m", "guest_worker"]}}
environment:
  PYTHONPATH: "{{image}}/lib"
  PYTHONDONTWRITEBYTECODE: "1"
  MALLOC_ARENA_MAX: "1"
  ROOT: "{{root}}"
  BIND_ADDRESS: "{{address}}"
  MEMORY_MIB: "{{memory_mib}}"
  ENGINE_USER: "{{user:engine}}"
  VOLUME_MOUNTED_AT: "{{volume}}"
"""


def version_of(engine: str) -> str:
    """The engine's version as the catalogue names it: 10.11, 15."""
    if engine == "mariadb":
        words = host.run([host.find_program("mariadbd"), "--version"]).split()
        number = words[words.index("Ver") + 1]
        return ".".join(number.split("-")[0].split(".")[:2])
    newest = max(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: int(each.parts[4]))
    return newest.parts[4]


def digest(requirements: Path) -> str:
    """What the image is made of: when it changes, the image is made anew."""
    made_of = hashlib.sha256(requirements.read_bytes())
    for package in PACKAGES:
        for path in sorted(each for each in (HERE / package).rglob("*") if each.suffix in (".py", ".json")):
            made_of.update(str(path.relative_to(HERE)).encode() + path.read_bytes())
    return made_of.hexdigest()


def build_venv(folder: Path, python: str, requirements: Path, uv: str) -> Path:
    """Make the guests' venv, shared by all images of a folder; return its python."""
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes() + python.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        environment = {**os.environ, "UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "copy"}
        subprocess.run([uv, "venv", "--quiet", "--python", python, str(folder)], check=True, env=environment)
        install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), "--require-hashes"]
        subprocess.run([*install, "-r", str(requirements)], check=True, env=environment)
        stamp.write_text(wanted)
    return folder / "bin/python"


def build(engine: str, said: argparse.Namespace) -> Path:
    """Make the image's folder, readable to every user; content when it is current."""
    name = f"{engine}-{version_of(engine)}"
    folder: Path = said.to / name
    wanted = digest(said.requirements)
    stamp = folder / "digest"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    python = build_venv(said.to / ".venv", said.python, said.requirements, said.uv)
    new = folder.with_name(f".{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(HERE / package, new / "lib" / package, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    subprocess.run([str(python), "-m", "compileall", "-q", str(new / "lib")], check=True)
    (new / "manifest.yaml").write_text(MANIFEST.format(name=name, engine=engine))
    (new / "digest").write_text(wanted)
    for path in (new, *new.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    old = folder.with_name(f".{name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def main() -> None:
    """Build the image that the command line names; print its folder."""
    ask = argparse.ArgumentParser(prog="python -m guest_worker.image", description=__doc__)
    ask.add_argument("--engine", choices=("mariadb", "postgresql"), required=True)
    ask.add_argument("--to", type=Path, required=True, help="folder of all images")
    ask.add_argument("--python", default="/usr/bin/python3", help="interpreter that every user can run")
    ask.add_argument("--requirements", type=Path, default=HERE / "requirements/guest.txt")
    ask.add_argument("--uv", default="uv")
    said = ask.parse_args()
    sys.stdout.write(f"{build(said.engine, said)}\n")


if __name__ == "__main__":
    main()
