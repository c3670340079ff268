"""The port `Tokens`: what the guest is known by."""

from temporalio import activity

from contract.domain.errors import NotYet
from contract.ports.guest import Tokens
from guest_worker.identity import EnrolmentRefused, GatewayAway
from guest_worker.services import Services


class GuestTokens(Tokens):
    """The guest's own token."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @activity.defn
    def renew_token(self) -> None:
        try:
            self._services.renew()
        except (EnrolmentRefused, GatewayAway) as error:
            raise NotYet(f"the token could not be changed: {error}") from error
