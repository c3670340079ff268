"""Object stores as tests see them, from three sides: the issuer of tickets, the owner of objects, and an attacker.

The attacker has what a stolen guest has, an opened ticket, and speaks HTTP himself: no client library corrects his paths.
"""

import contextlib
import hashlib
import http.client
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

from minio import Minio
from minio.credentials.credentials import Credentials
from minio.error import S3Error
from minio.signer import sign_v4_s3
from minio.time import to_amz_date
from openstack.connection import Connection

from activities.settings import ActivitySettings
from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.ports.tickets import Right, S3Access, SwiftAccess, Ticket, TicketContent, TicketOrder, Tickets
from tests.contracts_objects.seaweed import ACCESS_KEY, SECRET_KEY, S3Server
from tests.temporal import own_keyring

CONTAINER = "coffer"


@dataclass(frozen=True)
class Answer:
    """What the attacker got."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Request:
    """What the attacker asks: a path below the store's root as it goes over the wire, and how."""

    method: str
    path: str
    data: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


@dataclass
class Store(ABC):
    """One kind of store."""

    settings: ActivitySettings
    keyring: MasterKeyring
    tickets: Tickets

    def issue(self, instance: UUID, prefix: str, right: Right, seconds: int = 900) -> Ticket:
        """A ticket, as a runbook gets it."""
        return self.tickets.issue_ticket(TicketOrder(instance_id=instance, prefix=prefix, right=right, seconds=seconds))

    def opened(self, instance: UUID, ticket: Ticket) -> TicketContent:
        """A ticket's content, as a stolen guest has it."""
        return TicketContent.model_validate_json(self.box(instance).open(ticket.opens))

    def box(self, instance: UUID) -> SecretBox:
        """The box of one guest, with its own key alone."""
        return SecretBox(own_keyring(self.keyring, instance), instance)

    @abstractmethod
    def expired(self, instance: UUID, prefix: str, right: Right) -> Ticket:
        """A ticket that ran out a second ago, made as any other."""

    @abstractmethod
    def path_of(self, key: str) -> str:
        """The path of an object below the store's root, nothing escaped."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store an object as the owner."""

    @abstractmethod
    def look(self, key: str) -> bytes | None:
        """An object as the owner sees it."""

    @abstractmethod
    def keys(self, owner: UUID) -> list[str]:
        """All names of an instance's objects, as the owner sees them."""

    @abstractmethod
    def steal(self, content: TicketContent, request: Request) -> Answer:
        """Ask with what a ticket holds."""


@dataclass
class SwiftStore(Store):
    """Swift; the owner is the service's user."""

    owner: Connection

    def expired(self, instance: UUID, prefix: str, right: Right) -> Ticket:
        from activities.objects.swift import SwiftTickets
        from activities.openstack.connection import Connections
        from activities.openstack.objects import SwiftContainers

        back = datetime.now(UTC).timestamp() - 901
        containers = SwiftContainers(Connections(self.settings.cloud, 8))
        tickets = SwiftTickets(containers, self.settings, self.keyring, now=lambda: back)
        return tickets.issue_ticket(TicketOrder(instance_id=instance, prefix=prefix, right=right, seconds=900))

    @property
    def account(self) -> str:
        return urlsplit(str(self.owner.object_store.get_endpoint())).path.rpartition("/")[2]

    def path_of(self, key: str) -> str:
        return f"/v1/{self.account}/{CONTAINER}-{key.partition('/')[0]}/{key}"

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """A request of the owner's, below the account."""
        return self.owner.object_store.request(path, method, **more)

    def put(self, key: str, data: bytes) -> None:
        container = f"/{CONTAINER}-{key.partition('/')[0]}"
        for path in (container, f"{container}/{quote(key)}"):
            assert self.ask("PUT", path, data=data if path != container else b"").status_code < 300

    def look(self, key: str) -> bytes | None:
        found = self.ask("GET", f"/{CONTAINER}-{key.partition('/')[0]}/{quote(key)}")
        return bytes(found.content) if found.status_code == 200 else None

    def keys(self, owner: UUID) -> list[str]:
        return list(self.ask("GET", f"/{CONTAINER}-{owner}").text.split())

    def steal(self, content: TicketContent, request: Request) -> Answer:
        assert isinstance(content.store, SwiftAccess)
        signatures = content.store.signatures
        signature = signatures.get(request.method) or next(iter(signatures.values()))
        query = {
            "temp_url_sig": signature,
            "temp_url_expires": str(content.store.expires),
            "temp_url_prefix": content.prefix,
            **request.query,
        }
        url = urlsplit(content.store.container_url)
        return send(url.netloc, request, f"{request.path}?{urlencode(query)}", request.headers)


