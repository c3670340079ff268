"""`python -m gateway.certificates FOLDER HOST …`: a private CA, and a certificate of it for the gateway.

For development and for sites without a CA of their own. What is there stays, but for a certificate that ends within a
month or is for other hosts: that one is recreated. `ca.pem` is what guests believe; `ca-key.pem` need not stay on the
gateway's machine.
"""

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from contract.files import write_private
from contract.keys import issuing

CA_LASTS = timedelta(days=3650)
LASTS = timedelta(days=397)
RENEW_BEFORE = timedelta(days=30)


def make(folder: Path, hosts: Sequence[str]) -> None:
    """Make what is missing: ca.pem and ca-key.pem, cert.pem and key.pem."""
    if not (folder / "ca.pem").exists():
        _make_ca(folder)
    if not _is_good(folder / "cert.pem", hosts):
        _make_certificate(folder, hosts)


def _make_ca(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = issuing.of_ca(issuing.ca_name("Coffer gateway CA"), key, CA_LASTS)
    _write_key(folder / "ca-key.pem", key)
    _write(folder / "ca.pem", builder.sign(key, SHA256()))


def _make_certificate(folder: Path, hosts: Sequence[str]) -> None:
    ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    signer = load_pem_private_key((folder / "ca-key.pem").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - made above
    key = ec.generate_private_key(ec.SECP256R1())
    builder = issuing.certificate(issuing.named("Coffer gateway"), ca.subject, key, LASTS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(
        x509.SubjectAlternativeName([issuing.host_name(each) for each in hosts]), critical=False
    )
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    _write_key(folder / "key.pem", key)
    _write(folder / "cert.pem", builder.sign(signer, SHA256()))


def _is_good(path: Path, hosts: Sequence[str]) -> bool:
    if not path.exists():
        return False
    found = x509.load_pem_x509_certificate(path.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    wanted = x509.SubjectAlternativeName([issuing.host_name(each) for each in hosts])
    return names == wanted and found.not_valid_after_utc > datetime.now(UTC) + RENEW_BEFORE


def _write(path: Path, certificate: x509.Certificate) -> None:
    write_private(path, certificate.public_bytes(Encoding.PEM).decode())


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def main() -> None:
    """Do it for the folder and hosts of the command line."""
    ask = argparse.ArgumentParser(prog="python -m gateway.certificates", description=__doc__)
    ask.add_argument("folder", type=Path)
    ask.add_argument("hosts", nargs="+", help="names and addresses by which guests dial the gateway")
    said = ask.parse_args()
    os.umask(0o077)
    make(said.folder, said.hosts)


if __name__ == "__main__":
    main()
