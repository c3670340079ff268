"""Keys by name and epoch: everything derives from the master keys by HKDF, and each process holds only its branch.

    master key of an epoch            control plane: workers, API, codec server
    ├── c:<epoch>                     payloads of the control plane
    └── guests' branch of the epoch   gateway: it can speak with guests, and open nothing of the control plane's
        ├── i:<instance>:<epoch>      payloads and secrets of one guest; the guest holds this one alone
        ├── e:<epoch>                 enrolment tickets
        └── t:<epoch>                 wrapped task tokens

New things are sealed under the current epoch; what older epochs sealed stays readable while their keys are kept.
"""

import hmac
import logging
import os
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from contract.names import epoch_of, guest_key_id

KEY_BYTES = 32
NONCE_BYTES = 12
LOOK_EVERY = 1.0  # seconds between two looks whether a file of keys has changed
KEPT = 20_000  # derived keys that a process remembers
LEARN_EVERY = 5.0  # seconds between two questions of a guest for its keys

log = logging.getLogger(__name__)


class NotOurs(ValueError):
    """A sealed value does not open: another key, another purpose, or damaged."""


@dataclass(frozen=True)
class Ring:
    """Secrets by epoch, and the epoch that seals."""

    secrets: Mapping[int, bytes]
    current: int

    @classmethod
    def of(cls, secret: bytes) -> "Ring":
        """The ring of an installation that has never rotated."""
        return cls({1: secret}, 1)


class RingFile:
    """A ring in a file of one line per epoch: `EPOCH HEX`, and `current` behind the one that seals.

    The first line says of what: `master` or `guests`. A file of 32 bytes, raw or hexadecimal, is a master's epoch 1. It
    is read again when it has changed, so that a rotation needs no restart.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._path = path
        self._kind = kind
        self._seen: tuple[int, int, int] | None = None
        self._looked = 0.0
        self._ring = self._read()

    def __call__(self, *, needed: int | None = None) -> Ring:
        """Return the ring; `needed` is an epoch that should be in it by now."""
        missing = needed is not None and needed not in self._ring.secrets
        if missing or time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            if self._stamp() != self._seen:
                self._read_again()
        return self._ring

    def _read_again(self) -> None:
        try:
            self._ring = self._read()
        except (OSError, ValueError) as error:  # the keys that are known go on
            log.error("the changed keys cannot be read: %s", error)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return self._seen
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> Ring:
        self._seen = self._stamp()
        return parse(self._path.read_bytes(), self._kind, str(self._path))


def parse(content: bytes, kind: str, where: str) -> Ring:
    """Read a ring; ValueError naming the place when it is none."""
    if kind == "master" and len(content) == KEY_BYTES:
        return Ring.of(content)
    lines = [line.split() for line in content.decode(errors="replace").splitlines() if line.strip()]
    try:
        if kind == "master" and len(lines) == 1 and len(lines[0]) == 1:
            return Ring.of(_secret(lines[0][0]))
        if lines[0] != [kind]:
            raise ValueError("another kind of file")
        secrets = {int(line[0]): _secret(line[1]) for line in lines[1:]}
        (current,) = [int(line[0]) for line in lines[1:] if line[2:] == ["current"]]
    except (ValueError, IndexError):
        raise ValueError(f"{where} does not hold {kind} keys of {KEY_BYTES} bytes") from None
    return Ring(secrets, current)


def _secret(text: str) -> bytes:
    secret = bytes.fromhex(text)
    if len(secret) != KEY_BYTES:
        raise ValueError("another length")
    return secret


def render(ring: Ring, kind: str) -> str:
    """Write a ring as `RingFile` reads it."""
    lines = [
        f"{epoch} {secret.hex()}{' current' if epoch == ring.current else ''}"
        for epoch, secret in sorted(ring.secrets.items())
    ]
    return "\n".join([kind, *lines, ""])


def derive(secret: bytes, name: str) -> bytes:
    """The key of a name below a secret (HKDF with SHA-256)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=name.encode()).derive(secret)


def branch_of(ring: Ring) -> Ring:
    """The guests' branch of a master ring: what the gateway is given."""
    return Ring({epoch: derive(secret, f"guests:{epoch}") for epoch, secret in ring.secrets.items()}, ring.current)


