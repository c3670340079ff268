"""`python -m guest_worker.image`: build an image for the embedded cloud, a folder with a manifest; or for Nova, a qcow2."""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from guest_worker.datastores import managers, recipe_of
from guest_worker.datastores.recipe import requirements_of
from guest_worker.image.nova import CannotBuild, NovaImage
from guest_worker.image.sources import HERE, sources

MANIFEST = """name: {name}
tags: [database, {engine}, {name}]
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
  MALLOC_TRIM_THRESHOLD_: "65536"
  ROOT: "{{root}}"
  BIND_ADDRESS: "{{address}}"
  MEMORY_MIB: "{{memory_mib}}"
  DATASTORE: "{engine}"
  ENGINE_PREFIX: "{prefix}"
{template}  ENGINE_USER: "{{user:engine}}"
  VOLUME_MOUNTED_AT: "{{volume}}"
"""


def digest(engine: str, requirements: Path, prefix: str) -> str:
    """What the image is made of: when it changes, the image is recreated."""
    made_of = hashlib.sha256(requirements.read_bytes() + requirements_of(engine).read_bytes() + prefix.encode())
    for path in sources(engine):
        made_of.update(str(path.relative_to(HERE)).encode() + path.read_bytes())
    return made_of.hexdigest()


def build_venv(folder: Path, python: str, requirements: Path, uv: str) -> Path:
    """Make the guests' venv, shared by all images of a folder; return its python."""
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes() + python.encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([uv, "venv", "--quiet", "--python", python, str(folder)], check=True)
        install(uv, folder / "bin/python", requirements)
        stamp.write_text(wanted)
    return folder / "bin/python"


def install(uv: str, python: Path, requirements: Path, *more: str) -> None:
    """Install a locked list."""
    command = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(requirements)]
    environment = {**os.environ, "UV_COMPILE_BYTECODE": "1", "UV_LINK_MODE": "copy"}
    subprocess.run([*command, *more], check=True, env=environment)


def prefixes_of(engine: str, images: Path) -> list[Path | None]:
    """Where the programs of each series are that there is here; None: in the system's folders."""
    recipe = recipe_of(engine)
    if recipe.store is not None and recipe.store.prefix(images) is None:
        raise FileNotFoundError(f"{engine} is not installed: no package of it is below {images}")
    found = [(store, store.prefix(images) if store else None) for store in recipe.editions]
    return [prefix for store, prefix in found if prefix or store is None]


def build(engine: str, prefix: Path | None, said: argparse.Namespace) -> Path:
    """Make the folder of a series' image, readable to every user; no error if it is current."""
    name = f"{engine}-{recipe_of(engine).version(str(prefix or ''))}"
    seen = f"{{images}}/{prefix.relative_to(said.to)}" if prefix else ""
    folder: Path = said.to / name
    wanted = digest(engine, said.requirements, seen)
    stamp = folder / "digest"
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    python = build_venv(said.to / ".venv", said.python, said.requirements, said.uv)
    new = folder.with_name(f".{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for path in sources(engine):
        copy = new / "lib" / path.relative_to(HERE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    install(said.uv, python, requirements_of(engine), "--target", str(new / "lib"), "--no-deps")
    subprocess.run([str(python), "-m", "compileall", "-q", str(new / "lib")], check=True)
    template = ""
    if make_template(engine, str(prefix or ""), new / "template"):
        template = '  ENGINE_TEMPLATE: "{image}/template"\n'
    (new / "manifest.yaml").write_text(MANIFEST.format(name=name, engine=engine, prefix=seen, template=template))
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


def make_template(engine: str, prefix: str, folder: Path) -> bool:
    """Make the data directory that new instances copy; False for an engine that makes one of its own for each.

    It has no password, and nothing that tells instances apart: the driver adds that to the copy.
    """
    command = recipe_of(engine).install
    if command is None:
        return False
    subprocess.run(command(prefix, folder), check=True, stdout=subprocess.DEVNULL)
    return True


def main() -> None:
    """Build the images that the command line names, one for each series; print their folders."""
    ask = argparse.ArgumentParser(prog="python -m guest_worker.image", description=__doc__)
    ask.add_argument("--engine", choices=managers(), required=True)
    ask.add_argument("--to", type=Path, required=True, help="folder of all images")
    ask.add_argument("--python", default="/usr/bin/python3", help="interpreter that every user can run")
    ask.add_argument("--requirements", type=Path, default=HERE / "requirements/guest.txt")
    ask.add_argument("--uv", default="uv")
    ask.add_argument("--nova", action="store_true", help="an image for Nova, with its list of software beside it")
    ask.add_argument(
        "--mirror", default="", help="for Nova: mirror of Debian 12, as in sources.list; apt's own if not said"
    )
    ask.add_argument("--series", default="", help="for Nova: of the engine, where there is another than the release's")
    said = ask.parse_args()
    try:
        if said.nova:
            sys.stdout.write(f"{build_nova(said)}\n")
            return
        for prefix in prefixes_of(said.engine, said.to):
            sys.stdout.write(f"{build(said.engine, prefix, said)}\n")
    except CannotBuild as error:
        sys.exit(f"cannot build the image: {error}")


def build_nova(said: argparse.Namespace) -> Path:
    """Make the image that Glance takes."""
    log = said.to / f"{said.engine}.log"
    return NovaImage(said.engine, said.to, said.requirements, said.uv, said.mirror, series=said.series, log=log).build()


if __name__ == "__main__":
    main()
