"""The part of cloud-init that servers get: `write_files` of a cloud-config."""

import base64
import binascii
import gzip
import zlib
from pathlib import Path
from typing import Any

import yaml

from localcloud import below
from localcloud.below import OURS
from localcloud.tree import Users


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
