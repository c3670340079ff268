"""What certificates of our own CAs have in common: the gateway's, and those of databases."""

import ipaddress
import secrets
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def ca_name(title: str) -> x509.Name:
    """A name that no other CA has: two of one name in a file are mistaken for each other."""
    return named(f"{title} {secrets.token_hex(4)}")


def named(name: str) -> x509.Name:
    """A common name alone."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def host_name(host: str) -> x509.GeneralName:
    """An address or a DNS name as a subject's alternative name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def of_ca(name: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta) -> x509.CertificateBuilder:
    """A CA's own certificate, to be signed; it issues no other CA."""
    builder = certificate(name, name, key, lasts)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.add_extension(usage(signs=True), critical=True)


def certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta
) -> x509.CertificateBuilder:
    """A certificate without extensions, to be signed; good from now on."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + lasts)
    )


def usage(*, signs: bool) -> x509.KeyUsage:
    """A CA's key, which signs certificates; or a server's."""
    return x509.KeyUsage(
        digital_signature=not signs, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=signs, crl_sign=signs, encipher_only=False, decipher_only=False,
    )  # fmt: skip
