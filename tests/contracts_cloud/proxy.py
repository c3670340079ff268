"""A proxy before a real OpenStack that loses, delays and falsifies answers: what the embedded cloud does by itself.

It stands before Keystone. In whatever is answered, an address of the cloud's services becomes one of the proxy's, so that
all that follows comes through it, too.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from localcloud.faults import Faults, Rule

HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "accept-encoding", "keep-alive"}


class Proxy(ThreadingHTTPServer):
    """Forwards `/<scheme>/<host:port>/…`, by the rules that are left."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.faults = Faults()
        self.known: set[str] = set()  # scheme://host:port of the cloud's services
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.client = httpx.Client(timeout=600, verify=False)
        self._lock = threading.Lock()

    def through(self, address: str) -> str:
        """The address by which something of the cloud's is reached through the proxy."""
        parts = urlsplit(address)
        self.known.add(f"{parts.scheme}://{parts.netloc}")
        return address.replace(f"{parts.scheme}://{parts.netloc}", f"{self.url}/{parts.scheme}/{parts.netloc}", 1)

    def rewritten(self, body: bytes) -> bytes:
        """An answer in which the cloud's services have the proxy's addresses."""
        text = body.decode()
        for each in self._endpoints(text):
            self.through(each)
        for each in sorted(self.known, key=len, reverse=True):
            scheme, _, place = each.partition("://")
            text = re.sub(rf"{re.escape(each)}(?![0-9])", f"{self.url}/{scheme}/{place}", text)
        return text.encode()

    @staticmethod
    def _endpoints(text: str) -> Iterator[str]:
        """The addresses of a catalogue, where it is one."""
        try:
            token = json.loads(text).get("token", {})
        except (ValueError, AttributeError):
            return
        for service in token.get("catalog", []):
            yield from (each["url"] for each in service["endpoints"])

    def rule_for(self, method: str, path: str, body: str) -> Rule | None:
        """Take the rule that a request matches."""
        with self._lock:
            return self.faults.of_request("", method, path, body)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, scheme, rest = self.path.split("/", 2)
        place, _, path = rest.partition("/")  # an endpoint may have no path: Glance's, Neutron's
        rule = self.server.rule_for(self.command, urlsplit(f"/{path}").path, body.decode(errors="replace"))
        if rule is not None and rule.status is not None:
            self._answer(rule.status, {"Content-Type": "application/json"}, json.dumps(rule.answer).encode())
            return
        if rule is not None:
            time.sleep(rule.delay)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP}
        answer = self.server.client.request(self.command, f"{scheme}://{place}/{path}", content=body, headers=headers)
        if rule is not None and rule.lose:
            self.close_connection = True
            self.connection.close()
            return
        sent = {key: value for key, value in answer.headers.items() if key.lower() not in HOP}
        text = "json" in answer.headers.get("Content-Type", "")
        if "location" in sent:
            sent["location"] = self.server.through(sent["location"])
        self._answer(answer.status_code, sent, self.server.rewritten(answer.content) if text else answer.content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        try:
            self.send_response_only(status)
            for key, value in headers.items():
                self.send_header(key, value)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:  # whoever asked did not wait
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _forward  # noqa: N815 - the base's names


@contextmanager
def proxy_before(cloud: str, clouds_file: Path, folder: Path) -> Iterator[tuple[Proxy, Path]]:
    """Run a proxy before a cloud of clouds.yaml; yield it and the file by which the cloud is reached through it."""
    with Proxy() as proxy:
        content = yaml.safe_load(clouds_file.read_text())
        auth = content["clouds"][cloud]["auth"]
        auth["auth_url"] = proxy.through(auth["auth_url"])
        changed = folder / "clouds.yaml"
        changed.write_text(yaml.safe_dump(content))
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy, changed
        finally:
            proxy.shutdown()
            proxy.client.close()