@dataclass
class S3Store(Store):
    """S3; the owner is its administrator."""

    server: S3Server

    @property
    def owner(self) -> Minio:
        return Minio(f"127.0.0.1:{self.server.port}", access_key=ACCESS_KEY, secret_key=SECRET_KEY, secure=False)

    def expired(self, instance: UUID, prefix: str, right: Right) -> Ticket:
        from tests.contracts_objects.sessions import moved_back

        ticket = self.issue(instance, prefix, right)
        content = self.opened(instance, ticket)
        assert isinstance(content.store, S3Access)
        access = content.store.model_copy(update={"session_token": moved_back(content.store.session_token, 901)})
        content = content.model_copy(update={"store": access})
        return ticket.model_copy(update={"opens": self.box(instance).seal(content.model_dump_json())})

    def path_of(self, key: str) -> str:
        return f"/{CONTAINER}/{key}"

    def put(self, key: str, data: bytes) -> None:
        if not self.owner.bucket_exists(CONTAINER):
            self.owner.make_bucket(CONTAINER)
        self.owner.put_object(CONTAINER, key, BytesIO(data), len(data))

    def look(self, key: str) -> bytes | None:
        with contextlib.suppress(S3Error):
            return bytes(self.owner.get_object(CONTAINER, key).data)
        return None

    def keys(self, owner: UUID) -> list[str]:
        return [str(each.object_name) for each in self.owner.list_objects(CONTAINER, f"{owner}/", recursive=True)]

    def steal(self, content: TicketContent, request: Request) -> Answer:
        assert isinstance(content.store, S3Access)
        access = content.store
        keys = Credentials(access.access_key, access.secret_key, access.session_token)
        query = urlencode(sorted(request.query.items()))
        url = urlsplit(f"{access.endpoint}{request.path}?{query}" if query else f"{access.endpoint}{request.path}")
        date, digest = datetime.now(UTC), hashlib.sha256(request.data).hexdigest()
        headers: dict[str, str | list[str] | tuple[str]] = {
            "Host": url.netloc,
            "X-Amz-Date": to_amz_date(date),
            "X-Amz-Content-Sha256": digest,
            "X-Amz-Security-Token": access.session_token,
            **request.headers,
        }
        signed = sign_v4_s3(method=request.method, url=url, region=access.region, headers=headers, credentials=keys,
                            content_sha256=digest, date=date)  # fmt: skip
        target = f"{request.path}?{query}" if query else request.path
        return send(url.netloc, request, target, {name: str(value) for name, value in signed.items()})


def send(address: str, request: Request, target: str, headers: dict[str, str]) -> Answer:
    """Send a request as it is."""
    connection = http.client.HTTPConnection(address, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(request.method, target, skip_host="Host" in headers)
        for name, value in {**headers, "Content-Length": str(len(request.data))}.items():
            connection.putheader(name, value)
        connection.endheaders(request.data)
        answer = connection.getresponse()
        try:
            return Answer(answer.status, answer.read())
        except http.client.IncompleteRead as error:
            return Answer(answer.status, error.partial)