class Keyring(ABC):
    """Opens and seals by key id. Which ids it knows is what its holder is trusted with."""

    @property
    @abstractmethod
    def current(self) -> int:
        """The epoch that seals new things."""

    @abstractmethod
    def key(self, key_id: str) -> bytes:
        """Return the key of this name; NotOurs when this process may not have it."""

    def encrypt(self, key_id: str, plain: bytes, purpose: bytes) -> bytes:
        """Return nonce and ciphertext; `purpose` must be the same to open it."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self.key(key_id)).encrypt(nonce, plain, purpose)

    def decrypt(self, key_id: str, data: bytes, purpose: bytes) -> bytes:
        """Return the plain bytes; NotOurs when key, purpose or content is wrong."""
        try:
            return AESGCM(self.key(key_id)).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], purpose)
        except (InvalidTag, ValueError) as error:
            raise NotOurs(f"cannot open a value sealed with {key_id!r}") from error

    def mac(self, key_id: str, message: bytes) -> bytes:
        """Return the HMAC-SHA256 of a message."""
        return hmac.digest(self.key(key_id), message, "sha256")


class _Branches(Keyring):
    """Derives from rings that others keep, and remembers the keys that were asked for lately."""

    kinds: ClassVar[frozenset[str]]

    def __init__(self, ring: Callable[..., Ring]) -> None:
        self._ring = ring
        self._kept: OrderedDict[str, tuple[bytes, bytes]] = OrderedDict()

    @property
    def current(self) -> int:
        return self._ring().current

    def key(self, key_id: str) -> bytes:
        kind, epoch = key_id.partition(":")[0], epoch_of(key_id)
        if kind not in self.kinds or epoch is None:
            raise NotOurs(f"no key {key_id[:80]!r} here")
        secret = self._ring(needed=epoch).secrets.get(epoch)
        if secret is None:
            raise NotOurs(f"no key {key_id[:80]!r} here: its epoch is not kept")
        known, derived = self._kept.get(key_id, (b"", b""))
        if known != secret:  # a secret may be forgotten, or replaced
            derived = self._derive(secret, key_id, kind, epoch)
            self._kept[key_id] = (secret, derived)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return derived

    def _derive(self, secret: bytes, key_id: str, kind: str, epoch: int) -> bytes:
        raise NotImplementedError


class MasterKeyring(_Branches):
    """The control plane's: derives any key."""

    kinds = frozenset({"c", "i", "e", "t"})

    @classmethod
    def of(cls, secret: bytes) -> "MasterKeyring":
        """The keyring of one master key."""
        return cls(_always(Ring.of(secret)))

    @classmethod
    def read(cls, path: Path) -> "MasterKeyring":
        """The keyring of a file, see `RingFile`."""
        return cls(RingFile(path, "master"))

    def _derive(self, secret: bytes, key_id: str, kind: str, epoch: int) -> bytes:
        if kind == "c":
            return derive(secret, key_id)
        return derive(derive(secret, f"guests:{epoch}"), key_id)

    def branch(self) -> "GuestsKeyring":
        """What the gateway has of it."""
        return GuestsKeyring(lambda needed=None: branch_of(self._ring(needed=needed)))


class GuestsKeyring(_Branches):
    """The gateway's: every guest's key, and nothing of the control plane's."""

    kinds = frozenset({"i", "e", "t"})

    @classmethod
    def read(cls, path: Path) -> "GuestsKeyring":
        """The keyring of a file that `python -m contract.keys` made."""
        return cls(RingFile(path, "guests"))

    def _derive(self, secret: bytes, key_id: str, kind: str, epoch: int) -> bytes:
        return derive(secret, key_id)

    def of_guest(self, instance_id: UUID | str) -> Ring:
        """All keys of one guest, for its enrolment."""
        ring = self._ring()
        return Ring({epoch: self.key(guest_key_id(instance_id, epoch)) for epoch in ring.secrets}, ring.current)


class OwnKeyring(Keyring):
    """A guest's: its own keys. One of an epoch that it has not met yet is asked for, at the gateway."""

    def __init__(self, instance_id: UUID | str, ring: Ring, learn: Callable[[], Ring | None] | None = None) -> None:
        """`learn` returns the keys that the gateway has for this guest now, or None while it cannot be asked."""
        self.instance_id = str(instance_id)
        self._ring = ring
        self._learn = learn
        self._asked = -LEARN_EVERY

    @property
    def current(self) -> int:
        return self._ring.current

    def take(self, ring: Ring) -> None:
        """Hold these keys from now on."""
        self._ring = ring

    def key(self, key_id: str) -> bytes:
        epoch = epoch_of(key_id)
        if epoch is None or key_id != guest_key_id(self.instance_id, epoch):
            raise NotOurs(f"no key {key_id[:80]!r} here")
        if epoch not in self._ring.secrets:
            self._ask()
        try:
            return self._ring.secrets[epoch]
        except KeyError:
            raise NotOurs(f"no key {key_id[:80]!r} here") from None

    def _ask(self) -> None:
        """Learn what was rotated in; not more often than it can be of use."""
        if self._learn is not None and time.monotonic() - self._asked >= LEARN_EVERY:
            learnt = self._learn()
            if learnt is not None:
                self._asked, self._ring = time.monotonic(), learnt


class NoKeys(Keyring):
    """For processes that carry no payload."""

    @property
    def current(self) -> int:
        return 0

    def key(self, key_id: str) -> bytes:
        raise NotOurs(f"no key {key_id[:80]!r} here")


def _always(ring: Ring) -> Callable[..., Ring]:
    return lambda needed=None: ring
