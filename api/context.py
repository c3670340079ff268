"""Who asks, and what the process works with."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from temporalio.client import Client

from api.health import Health
from api.keystone import Identity
from api.settings import ApiSettings
from contract.domain.operation import Caller
from contract.keys.keyring import Keyring
from records.backup_reads import BackupReader
from records.reads import Reader, Scope
from records.requests import Requests

if TYPE_CHECKING:
    from api.openstack.barbican import Barbican
    from api.policy import Policy
    from api.rate_limits import RateLimits
    from api.swift.backups import BackupContainers
    from api.swift.containers import LogContainers


@dataclass(frozen=True)
class RequestContext:
    """The caller of one request, allowed to make it; links start with `base`."""

    identity: Identity
    is_admin: bool
    request_id: str
    base: str

    @property
    def project_id(self) -> str:
        """The project that the token is for, which is the one in the URL."""
        return self.identity.project_id

    @property
    def scope(self) -> Scope:
        """Which instances may be found by id: an administrator's reach everywhere."""
        return Scope(None if self.is_admin else self.project_id)

    def caller(self) -> Caller:
        """As runbooks are told."""
        return Caller(project_id=self.project_id, user_id=self.identity.user_id, request_id=self.request_id,
                      is_admin=self.is_admin)  # fmt: skip


@dataclass(frozen=True)
class Services:
    """What requests are answered with."""

    settings: ApiSettings
    reader: Reader
    requests: Requests
    health: Health
    temporal: Client
    keyring: Keyring
    policy: "Policy" = field(repr=False)
    rates: "RateLimits" = field(repr=False)
    backups: BackupReader
    logs: "LogContainers" = field(repr=False)
    containers: "BackupContainers" = field(repr=False)
    barbican: "Barbican" = field(repr=False)
