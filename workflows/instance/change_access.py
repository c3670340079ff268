"""Runbook: change who may reach one instance."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import FailureError

from contract.domain.access import AccessRules, ChangeAccessOrder
from contract.domain.datastores import DATASTORES
from contract.domain.errors import BadRequest
from contract.domain.instance import Access
from contract.domain.operation import OperationKind
from contract.domain.resources import ResourceKind
from contract.ports.cloud import FloatingIpOrder, Networks
from workflows.member import Member
from workflows.runbook import End, Runbook
from workflows.steps import lost_fence, sentence


@workflow.defn
class ChangeAccess(Runbook):
    """End with the rules and the public address that were ordered, or with those of before.

    A public address is taken away before the rules are changed, and given after that. The engine is not touched. An address
    that was taken away is lost: going back gives the instance another one.
    """

    kind = OperationKind.CHANGE_ACCESS

    @workflow.run
    async def run(self, order: ChangeAccessOrder) -> str | None:
        self._change = order.change
        return await self.operate(order, self.change)

    async def open(self, order: ChangeAccessOrder) -> None:
        """Have the order checked before it is admitted."""
        self.lock(order)
        try:
            order.change.of(Access())
        except ValueError as error:
            self.refuse(BadRequest(str(error)))
        await self.admit(order)

    async def change(self) -> End:
        """Apply what was ordered; what it leaves out stays."""
        await apply(self.member, self._change.of(self.member.instance.access))
        return End(None)

    async def give_up(self, error: BaseException) -> End:
        """Go back to what it was; where that fails, too, say so: the next change puts all of it right."""
        try:
            return await self.settle(self.member)
        except FailureError as left:
            if lost_fence(left):
                raise
            why = "the change was cancelled" if isinstance(error, asyncio.CancelledError) else sentence(error)
            return End(None, f"{why}; it could not be put back ({sentence(left)}): change the access again")

    @staticmethod
    async def settle(member: Member) -> End:
        """What the records say is to be so."""
        await apply(member, member.instance.access)
        return End(None)


async def apply(member: Member, access: Access) -> None:
    """Make an access so, in OpenStack and then in the records."""
    facts = DATASTORES[member.instance.version.manager].of(member.instance.version.number)
    rules = AccessRules(instance_id=member.id, ports=facts.ports, access=access)
    addresses = tuple(each for each in member.instance.addresses if each.type != "public")
    if not access.is_public:
        await member.cloud(Networks.delete_floating_ips_of, member.instance.belongings)
    await member.cloud(Networks.set_access_rules, rules)
    if access.is_public:
        port = FloatingIpOrder(instance_id=member.id, port_id=member.instance.current(ResourceKind.PORT))
        addresses = (*addresses, await member.cloud(Networks.create_floating_ip, port))
    member.learn(addresses=addresses, access=access)
