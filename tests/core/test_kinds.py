"""The table of kinds: what must hold of every row, also of those that are added."""

import pytest

from contract.domain.instance import InstanceStatus
from contract.domain.kinds import KINDS, Needs, left_by
from contract.domain.operation import OperationKind
from workflows.catalogue import RUNBOOKS
from workflows.instance.settle import settling_of
from workflows.runbook import Runbook

QUIET = {
    OperationKind.CHANGE_ACCESS,
    OperationKind.RECONFIGURE,
    OperationKind.CHANGE_TLS,
}  # the database serves meanwhile
EACH = pytest.mark.parametrize("kind", list(OperationKind))


def test_every_kind_has_a_row_and_one_runbook() -> None:
    assert set(KINDS) == set(OperationKind)
    kinds = [each.kind for each in RUNBOOKS if issubclass(each, Runbook)]
    assert sorted(kinds) == sorted(OperationKind)


@EACH
def test_what_was_interrupted_can_be_put_right(kind: OperationKind) -> None:
    assert kind in KINDS[OperationKind.SETTLE].repairs
    if not KINDS[kind].only_repairs:
        assert callable(settling_of(kind))


@EACH
def test_a_deletion_puts_everything_right_and_nothing_can_be_cancelled_that_takes_away(kind: OperationKind) -> None:
    assert kind in KINDS[OperationKind.DELETE].repairs
    assert not (KINDS[kind].removes and KINDS[kind].cancellable)


@EACH
def test_what_may_be_asked_for_is_shown(kind: OperationKind) -> None:
    row = KINDS[kind]
    assert row.rule is None or row.shows is not None or kind in QUIET
    assert row.shows is not InstanceStatus.ACTIVE
    assert not (row.only_repairs and not row.repairs)


@EACH
def test_what_repairs_and_is_interrupted_itself_is_put_right_by_what_it_declares(kind: OperationKind) -> None:
    """A resize that began after an interrupted restart: the server may wait for a confirmation, so the resize counts."""
    for repaired in KINDS[kind].repairs:
        assert left_by(kind, repaired) is (repaired if kind is OperationKind.SETTLE else kind)
    assert left_by(kind, None) is kind


@EACH
def test_an_operation_on_a_server_repairs_no_operation_that_may_have_left_none(kind: OperationKind) -> None:
    if KINDS[kind].needs is Needs.SERVER:
        assert all(KINDS[each].needs is Needs.SERVER for each in KINDS[kind].repairs)
