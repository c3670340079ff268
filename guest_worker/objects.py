"""The object store, as a guest has it: what one ticket allows, below one prefix, until it runs out.

Errors are `NotFound`, `TicketRefused`, or `OSError` where a retry may help. None shows what opens the store: a
signature of Swift's stands in the URL, so nothing of `http.client`, nor of the S3 client, is passed on as it is.
"""

import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from io import BytesIO
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic import ValidationError

from contract.domain.errors import BadRequest, NotFound, TicketRefused, Unsupported
from contract.keys.sealing import SecretBox
from contract.ports.tickets import S3Access, SwiftAccess, Ticket, TicketContent

TIMEOUT = 60.0  # seconds for one step of one request
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class ObjectStore(ABC):
    """Objects below the ticket's prefix; names are what follows it. Any verb may come twice."""

    @abstractmethod
    def put(self, name: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Store an object, in place of what may be there; `headers` are Swift's own."""

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Return an object; NotFound when there is none."""

    @abstractmethod
    def delete(self, name: str) -> bool:
        """Delete an object; no error if there is none. Whether there was one; True where the store does not tell."""

    @abstractmethod
    def list_names(self) -> list[str]:
        """Return all names below the prefix; Unsupported where a ticket cannot list."""


def open_store(ticket: Ticket, box: SecretBox, timeout: float = TIMEOUT) -> ObjectStore:
    """Open a ticket; NotOurs when it is for another guest. `timeout`: seconds for one step of one request."""
    try:
        content = TicketContent.model_validate_json(box.open(ticket.opens))
    except ValidationError as error:
        raise BadRequest(f"the ticket's content is not understood: {error.error_count()} errors") from None
    if isinstance(content.store, SwiftAccess):
        return SwiftObjects(content, content.store, timeout)
    return S3Objects(content, content.store)


def _checked(name: str) -> str:
    """A name that stays below the prefix, whoever stands between here and the store."""
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is no name of an object")
    return name


class SwiftObjects(ObjectStore):
    """Swift, by temporary URLs. The standard library's client logs nothing, not even when it is told to debug."""

    def __init__(self, content: TicketContent, access: SwiftAccess, timeout: float = TIMEOUT) -> None:
        self._access = access
        self._prefix = content.prefix
        self._url = urlsplit(access.container_url)
        self._ca = content.ca or None
        self._timeout = timeout

    def put(self, name: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._ask("PUT", name, data, headers)

    def get(self, name: str) -> bytes:
        return self._ask("GET", name)

    def delete(self, name: str) -> bool:
        try:
            self._ask("DELETE", name)
        except NotFound:
            return False
        return True

    def list_names(self) -> list[str]:
        raise Unsupported("a ticket of Swift cannot list; the objects are counted by who makes them")

    def _ask(
        self, method: str, name: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        path = f"{self._url.path}/{self._prefix}{_checked(name)}"
        signature = self._access.signatures.get(method)
        if signature is None:
            raise TicketRefused(f"the ticket does not allow {method} of {name}")
        query = {"temp_url_sig": signature, "temp_url_expires": self._access.expires, "temp_url_prefix": self._prefix}
        connection = self._connect()
        try:
            connection.request(method, f"{path}?{urlencode(query)}", body=data, headers=headers or {})
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, HTTPException) as error:
            raise ConnectionError(
                f"the object store did not answer {method} of {name}: {type(error).__name__}"
            ) from None
        finally:
            connection.close()
        if answer.status >= 300:
            raise _failure(answer.status, method, name)
        return content

    def _connect(self) -> HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme != "https":
            return HTTPConnection(host, port, timeout=self._timeout)
        trusted = ssl.create_default_context(cadata=self._ca)
        return HTTPSConnection(host, port, timeout=self._timeout, context=trusted)


class S3Objects(ObjectStore):
    """S3, by temporary credentials; its client library is read only here, since it costs memory."""

    def __init__(self, content: TicketContent, access: S3Access) -> None:
        import urllib3
        from minio import Minio

        url = urlsplit(access.endpoint)
        self._bucket = access.bucket
        self._prefix = content.prefix
        self._client = Minio(
            url.netloc,
            access_key=access.access_key,
            secret_key=access.secret_key,
            session_token=access.session_token,
            secure=url.scheme == "https",
            region=access.region,  # else it asks for the bucket's, which a ticket does not allow
            http_client=urllib3.PoolManager(
                timeout=TIMEOUT, retries=False, ca_cert_data=content.ca or None, cert_reqs="CERT_REQUIRED"
            ),
        )

    def put(self, name: str, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if headers:
            raise Unsupported("S3 has no such headers")
        with self._asking("PUT", name):
            # of one part, whatever its size
            self._client.put_object(self._bucket, self._key(name), BytesIO(data), len(data), part_size=_part(data))

    def get(self, name: str) -> bytes:
        with self._asking("GET", name):
            answer = self._client.get_object(self._bucket, self._key(name))
            try:
                return bytes(answer.data)
            finally:
                answer.close()
                answer.release_conn()

    def delete(self, name: str) -> bool:
        with self._asking("DELETE", name):
            self._client.remove_object(self._bucket, self._key(name))
        return True

    def list_names(self) -> list[str]:
        with self._asking("LIST", self._prefix):
            found = self._client.list_objects(self._bucket, prefix=self._prefix, recursive=True)
            return [str(each.object_name).removeprefix(self._prefix) for each in found]

    def _key(self, name: str) -> str:
        return f"{self._prefix}{_checked(name)}"

    @contextmanager
    def _asking(self, method: str, name: str) -> Iterator[None]:
        from minio.error import MinioException, S3Error
        from urllib3.exceptions import HTTPError

        try:
            yield
        except S3Error as error:
            raise _failure(_status(error), method, name) from None
        except (HTTPError, MinioException, OSError) as error:
            raise ConnectionError(
                f"the object store did not answer {method} of {name}: {type(error).__name__}"
            ) from None


def _part(data: bytes) -> int:
    return max(len(data), 5 * 1024 * 1024)  # the smallest part that S3 knows


def _status(error: Any) -> int:
    return 404 if error.code in ("NoSuchKey", "NoSuchBucket") else int(error.response.status)


def _failure(status: int, method: str, name: str) -> Exception:
    if status == 404:
        return NotFound(f"there is no object {name}")
    if status in (400, 401, 403):
        return TicketRefused(f"the object store refused {method} of {name}: {status}")
    return ConnectionError(f"the object store answered {status} to {method} of {name}")
