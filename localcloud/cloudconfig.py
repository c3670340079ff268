"""The part of cloud-init that servers get: `write_files` of a cloud-config."""

import base64
import binascii
import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Account:
    """The unprivileged user of a server; None leaves owners as they are."""

    uid: int
    gid: int
    name: str = "guest"


def write_files(root: Path, user_data: str, account: Account | None) -> None:
    """Do what a cloud-config says, below the server's root. Other kinds of user data are left alone.

    `user_data` is base64, as Nova keeps it.
    """
    text = base64.b64decode(user_data)
    if text[:2] == b"\x1f\x8b":
        text = gzip.decompress(text)
    if not text.startswith(b"#cloud-config"):
        return
    config = yaml.safe_load(text) or {}
    for each in config.get("write_files", []):
        _write(root, each, account)


def _write(root: Path, wanted: dict[str, Any], account: Account | None) -> None:
    path = _below(root, str(wanted["path"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = int(str(wanted.get("permissions", "0644")), 8)
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if wanted.get("append") else os.O_TRUNC)
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(_content(wanted))
    owner = str(wanted.get("owner", "root:root")).split(":")[0]
    if account is not None:
        uid, gid = (account.uid, account.gid) if owner == account.name else (0, 0)
        os.chown(path, uid, gid)


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


def _below(root: Path, path: str) -> Path:
    wanted = os.path.normpath("/" + path).lstrip("/")
    return root / wanted
