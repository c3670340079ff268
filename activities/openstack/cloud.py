"""All of OpenStack that runbooks use: one class per port of `contract.ports.cloud`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from activities.openstack.connection import Connections
from activities.openstack.images import NovaImages
from activities.openstack.networks import NeutronNetworks
from activities.openstack.offers import CheckedOffers
from activities.openstack.servers import GuestAccess, NovaServers
from activities.openstack.volumes import CinderVolumes
from activities.settings import ActivitySettings
from contract.keys.keyring import Keyring
from contract.ports.cloud import Networks, Offers, Servers
from contract.ports.images import Images
from contract.ports.registration import verbs
from contract.ports.volumes import Volumes


@dataclass(frozen=True)
class Cloud:
    """The ports, over one service user's connections."""

    connections: Connections
    offers: Offers
    networks: Networks
    volumes: Volumes
    servers: Servers
    images: Images

    def verbs(self) -> list[Callable[..., Any]]:
        """All activities."""
        return [
            *verbs(Offers, self.offers),
            *verbs(Networks, self.networks),
            *verbs(Volumes, self.volumes),
            *verbs(Servers, self.servers),
            *verbs(Images, self.images),
        ]


def open_cloud(settings: ActivitySettings, keyring: Keyring) -> Cloud:
    """The cloud of the service user; dialled at the first call."""
    connections = Connections(settings.cloud, settings.cloud_timeout)
    access = GuestAccess(settings.guest_gateway, settings.guest_gateway_ca, settings.temporal_namespace, keyring)
    return Cloud(
        connections,
        CheckedOffers(connections, settings.default_network),
        NeutronNetworks(connections, settings.external_network),
        CinderVolumes(connections),
        NovaServers(connections, access),
        NovaImages(connections, access),
    )
