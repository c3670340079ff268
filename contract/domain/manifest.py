"""What a backup is made of in the object store: its manifest, and the names of its objects.

The manifest is written last, and its presence is the backup. It says all that a restore needs but for the key.
"""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import StringConstraints

from contract.domain.fact import Fact, Line, Number

MANIFEST = "manifest.json"
FORMAT = 1
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def backup_prefix(instance_id: UUID, backup_id: UUID) -> str:
    """What the names of a backup's objects begin with."""
    return f"{instance_id}/{backup_id}/"


def chunk_name(number: int) -> str:
    """The name of a chunk below the prefix; the first one is 1."""
    return f"{number:06}"


class StoredChunk(Fact):
    """One object as the store has it. `md5` is what stores tell of it themselves (ETag)."""

    size: Number
    sha256: Sha256
    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class Manifest(Fact):
    """All of one backup. `size_bytes`: of the data directory; `attempt`: what the chunks of one attempt have in common.

    `seal`: a MAC of all the rest under the backup's key, so that a manifest is not believed for its place alone.
    """

    format: int = FORMAT
    instance_id: UUID
    backup_id: UUID
    parent_id: UUID | None = None
    datastore: Line
    series: Line
    engine_version: Line
    position: Line = ""
    size_bytes: Number
    began: datetime
    ended: datetime
    codec: str = "zstd, aes-256-gcm"
    key_id: str = ""
    attempt: str
    chunks: tuple[StoredChunk, ...]
    seal: str = ""

    def sealed(self, key: bytes) -> "Manifest":
        """With its seal."""
        return self.model_copy(update={"seal": self._mac(key)})

    def is_sealed_with(self, key: bytes) -> bool:
        """Whether nothing of it was changed by whoever has not the key."""
        return hmac.compare_digest(self.seal, self._mac(key))

    def _mac(self, key: bytes) -> str:
        return hmac.new(key, self.model_dump_json(exclude={"seal"}).encode(), hashlib.sha256).hexdigest()
