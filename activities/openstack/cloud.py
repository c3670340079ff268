"""The port `Cloud`: all of OpenStack that runbooks use, as activities."""

from uuid import UUID

from temporalio import activity

from activities.openstack.connection import Connections
from activities.openstack.networks import NeutronNetworks
from activities.openstack.offers import OrderChecks
from activities.openstack.servers import GuestAccess, NovaServers
from activities.openstack.volumes import CinderVolumes
from activities.settings import ActivitySettings
from workflows.domain.instance import Address, CloudOffer, ServerState
from workflows.keyring import Keyring
from workflows.ports.cloud import Cloud, FloatingIpOrder, OfferRequest, Port, ResourceOrder, ServerOrder


class OpenStackCloud(Cloud):
    """Hands each verb to the service that it is about."""

    def __init__(self, connections: Connections, settings: ActivitySettings, access: GuestAccess) -> None:
        self.connections = connections
        self._checks = OrderChecks(connections, settings.default_network)
        self._networks = NeutronNetworks(connections, settings.external_network)
        self._volumes = CinderVolumes(connections)
        self._servers = NovaServers(connections, access)

    @activity.defn
    def check_order(self, request: OfferRequest) -> CloudOffer:
        return self._checks.check(request)

    @activity.defn
    def create_security_group(self, order: ResourceOrder) -> str:
        return self._networks.create_security_group(order)

    @activity.defn
    def create_port(self, order: ResourceOrder) -> Port:
        return self._networks.create_port(order)

    @activity.defn
    def create_floating_ip(self, order: FloatingIpOrder) -> Address:
        return self._networks.create_floating_ip(order)

    @activity.defn
    def delete_floating_ips_of(self, instance_id: UUID) -> None:
        self._networks.delete_floating_ips_of(instance_id)

    @activity.defn
    def delete_ports_of(self, instance_id: UUID) -> None:
        self._networks.delete_ports_of(instance_id)

    @activity.defn
    def delete_security_groups_of(self, instance_id: UUID) -> None:
        self._networks.delete_security_groups_of(instance_id)

    @activity.defn
    def create_volume(self, order: ResourceOrder) -> str:
        return self._volumes.create_volume(order)

    @activity.defn
    def require_volume_available(self, instance_id: UUID) -> str:
        return self._volumes.require_volume_available(instance_id)

    @activity.defn
    def delete_volumes_of(self, instance_id: UUID) -> None:
        self._volumes.delete_volumes_of(instance_id)

    @activity.defn
    def create_server_group(self, order: ResourceOrder) -> str:
        return self._servers.create_server_group(order)

    @activity.defn
    def create_server(self, order: ServerOrder) -> str:
        return self._servers.create_server(order)

    @activity.defn
    def require_server_active(self, instance_id: UUID) -> str:
        return self._servers.require_server_active(instance_id)

    @activity.defn
    def get_server_state(self, instance_id: UUID) -> ServerState:
        return self._servers.get_server_state(instance_id)

    @activity.defn
    def delete_servers_of(self, instance_id: UUID) -> None:
        self._servers.delete_servers_of(instance_id)

    @activity.defn
    def delete_server_groups_of(self, instance_id: UUID) -> None:
        self._servers.delete_server_groups_of(instance_id)


def open_cloud(settings: ActivitySettings, keyring: Keyring) -> OpenStackCloud:
    """The cloud of the service user; dialled at the first call."""
    connections = Connections(settings.cloud, settings.cloud_timeout)
    access = GuestAccess(settings.guest_gateway, settings.guest_gateway_ca, settings.temporal_namespace, keyring)
    return OpenStackCloud(connections, settings, access)
