"""Orders for tickets: what can be none is refused before any store is asked."""

from uuid import UUID

import pytest

from contract.domain.errors import BadRequest
from contract.ports.tickets import LONGEST, SHORTEST, Right, TicketOrder
from tests.contracts_objects.stores import Store

ME, OTHER = UUID("5f2b4e1a-0c3d-4e6f-8a9b-7c1d2e3f4a5b"), UUID("0d9c8b7a-6f5e-4d3c-8b2a-1f0e9d8c7b6a")
NO_PREFIX = [
    "", "/", "b1/", f"{ME}", f"{ME}/", f"{ME}//", f"{ME}/b1", f"/{ME}/b1/", f"{ME}/../b1/", f"{ME}/b1/../", f"{ME}/./b1/",
    f"{ME}/..b/", f"{ME}/b1//", f"{ME}/*/", f"{ME}/b?/", f"{ME}/b%2f/", f"{ME}/b 1/", f"{ME}/b1/\n", f"{ME}/b1\\/",
    f"{ME}/$" + "{aws:username}/", f"{ME}/ä/", f"{str(ME).upper()}/b1/", f"{ME.hex}/b1/", f"{ME}-evil/b1/",
    f"{ME}/{'x' * 600}/",
]  # fmt: skip


@pytest.mark.parametrize("prefix", NO_PREFIX)
@pytest.mark.parametrize("right", list(Right))
def test_what_is_no_prefix_of_one_instance_s_backup_is_refused(prefix: str, right: Right) -> None:
    with pytest.raises(BadRequest, match="no prefix of objects"):
        TicketOrder(instance_id=ME, prefix=prefix, right=right).owner()


@pytest.mark.parametrize("prefix", [f"{ME}/b1/", f"{ME}/{OTHER}/", f"{ME}/wal/0001.0/x_y-z/"])
def test_a_backup_of_one_s_own_may_be_read_and_written(prefix: str) -> None:
    for right in Right:
        assert TicketOrder(instance_id=ME, prefix=prefix, right=right).owner() == ME


def test_another_s_backup_may_be_read_and_not_be_written() -> None:
    assert TicketOrder(instance_id=ME, prefix=f"{OTHER}/b1/", right=Right.READ).owner() == OTHER
    with pytest.raises(BadRequest, match=f"instance {ME} may not write to objects of {OTHER}"):
        TicketOrder(instance_id=ME, prefix=f"{OTHER}/b1/", right=Right.WRITE).owner()


@pytest.mark.parametrize("seconds", [-1, 0, SHORTEST - 1, LONGEST + 1, 10**9])
def test_a_time_that_no_store_promises_is_refused(seconds: int) -> None:
    with pytest.raises(BadRequest, match="seconds"):
        TicketOrder(instance_id=ME, prefix=f"{ME}/b1/", right=Right.READ, seconds=seconds).owner()


def test_both_stores_refuse_and_make_nothing(store: Store, mine: UUID, theirs: UUID) -> None:
    store.put(f"{theirs}/b1/1", b"theirs")
    for prefix, right, seconds in (
        (f"{theirs}/b1/", Right.WRITE, 900),
        (f"{mine}/", Right.READ, 900),
        (f"{mine}/b1/", Right.READ, 60),
        (f"{mine}/b1/../../{theirs}/b1/", Right.READ, 900),
    ):
        with pytest.raises(BadRequest):
            store.issue(mine, prefix, right, seconds)
    assert store.keys(theirs) == [f"{theirs}/b1/1"]
