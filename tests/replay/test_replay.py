"""Runs that began under an earlier release go on under this one: their histories are replayed."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from contract.wire.codec import data_converter
from tests.replay.kept import HISTORIES, KEYRING
from tests.replay.one_more_step import LongerCreation, SameCreation
from tests.replay.record import release
from workflows.catalogue import RUNBOOKS
from workflows.runner import runner

RECORDED = sorted(HISTORIES.glob("*/*.json"))
CREATION = HISTORIES / release() / "create.json"


def history(path: Path) -> WorkflowHistory:
    """A recorded history, under the id that its run had."""
    content = path.read_text()
    started = WorkflowHistory.from_json("unknown", content).events[0].workflow_execution_started_event_attributes
    return WorkflowHistory.from_json(started.workflow_id, content)


def runbook_of(path: Path) -> str:
    """The name of the runbook that was recorded."""
    started = history(path).events[0].workflow_execution_started_event_attributes
    return str(started.workflow_type.name)


def replayer(*workflows: type) -> Replayer:
    """A worker without a server."""
    return Replayer(workflows=workflows, workflow_runner=runner(), data_converter=data_converter(KEYRING))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
async def test_a_recorded_run_goes_the_same_way_again(path: Path) -> None:
    runbooks = {each.__name__: each for each in RUNBOOKS}
    await replayer(runbooks[runbook_of(path)]).replay_workflow(history(path))


def test_every_runbook_was_recorded_at_this_release() -> None:
    recorded = {runbook_of(path) for path in RECORDED if path.parent.name == release()}
    assert recorded == {each.__name__ for each in RUNBOOKS}


async def test_a_step_more_is_noticed() -> None:
    """The replays above are able to fail: not for the other class, only for what it does."""
    await replayer(SameCreation).replay_workflow(history(CREATION))
    with pytest.raises(NondeterminismError):
        await replayer(LongerCreation).replay_workflow(history(CREATION))
