"""Runbook: change what a configuration group says, and have the instances that have it told."""

from datetime import timedelta
from uuid import UUID, uuid5

from temporalio import workflow
from temporalio.exceptions import ApplicationError, FailureError

from contract.domain.errors import REFUSALS, Expired, Refused, innermost
from contract.domain.operation import OperationKind
from contract.domain.reconfiguring import ReconfigureOrder
from contract.names import RECORDS, waiting_id
from contract.ports.configurations import (
    AttachedInstance,
    ConfigurationAnswer,
    ConfigurationChange,
    Configurations,
    configuration_id,
)
from contract.wire.clear_text import ClearText
from workflows.steps import PROMPT, Steps

REFRESH = "ReconfigureInstance"  # by its name: it stands beside this one
PATIENCE = timedelta(days=1)  # that an instance's order waits for what else is done with it


@workflow.defn
class ChangeConfiguration:
    """End with the group changed, and an order for each instance that has it, or with nothing changed.

    Each order waits for its instance's lock and is an operation of its own: one that fails holds up no other.
    """

    @workflow.run
    async def run(self, change: ConfigurationChange) -> ConfigurationAnswer:
        name = configuration_id(change.id, change.caller.request_id)
        try:
            if workflow.info().workflow_id != name:
                raise Refused(f"must run under the workflow id {name}")
            if change.expires_at is not None and workflow.now() > change.expires_at:
                raise Expired("the caller has stopped waiting; nothing was changed")
            found = await Steps().ask(RECORDS, PROMPT, Configurations.change_configuration, change)
        except FailureError as error:
            cause = innermost(error)
            if not (isinstance(cause, ApplicationError) and cause.type in REFUSALS):
                raise
            workflow.set_current_details(f"refused: {cause.message}")
            return ConfigurationAnswer(refused=cause.type, reason=cause.message)
        return ConfigurationAnswer(operations=tuple([await self.tell(each, change) for each in found.instances]))

    async def tell(self, member: AttachedInstance, change: ConfigurationChange) -> UUID:
        """Order an instance to be given what the group says now; return the operation's id."""
        operation_id = uuid5(UUID(workflow.info().first_execution_run_id), str(member.instance_id))
        order = ReconfigureOrder(
            instance_id=member.instance_id,
            group_id=member.group_id,
            caller=change.caller,
            operation_id=operation_id,
            waits_until=workflow.now() + PATIENCE,
            refresh=True,
        )
        await workflow.start_child_workflow(
            REFRESH,
            order,
            id=waiting_id(operation_id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
            static_summary=ClearText(f"{OperationKind.RECONFIGURE.value}, as its configuration group has changed"),
        )
        return operation_id
