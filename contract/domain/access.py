"""Who may reach an instance, and how that is changed."""

import ipaddress
from uuid import UUID

from contract.domain.datastores.base import EnginePort
from contract.domain.fact import Fact
from contract.domain.instance import Access
from contract.domain.operation import InstanceOrder

MOST_CIDRS = 200


def canonical_cidr(said: str) -> str:
    """An IPv4 address or CIDR as Neutron writes it: with the prefix's length, and no bits below it; ValueError for others."""
    address, slash, length = said.partition("/")
    if slash and not (length.isascii() and length.isdigit()):
        raise ValueError(f"'{said[:80]}' is not an IPv4 address or CIDR")
    try:
        ipaddress.IPv4Address(address)
        return str(ipaddress.IPv4Network(said, strict=False))
    except ValueError:
        raise ValueError(f"'{said[:80]}' is not an IPv4 address or CIDR") from None


class AccessChange(Fact):
    """What is to be different; None leaves it as it is. No CIDRs: everybody is let in."""

    is_public: bool | None = None
    allowed_cidrs: tuple[str, ...] | None = None

    def of(self, now: Access) -> Access:
        """The access after the change; ValueError for what is no CIDR, and for too many."""
        public = now.is_public if self.is_public is None else self.is_public
        if self.allowed_cidrs is None:
            return now.model_copy(update={"is_public": public})
        cidrs = tuple(dict.fromkeys(canonical_cidr(each) for each in self.allowed_cidrs))
        if len(cidrs) > MOST_CIDRS:
            raise ValueError(f"allowed_cidrs: at most {MOST_CIDRS} are possible")
        return Access(is_public=public, allowed_cidrs=cidrs)


class ChangeAccessOrder(InstanceOrder):
    """Let others reach one instance, or give it a public address, or take that away."""

    change: AccessChange


class AccessRules(Fact):
    """Who is to be let in to which ports of an instance."""

    instance_id: UUID
    ports: tuple[EnginePort, ...]
    access: Access
