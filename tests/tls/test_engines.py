"""TLS on the real engines, seen by real clients: which certificate is shown, and who is let in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.domain.accounts import NewDatabase, UserName
from contract.domain.errors import BadRequest, EngineFailed
from contract.domain.tls import SealedCertificate, Tls, TlsMode
from contract.keys.certificates import Certificate
from contract.ports.guest import EngineOrder, Fenced
from contract.ports.tls import TlsOrder
from guest_worker.datastores.base import PlainUser
from guest_worker.verbs.lifecycle import EngineLifecycle
from guest_worker.verbs.tls import TlsOfEngine
from tests.contracts.engines import ENGINES
from tests.contracts.guest import BOX, GuestParts, a_guest, done
from tests.tls.certificates import Authority
from tests.tls.client import TlsClient

AMY, PASSWORD = UserName(name="amy"), "pa ss'word"


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Who issues the certificates of the tests."""
    return Authority()


@pytest.fixture(params=ENGINES, scope="module")
def guest(request: pytest.FixtureRequest) -> Iterator[GuestParts]:
    """A guest whose engine serves, with a database and a user."""
    with a_guest(request.param) as parts:
        parts.engine.accounts.create_database(NewDatabase(name="app"))
        parts.engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
        yield parts


def change(guest: GuestParts, mode: TlsMode | None, certificate: Certificate | None = None) -> None:
    """As the runbook asks."""
    sealed = None
    if certificate is not None:
        sealed = SealedCertificate(chain=certificate.chain, ca=certificate.ca, key=BOX.seal(certificate.key))
    done(TlsOfEngine(guest.services).change_tls, TlsOrder(fence=1, tls=Tls(mode=mode, certificate=sealed)))


def client(guest: GuestParts, user: str = "amy") -> TlsClient:
    """A client of the tenant's."""
    return TlsClient(guest.manager, guest.address, user, PASSWORD)


def serves(guest: GuestParts) -> bool:
    """Whether our administrator's sessions work, old and new ones."""
    return bool(guest.engine.answers()) and "app" in guest.engine.accounts.list_databases()


def test_the_certificate_that_is_given_is_shown_and_plain_clients_stay(
    guest: GuestParts, authority: Authority, tmp_path: Path
) -> None:
    change(guest, TlsMode.BASIC, authority.server(guest.address))
    tenant, ca = client(guest), authority.file(tmp_path)
    assert tenant.is_let_in(ca)
    assert tenant.is_let_in(plain=True)
    assert not tenant.is_let_in(Authority().file(tmp_path, "another.pem"))
    change(guest, TlsMode.BASIC, authority.server("127.9.9.9"))  # another one, at once
    assert not tenant.is_let_in(ca)


def test_who_does_not_encrypt_is_refused_where_that_is_enforced(
    guest: GuestParts, authority: Authority, tmp_path: Path
) -> None:
    change(guest, TlsMode.ENFORCED, authority.server(guest.address))
    tenant, ca = client(guest), authority.file(tmp_path)
    assert tenant.is_let_in(ca)
    assert not tenant.is_let_in(plain=True)
    assert serves(guest)


def test_who_shows_no_certificate_is_refused_where_one_is_asked_for(
    guest: GuestParts, authority: Authority, tmp_path: Path
) -> None:
    ca, own = authority.file(tmp_path), authority.client(tmp_path)
    stranger = Authority().client(tmp_path, "stranger.pem")
    change(guest, TlsMode.MTLS, authority.server(guest.address))
    guest.engine.accounts.create_user(PlainUser(UserName(name="bob"), PASSWORD, ("app",)))  # one that comes later
    assert guest.engine.accounts.enable_root(PASSWORD) == "root"
    for tenant in (client(guest), client(guest, "bob"), client(guest, "root")):
        assert tenant.is_let_in(ca, own), tenant.user
        assert not tenant.is_let_in(ca), tenant.user
        assert not tenant.is_let_in(ca, stranger), tenant.user
        assert not tenant.is_let_in(plain=True), tenant.user
    assert serves(guest)
    change(guest, TlsMode.BASIC, authority.server(guest.address))
    for tenant in (client(guest), client(guest, "bob"), client(guest, "root")):
        assert tenant.is_let_in(ca), tenant.user
    guest.engine.accounts.disable_root()
    guest.engine.accounts.delete_user(UserName(name="bob"))


