"""Certificates of databases: what is taken, what is refused, what is told, and what we make ourselves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from pydantic import ValidationError

from api.models.ssl import SslChange
from contract.domain.datastores import DATASTORES
from contract.domain.errors import BadRequest
from contract.domain.tls import SealedCertificate, Tls, TlsMode
from contract.keys.certificates import Certificate, check, describe, from_pkcs12, issue
from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from tests.tls.certificates import Authority

AUTHORITY = Authority()
GOOD = AUTHORITY.server("192.0.2.1")
SHORT = rsa.generate_private_key(65537, 1024)
ENCRYPTED = SHORT.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (Certificate("x", GOOD.key), "certificate is none in PEM"),
        (Certificate(GOOD.chain, GOOD.key, "x"), "ca is none in PEM"),
        (Certificate(GOOD.chain, "x"), "no private key in PEM"),
        (Certificate(GOOD.chain, ENCRYPTED), "key is encrypted"),
        (Certificate(GOOD.chain, AUTHORITY.server("192.0.2.1").key), "not the certificate's"),
        (AUTHORITY.server("192.0.2.1", timedelta(days=-1)), "has expired"),
        (AUTHORITY.server("192.0.2.1", key=SHORT), "too short"),
    ],
)
def test_what_no_client_would_take_is_refused_with_a_sentence(certificate: Certificate, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(certificate)


def test_a_pkcs12_is_read_with_its_passphrase_alone() -> None:
    for passphrase in ("pa ss", None):
        found = from_pkcs12(AUTHORITY.pkcs12("192.0.2.1", passphrase), passphrase)
        check(found)
        assert found.ca == AUTHORITY.pem
    for bundle, passphrase in (
        (AUTHORITY.pkcs12("a", "right"), "wrong"),
        (AUTHORITY.pkcs12("a", "x"), None),
        (b"", None),
    ):
        with pytest.raises(ValueError, match="passphrase is wrong"):
            from_pkcs12(bundle, passphrase)


def test_one_that_we_make_is_good_and_for_those_addresses() -> None:
    made = issue("name", ["192.0.2.7", "2001:db8::1", "db.example"])
    check(made)
    told = describe(made.chain)
    assert told is not None
    assert (told.cn, told.san) == ("name", ["DNS:db.example", "IP Address:192.0.2.7", "IP Address:2001:db8::1"])
    assert told.expire_at > datetime.now(UTC) + timedelta(days=3000)
    ca = x509.load_pem_x509_certificate(made.ca.encode())
    x509.load_pem_x509_certificate(made.chain.encode()).verify_directly_issued_by(ca)
    assert made.key not in repr(made)


def test_what_cannot_be_read_is_not_told() -> None:
    assert describe("x") is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({}, "exactly one of"),
        ({"enable": False}, "exactly one of"),
        ({"enable": True, "disable": True}, "exactly one of"),
        ({"disable": True, "mode": "basic"}, "mode: only with enable"),
        ({"rollback": True, "container_ref": "x"}, "container_ref: only with enable"),
        ({"enable": True, "mode": "none"}, "'none' is none of builtin, basic, enforced, mtls"),
        ({"enable": True, "container_ref": "x", "pkcs12": "y"}, "comes from one of container_ref, pkcs12"),
        ({"enable": True, "password_ref": "x"}, "password_ref: only with container_ref"),
        ({"enable": True, "passphrase": "x"}, "passphrase: only with pkcs12"),
        ({"enable": True, "key": "x", "ca": "y"}, "key: only with certificate; ca: only with certificate"),
        ({"enable": True, "certificate": "x"}, "certificate: needs key"),
        ({"enable": True, "mode": "builtin", "pkcs12": "x"}, "mode builtin has a certificate that the server makes"),
        ({"enable": True, "mode": "mtls"}, "mode mtls needs"),
        ({"enable": True, "surplus": 1}, "Extra inputs"),
    ],
)
def test_a_body_that_makes_no_sense_is_refused(body: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        SslChange.model_validate(body)


def test_an_order_that_makes_no_sense_is_refused_by_the_runbook() -> None:
    key = SecretBox(MasterKeyring.of(b"m" * 32), "00000000-0000-0000-0000-000000000001").seal("key")
    kept = SealedCertificate(chain=GOOD.chain, key=key)
    for wanted, manager, why in (
        (Tls(), "mysql", "Not supported"),
        (Tls(mode=TlsMode.MTLS, certificate=kept), "mariadb", "needs the CA"),
        (Tls(mode=TlsMode.ENFORCED), "postgresql", "needs a certificate"),
    ):
        with pytest.raises(BadRequest, match=why):
            wanted.check(DATASTORES[manager])
    Tls().check(DATASTORES["mariadb"])
    assert [Tls().effective(DATASTORES[each]) for each in ("mysql", "mariadb", "postgresql")] == [
        TlsMode.BUILTIN,
        TlsMode.BUILTIN,
        None,
    ]
