"""Certificates of databases: read, checked, made and described."""

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contract.keys import issuing

LASTS = timedelta(days=3650)  # nobody can renew it but by another one
SHORTEST_RSA = 2048  # bits


@dataclass(frozen=True)
class Certificate:
    """PEM, with the key in clear. `chain`: the server's own first. `ca`: whose clients' certificates are believed."""

    chain: str
    key: str = field(repr=False)
    ca: str = ""


@dataclass(frozen=True)
class Description:
    """What Trove tells of a certificate."""

    cn: str | None
    expire_at: datetime
    san: list[str]


def from_pkcs12(bundle: bytes, passphrase: str | None) -> Certificate:
    """Read a PKCS#12; ValueError for one that is none, that the passphrase does not open, or that lacks a part.

    Its other certificates are what clients' certificates may be issued by, and sent with the server's own.
    """
    try:
        key, certificate, others = pkcs12.load_key_and_certificates(bundle, passphrase.encode() if passphrase else None)
    except Exception:  # noqa: BLE001 - what the library raises for what is no PKCS#12 is not told
        raise ValueError("the PKCS#12 cannot be opened: it is damaged, or the passphrase is wrong") from None
    if key is None or certificate is None:
        raise ValueError("the PKCS#12 must hold a certificate and its key")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    ca = "".join(_pem(each) for each in others)
    return Certificate(_pem(certificate) + ca, pem, ca)


def check(certificate: Certificate) -> None:
    """Raise ValueError, with a sentence, for what a database could not show or its clients would refuse."""
    chain = _certificates("certificate", certificate.chain)
    if certificate.ca:
        _certificates("ca", certificate.ca)
    _check_key(chain[0], certificate.key)
    now = datetime.now(UTC)
    if chain[0].not_valid_after_utc <= now:
        raise ValueError(f"the certificate has expired: it was good until {_day(chain[0].not_valid_after_utc)}")
    if chain[0].not_valid_before_utc > now:
        raise ValueError(f"the certificate is not good yet, but from {_day(chain[0].not_valid_before_utc)} on")
    _check_loads(certificate)


def _check_key(certificate: x509.Certificate, pem: str) -> None:
    try:
        key = load_pem_private_key(pem.encode(), None)
    except TypeError:
        raise ValueError("the key is encrypted: send it in clear, or a PKCS#12 with its passphrase") from None
    except Exception:  # noqa: BLE001 - as above
        raise ValueError("the key is no private key in PEM") from None
    if _public(key.public_key()) != _public(certificate.public_key()):
        raise ValueError("the key is not the certificate's")
    if getattr(key, "key_size", SHORTEST_RSA) < SHORTEST_RSA and not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"the key is too short: RSA needs {SHORTEST_RSA} bits")


def _check_loads(certificate: Certificate) -> None:
    """Have OpenSSL load it, as the engine will: it refuses more than can be told from outside, such as weak signatures."""
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, (certificate.key + "\n" + certificate.chain).encode())
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise ValueError(f"the certificate cannot be used: {error.reason or 'OpenSSL refuses it'}") from None
    finally:
        os.close(descriptor)


def _certificates(name: str, pem: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError(f"the {name} is none in PEM") from None


def _public(key: object) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))  # type: ignore[attr-defined]


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def describe(chain: str) -> Description | None:
    """Of the server's own certificate; None where it cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(chain.encode())[0]
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    except ValueError:
        return None
    common = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    san = [f"DNS:{each}" for each in names.get_values_for_type(x509.DNSName)]
    san += [f"IP Address:{each}" for each in names.get_values_for_type(x509.IPAddress)]
    return Description(str(common[0].value) if common else None, found.not_valid_after_utc, san)


def fingerprint(chain: str) -> str:
    """SHA-256 of the server's own certificate."""
    return x509.load_pem_x509_certificates(chain.encode())[0].fingerprint(SHA256()).hex()


def issue(name: str, hosts: Sequence[str]) -> Certificate:
    """Make a certificate for addresses and names, of a CA of its own whose key is forgotten: it issues no other one."""
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = issuing.ca_name("Coffer database CA")
    ca = issuing.of_ca(issuer, ca_key, LASTS)
    own = issuing.certificate(issuing.named(name), issuer, key, LASTS)
    own = own.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    own = own.add_extension(issuing.usage(signs=False), critical=True)
    own = own.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    if hosts:
        names = [issuing.host_name(each) for each in hosts]
        own = own.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return Certificate(_pem(own.sign(ca_key, SHA256())), pem, _pem(ca.sign(ca_key, SHA256())))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
