"""A guest speaks to the store that the ticket's certificate is for, and to no other."""

import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from contract.ports.tickets import Right, S3Access, SwiftAccess, Ticket, TicketContent
from guest_worker.objects import ObjectStore, open_store

ME = uuid4()
BOX = SecretBox(MasterKeyring.of(b"m" * 32), ME)


@dataclass
class Listener:
    """A store behind TLS that says yes to everything, and remembers what it was asked."""

    url: str
    ca: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """With a certificate of its own making."""
    ca = self_signed(tmp_path / "server.pem")
    asked: list[str] = []

    class Yes(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.send_header("ETag", '"x"')
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Yes) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield Listener(f"https://127.0.0.1:{server.server_port}", ca, asked)
        server.shutdown()


def self_signed(file: Path) -> str:
    """Write key and certificate; return the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + pem)
    return pem.decode()


def store(kind: str, url: str, ca: str) -> ObjectStore:
    """A store at that address, as a ticket opens it."""
    prefix, later = f"{ME}/b1/", datetime.now(UTC) + timedelta(hours=1)
    access: SwiftAccess | S3Access
    if kind == "swift":
        access = SwiftAccess(
            container_url=f"{url}/v1/AUTH_x/y", expires=int(later.timestamp()), signatures={"PUT": "s"}
        )
    else:
        access = S3Access(endpoint=url, region="r", bucket="bucket", access_key="a", secret_key="b", session_token="c")
    content = TicketContent(prefix=prefix, store=access, ca=ca)
    sealed = BOX.seal(content.model_dump_json())
    return open_store(Ticket(prefix=prefix, right=Right.WRITE, expires=later, opens=sealed), BOX)


@pytest.mark.parametrize("kind", ["swift", "s3"])
def test_the_ticket_s_certificate_is_what_counts(kind: str, listener: Listener, tmp_path: Path) -> None:
    for other in ("", self_signed(tmp_path / "other.pem")):
        with pytest.raises(ConnectionError, match="did not answer PUT of 1: SSL"):
            store(kind, listener.url, other).put("1", b"data")
    assert listener.asked == []  # nobody saw a signature
    store(kind, listener.url, listener.ca).put("1", b"data")
    assert len(listener.asked) == 1
    assert f"{ME}/b1/1" in listener.asked[0]
