"""A certification authority of the tests, for servers and clients."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from contract.keys.certificates import Certificate
from contract.keys.issuing import host_name, named

YEAR = timedelta(days=365)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Authority:
    """Issues certificates; each is of another key."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = named(f"tests {x509.random_serial_number()}")
        self._certificate = (
            _builder(name, name, self._key, YEAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )

    @property
    def pem(self) -> str:
        """Its own certificate."""
        return self._certificate.public_bytes(Encoding.PEM).decode()

    def file(self, folder: Path, name: str = "ca.pem") -> Path:
        """The same, in a file."""
        path = folder / name
        path.write_text(self.pem)
        return path

    def server(self, host: str, lasts: timedelta = YEAR, key: Key | None = None) -> Certificate:
        """For a server at an address; clients' certificates of this authority are believed."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        return Certificate(self._signed(host, lasts, key), _pem(key), self.pem)

    def client(self, folder: Path, name: str = "client.pem") -> Path:
        """A client's key and certificate, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(_pem(key) + self._signed("client", YEAR, key))
        return path

    def pkcs12(self, host: str, passphrase: str | None) -> bytes:
        """A server's, as Trove takes it."""
        found = self.server(host)
        key = load_pem_private_key(found.key.encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        closed = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
        certificate = x509.load_pem_x509_certificate(found.chain.encode())
        return pkcs12.serialize_key_and_certificates(b"db", key, certificate, [self._certificate], closed)

    def _signed(self, host: str, lasts: timedelta, key: Key) -> str:
        builder = _builder(named(host), self._certificate.subject, key, lasts)
        builder = builder.add_extension(x509.SubjectAlternativeName([host_name(host)]), critical=False)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM).decode()


def _builder(subject: x509.Name, issuer: x509.Name, key: Key, lasts: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + min(lasts, timedelta()) - timedelta(days=1))
        .not_valid_after(now + lasts)
    )


def _pem(key: Key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