def test_the_mode_outlives_restarts_and_changes_of_settings(
    guest: GuestParts, authority: Authority, tmp_path: Path
) -> None:
    change(guest, TlsMode.ENFORCED, authority.server(guest.address))
    lifecycle, tenant, ca = EngineLifecycle(guest.services), client(guest), authority.file(tmp_path)
    done(lifecycle.stop_datastore, Fenced(fence=1))
    done(lifecycle.configure_datastore, EngineOrder(fence=1, memory_mib=512))
    done(lifecycle.start_datastore, Fenced(fence=1))
    guest.services.configuration.change(512, {})
    assert tenant.is_let_in(ca)
    assert not tenant.is_let_in(plain=True)


def test_what_the_engine_has_by_itself_comes_back(guest: GuestParts, authority: Authority, tmp_path: Path) -> None:
    change(guest, TlsMode.ENFORCED, authority.server(guest.address))
    change(guest, None)
    tenant = client(guest)
    assert tenant.is_let_in(plain=True)
    assert not tenant.is_let_in(authority.file(tmp_path))
    assert tenant.is_let_in() == (guest.manager != "postgresql")
    change(guest, TlsMode.BUILTIN)
    assert tenant.is_let_in()
    assert tenant.is_let_in(plain=True)


def test_what_is_refused_changes_nothing(
    guest: GuestParts, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, ca, tenant = authority.server(guest.address), authority.file(tmp_path), client(guest)
    change(guest, TlsMode.ENFORCED, good)
    with pytest.raises(BadRequest, match="key is not the certificate's"):
        change(guest, TlsMode.BASIC, Certificate(good.chain, authority.server("x").key))
    monkeypatch.setattr("guest_worker.datastores.tls_configuration.check", lambda certificate: None)
    with pytest.raises(EngineFailed):  # the engine's own word
        change(guest, TlsMode.BASIC, Certificate(authority.server(guest.address).chain, good.key))
    assert tenant.is_let_in(ca)
    assert not tenant.is_let_in(plain=True)


def test_the_key_is_the_engine_s_user_s_alone(guest: GuestParts, authority: Authority) -> None:
    change(guest, TlsMode.BASIC, authority.server(guest.address))
    folder = guest.folder / "data" / f"{guest.manager}_tls"
    assert folder.stat().st_mode & 0o077 == 0
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
    elsewhere = [path for path in guest.folder.rglob("*") if path.is_file() and path.parent != folder]
    assert not [each for each in elsewhere if b"PRIVATE KEY" in each.read_bytes() and each.parent.name != guest.manager]


def test_a_lost_root_disk_brings_it_back_by_the_order(authority: Authority, tmp_path: Path) -> None:
    with a_guest("mariadb") as before:
        certificate = authority.server(before.address)
        sealed = SealedCertificate(chain=certificate.chain, ca=certificate.ca, key=BOX.seal(certificate.key))
        tls = Tls(mode=TlsMode.ENFORCED, certificate=sealed)
        done(TlsOfEngine(before.services).change_tls, TlsOrder(fence=1, tls=tls))
        before.engine.accounts.create_database(NewDatabase(name="app"))
        before.engine.accounts.create_user(PlainUser(AMY, PASSWORD, ("app",)))
        after = before.lose_root_disk()
        before.services, before.engine = after.services, after.engine
        after.services.start()
        lifecycle = EngineLifecycle(after.services)
        done(lifecycle.initialise_datastore, EngineOrder(fence=2, memory_mib=512, adopts=True, tls=tls))
        done(lifecycle.start_datastore, Fenced(fence=2))
        assert client(after).is_let_in(authority.file(tmp_path))
        assert not client(after).is_let_in(plain=True)
