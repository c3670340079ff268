"""What a tenant's user leaves lying never runs with the administrator's rights, whatever is asked of the service."""

import pytest

from tests.contracts.conftest import PASSWORD, Case
from tests.contracts.engines import Trap, each
from tests.contracts.verbs import VERBS


@each("traps")
def test_no_verb_gives_more_rights(shared: Case, trap: Trap) -> None:
    dialect = shared.dialect
    shared.run("amy", *dialect.attempt)
    if trap.by_root:
        root = shared.accounts.enable_root(PASSWORD)
        shared.run(root, *trap.lay)
        shared.accounts.disable_root()
    else:
        shared.run("amy", *trap.lay)
    before = {user: shared.powers(user) for user in ("amy", "bob")}
    assert before == {"amy": [], "bob": []}
    for name, verb in VERBS.items():
        verb(shared.accounts)
        for user in ("amy", "bob", "eve", "eva"):
            assert shared.powers(user) == [], f"{user} after {name}"


@pytest.mark.parametrize("verb", ["delete_user"])
def test_a_deleted_user_is_gone_at_once(shared: Case, verb: str) -> None:
    session = shared.connect("amy")
    VERBS[verb](shared.accounts)
    with pytest.raises(shared.dialect.refused):
        shared.ask(session, "SELECT 1")
    with pytest.raises(shared.dialect.refused):
        shared.connect("amy")
