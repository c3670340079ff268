"""What an engine has no notion of is refused, whoever asks for it."""

from pathlib import Path
from uuid import uuid4

import pytest

from api.faults import Fault
from api.models.accounts import DatabaseBody, UserBody
from api.orders import accounts_of, require
from api.routes.common import FACETS, short_calls
from contract.domain.accounts import NewDatabase, NewUser
from contract.domain.datastores import DATASTORES
from contract.domain.datastores.base import Datastore, Facet
from contract.domain.datastores.orders import check_spec
from contract.domain.errors import BadRequest
from contract.domain.instance import InstanceSpec
from contract.keys.keyring import MasterKeyring
from contract.keys.sealing import SecretBox
from guest_worker.datastores import open_datastore
from guest_worker.datastores.base import EngineContext

BOX = SecretBox(MasterKeyring.of(b"m" * 32), uuid4())
APP, AMY = DatabaseBody(name="app"), UserBody(name="amy", password="secret")


def without(facet: Facet) -> Datastore:
    """An engine that lacks something."""
    return DATASTORES["postgresql"].model_copy(update={"facets": frozenset(Facet) - {facet}, "manager": "plain"})


@pytest.mark.parametrize("manager", DATASTORES)
def test_the_driver_has_what_the_facts_promise(manager: str, tmp_path: Path) -> None:
    driver = open_datastore(manager, EngineContext(tmp_path / "data", tmp_path / "state"))
    assert driver.facets == DATASTORES[manager].facets


@pytest.mark.parametrize("facet", Facet)
def test_a_verb_about_what_an_engine_lacks_is_refused(facet: Facet) -> None:
    with pytest.raises(Fault, match=f"plain: it has no {facet}") as refused:
        require(without(facet), facet)
    assert refused.value.code == 422
    for other in set(Facet) - {facet}:
        require(without(facet), other)


def test_each_rule_that_a_guest_is_asked_by_is_about_a_facet() -> None:
    assert set(FACETS.values()) | {Facet.TLS} == set(Facet)  # the routes of TLS ask no guest
    with pytest.raises(KeyError):
        short_calls("instance:extension:module:index")


def test_an_order_with_databases_or_users_that_an_engine_lacks_is_refused() -> None:
    assert accounts_of(without(Facet.USERS), [APP], [], BOX.seal)[0] == (NewDatabase(name="app"),)
    with pytest.raises(Fault, match="no users"):
        accounts_of(without(Facet.USERS), [], [AMY], BOX.seal)
    with pytest.raises(Fault, match="no databases"):
        accounts_of(without(Facet.DATABASES), [APP], [], BOX.seal)


def test_a_runbook_refuses_it_too() -> None:
    amy = NewUser(name="amy", password=BOX.seal("secret"))
    spec = InstanceSpec(name="db", flavor="1", volume_gib=1, databases=(NewDatabase(name="app"),), users=(amy,))
    for facet in (Facet.DATABASES, Facet.USERS):
        with pytest.raises(BadRequest, match=f"{facet} are not supported by plain"):
            check_spec(spec, without(facet))
