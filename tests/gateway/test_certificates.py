"""A CA and a certificate, made once, and made again when they must be."""

import socket
import ssl
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gateway import certificates


def believed(folder: Path, ca: str) -> bool:
    """Whether a client that knows these CA certificates accepts the certificate of a folder for 127.0.0.1."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    client = ssl.create_default_context(cadata=ca)
    here, there = socket.socketpair()
    serving = threading.Thread(target=_serve, args=(server, there))
    serving.start()
    try:
        client.wrap_socket(here, server_hostname="127.0.0.1").close()
    except ssl.SSLError:
        return False
    finally:
        here.close()
        serving.join()
    return True


def _serve(context: ssl.SSLContext, there: socket.socket) -> None:
    try:
        context.wrap_socket(there, server_side=True).close()
    except OSError:
        there.close()


def test_an_old_and_a_new_ca_stand_in_one_file(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for each in (old, new):
        certificates.make(each, ["127.0.0.1"])
    both = (old / "ca.pem").read_text() + (new / "ca.pem").read_text()
    assert believed(old, both)
    assert believed(new, both)
    assert not believed(new, (old / "ca.pem").read_text())


def files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_what_is_made_is_there_for_its_owner_alone_and_stays(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["127.0.0.1", "localhost"])
    before = files(tmp_path)
    assert set(before) == {"ca.pem", "ca-key.pem", "cert.pem", "key.pem"}
    assert all(each.stat().st_mode & 0o077 == 0 for each in tmp_path.iterdir())
    certificates.make(tmp_path, ["127.0.0.1", "localhost"])
    assert files(tmp_path) == before


def test_other_hosts_get_another_certificate_of_the_same_ca(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["localhost"])
    before = files(tmp_path)
    certificates.make(tmp_path, ["localhost", "gateway.example"])
    after = files(tmp_path)
    assert after["ca.pem"] == before["ca.pem"]
    assert after["cert.pem"] != before["cert.pem"]


def test_one_that_ends_soon_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as soon:
        soon.setattr(certificates, "LASTS", timedelta(days=29))
        certificates.make(tmp_path, ["localhost"])
    before = files(tmp_path)
    certificates.make(tmp_path, ["localhost"])
    assert files(tmp_path)["cert.pem"] != before["cert.pem"]


def test_it_is_a_servers_and_no_cas(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["192.0.2.7", "gateway.example"])
    made = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gateway.example"]
    made.verify_directly_issued_by(x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()))
    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
