"""The root folder of a server: what is in it before its init starts.

With privilege it is a root file system that the server cannot leave: folders of the host's that programs need are shown
in it read-only, and all of the rest is the server's own. All but what the image names is root's.
"""

import base64
import binascii
import gzip
import os
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from localcloud import below
from localcloud.below import OURS, ROOT, Owner

USERS_PER_SERVER = 2
SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
ETC_FOLDERS = ("alternatives", "ssl/certs")  # whole folders: a single file that is shown does not survive its renaming
ETC_FILES = ("ld.so.cache", "ld.so.conf", "localtime", "mke2fs.conf", "protocols", "services", "ssl/openssl.cnf")
OWN = {
    "hosts": "127.0.0.1 localhost\n",
    "host.conf": "multi on\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
}
IMAGES, VOLUME = "/images", "/volume"


@dataclass(frozen=True)
class Users:
    """The unprivileged users of a server, by name."""

    ids: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], first: int) -> "Users":
        """Those that an image names, `guest` if it names none; ValueError for more than a server has."""
        names = cls.names(manifest)
        if len(names) > USERS_PER_SERVER or "root" in names:
            raise ValueError(f"an image has at most {USERS_PER_SERVER} users, and root is none of them")
        return cls({name: first + number for number, name in enumerate(names)})

    @staticmethod
    def names(manifest: Mapping[str, Any]) -> list[str]:
        """The names of the unprivileged users of an image."""
        return [str(each) for each in manifest.get("users", ["guest"])]

    def owner(self, user: str, group: str = "") -> Owner:
        """Ids of a user and of a group, which is called as its user; unknown ones are root's."""
        return Owner(self.ids.get(user, 0), self.ids.get(group or user, 0))


class Tree:
    """Makes what a server finds below its root."""

    def __init__(self, root: Path, users: Users | None) -> None:
        """Without users, all belongs to whoever makes it, and nothing of the host's is shown."""
        self._root = root
        self._users = users

    def _owner(self, user: str = "root", group: str = "") -> Owner:
        return self._users.owner(user, group) if self._users else OURS

    def make(self, folders: list[dict[str, Any]]) -> None:
        """The skeleton, and the folders that the image wants (path, mode, user, group); no error if it is there."""
        self._root.mkdir(parents=True, exist_ok=True)
        for path in (".", "dev/disk/by-id", "etc", "proc", "run", "var", "var/lib"):
            below.folder(self._root, path, 0o755, self._owner())
        below.folder(self._root, "tmp", 0o1777, self._owner())
        below.folder(self._root, "home", 0o750, self._owner("guest"))
        below.empty(self._root, "run")
        for each in folders:
            owner = self._owner(str(each.get("user", "root")), str(each.get("group", "")))
            below.folder(self._root, str(each["path"]), int(str(each.get("mode", "0755")), 8), owner)

    def show(self, images: Path, volume: str) -> list[list[Any]]:
        """Make the places for what is shown of the host; return source, place, and whether it may be written."""
        shown = [["/" + name, name, False] for name in SYSTEM if self._place(Path("/") / name, name)]
        shown += [
            [f"/etc/{name}", f"etc/{name}", False]
            for name in ETC_FOLDERS
            if self._place(Path("/etc") / name, f"etc/{name}")
        ]
        shown += [[str(images), IMAGES.lstrip("/"), False]]
        below.folder(self._root, IMAGES, 0o755, ROOT)
        if volume:
            below.folder(self._root, VOLUME, 0o755, ROOT)
            shown.append([volume, VOLUME.lstrip("/"), True])
        return shown

    def _place(self, source: Path, name: str) -> bool:
        """Whether the host's folder is to be shown; a link to one becomes the same link."""
        if source.is_symlink():
            below.link(self._root, name, os.readlink(source))
            return False
        if source.is_dir():
            below.folder(self._root, name, 0o755, ROOT)
            return True
        return False

    def write_etc(self) -> None:
        """The server's own users, and what programs look up in `/etc`: copies, which stay when the host's change."""
        ids = {"root": 0, "nobody": 65534, **(self._users.ids if self._users else {})}
        homes = {"root": "/root", "guest": "/home"}
        passwd = [f"{name}:x:{uid}:{uid}::{homes.get(name, '/nonexistent')}:/bin/sh\n" for name, uid in ids.items()]
        group = [f"{name}:x:{uid}:\n" for name, uid in ids.items()]
        for name, text in {**OWN, "passwd": "".join(passwd), "group": "".join(group)}.items():
            below.write(self._root, f"etc/{name}", text.encode(), 0o644, ROOT)
        for name in ETC_FILES:
            source = Path("/etc") / name
            if source.is_file():
                below.write(self._root, f"etc/{name}", source.read_bytes(), 0o644, ROOT)


def remove(folder: Path) -> None:
    """Remove a server's folder; what its users have put there is not followed."""
    shutil.rmtree(folder, ignore_errors=True)


# -- cloud-init ------------------------------------------------------------------------------------------------------


def write_files(root: Path, user_data: str, users: Users | None) -> None:
    """Do what a cloud-config says, below the server's root. Other kinds of user data are left alone.

    `user_data` is base64, as Nova keeps it. Without users, owners are left as they are.
    """
    text = base64.b64decode(user_data)
    if text[:2] == b"\x1f\x8b":
        text = gzip.decompress(text)
    if not text.startswith(b"#cloud-config"):
        return
    config = yaml.safe_load(text) or {}
    for each in config.get("write_files", []):
        _write(root, each, users)


def _write(root: Path, wanted: dict[str, Any], users: Users | None) -> None:
    mode = int(str(wanted.get("permissions", "0644")), 8)
    user, _, group = str(wanted.get("owner", "root:root")).partition(":")
    owner = users.owner(user, group) if users else OURS
    put = below.append if wanted.get("append") else below.write
    put(root, str(wanted["path"]), _content(wanted), mode, owner)


def _content(wanted: dict[str, Any]) -> bytes:
    content, encoding = wanted.get("content", ""), str(wanted.get("encoding", "text/plain"))
    data = content if isinstance(content, bytes) else str(content).encode()
    try:
        if "b64" in encoding or "base64" in encoding:
            data = base64.b64decode(data)
        if "gz" in encoding:
            data = gzip.decompress(data)
    except (binascii.Error, zlib.error, OSError):
        return b""
    return data
