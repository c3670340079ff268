"""Swift by temporary URLs that we sign ourselves, in whatever project's container: no account is needed there.

The standard library's client logs nothing; a signature stands in the URL. Its connection is kept for one step.
"""

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from urllib.parse import quote, urlencode, urlsplit

from contract.domain.errors import CloudFailed, NotFound, TicketRefused
from contract.ports.tickets import temp_url_signature

TIMEOUT = 15.0  # seconds for one part of one request
SECONDS = 300  # that a signature of ours counts
RENEW = 60  # seconds before it ends


@dataclass
class SignedObjects:
    """Objects below one prefix of a container; `account` is what Swift signs, whatever stands in front of it."""

    container_url: str
    account_path: str
    prefix: str
    key: str = field(repr=False)
    ca: str = field(default="", repr=False)
    _expires: int = 0
    _connection: HTTPConnection | None = None

    def get(self, name: str) -> bytes:
        """Return an object; NotFound when there is none."""
        return self._ask("GET", name)[1]

    def head(self, name: str) -> "tuple[int, str] | None":
        """Return size and ETag of an object; None when there is none."""
        try:
            headers, _ = self._ask("HEAD", name)
        except NotFound:
            return None
        return int(headers.get("Content-Length", "-1")), str(headers.get("ETag", "")).strip('"')

    def delete(self, name: str) -> None:
        """Delete an object; no error if there is none."""
        try:
            self._ask("DELETE", name)
        except NotFound:
            return

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, method: str, name: str) -> tuple[HTTPMessage, bytes]:
        if self._expires < time.time() + RENEW:
            self._expires = int(time.time()) + SECONDS
        # Swift lets a signature of GET look at an object, too
        signed = temp_url_signature(self.key, "GET" if method == "HEAD" else method, self._expires,
                                    f"{self.account_path}/{self.prefix}")  # fmt: skip
        query = {"temp_url_sig": signed, "temp_url_expires": self._expires, "temp_url_prefix": self.prefix}
        url = urlsplit(self.container_url)
        with self._dialled(f"{method} of {name}") as connection:
            connection.request(method, f"{quote(url.path)}/{self.prefix}{name}?{urlencode(query)}")
            answer = connection.getresponse()
            content = answer.read()
        if answer.status >= 300:
            raise _failure(answer.status, f"{method} of {self.prefix}{name}")
        return answer.headers, content

    @contextmanager
    def _dialled(self, doing: str) -> Iterator[HTTPConnection]:
        self._connection = self._connection or self._connect()
        try:
            yield self._connection
        except (OSError, HTTPException) as error:
            self.close()
            raise CloudFailed(f"the object store did not answer {doing}: {type(error).__name__}") from None

    def _connect(self) -> HTTPConnection:
        url = urlsplit(self.container_url)
        if url.scheme != "https":
            return HTTPConnection(url.hostname or "", url.port, timeout=TIMEOUT)
        trusted = ssl.create_default_context(cadata=self.ca or None)
        return HTTPSConnection(url.hostname or "", url.port, timeout=TIMEOUT, context=trusted)


def _failure(status: int, doing: str) -> Exception:
    if status == 404:
        return NotFound(f"the object store has nothing for {doing}")
    if status in (401, 403):
        return TicketRefused(
            f"the object store refuses {doing}: the container is gone, or the keys of its temporary URLs were changed"
        )
    return CloudFailed(f"the object store answered {doing} with {status}")
