"""The gateway's private CA: what it signs is believed, also beside another CA of ours."""

import socket
import ssl
import threading
from pathlib import Path

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


def test_a_good_certificate_stays_and_other_hosts_get_another(tmp_path: Path) -> None:
    certificates.make(tmp_path, ["127.0.0.1"])
    first = {each.name: each.read_text() for each in tmp_path.iterdir()}
    certificates.make(tmp_path, ["127.0.0.1"])
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == first
    certificates.make(tmp_path, ["127.0.0.1", "gateway.example.org"])
    assert (tmp_path / "cert.pem").read_text() != first["cert.pem"]
    assert (tmp_path / "ca.pem").read_text() == first["ca.pem"]
