"""Tickets to object stores, one file per kind of store."""

from activities.objects.swift import SwiftTickets
from activities.openstack.connection import Connections
from activities.openstack.objects import SwiftContainers
from activities.settings import ActivitySettings
from contract.keys.keyring import Keyring
from contract.ports.tickets import Tickets


def open_tickets(settings: ActivitySettings, keyring: Keyring, connections: Connections) -> Tickets:
    """The tickets of the store that the settings name; dialled at the first call."""
    if settings.objects == "s3":
        from activities.objects.s3 import open_s3_tickets  # its client library costs memory, so others do without

        return open_s3_tickets(settings, keyring)
    return SwiftTickets(SwiftContainers(connections), settings, keyring)
