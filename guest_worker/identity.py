"""`python -m guest_worker.identity enrol|keys|renew`: become known at the gateway, and stay so.

A process of its own, for a moment: gRPC's library would stay in the guest worker's memory. What the guest is known by
is kept in a file for itself alone. Every verb may be repeated: what the gateway is asked to take is on disk before it
is asked, so an answer that was lost is simply asked for again.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from contract.domain.guest import Credentials, Enrolment, GuestBoot, Renewal
from contract.files import write_private
from contract.keys.enrolment import new_token
from guest_worker.paths import GuestPaths
from guest_worker.settings import GuestSettings

if TYPE_CHECKING:
    import grpc

AWAY, REFUSED = 75, 77  # exit codes as in sysexits.h: EX_TEMPFAIL, EX_NOPERM
SERVICE = "/coffer.gateway.v1.Identity"
SECONDS = 15


class EnrolmentRefused(Exception):
    """The gateway knows us, and will not have us: asking again does not help."""


class GatewayAway(Exception):
    """The gateway does not answer, or cannot say yet."""


class StoredIdentity(BaseModel):
    """What this guest is known by; `next_token` is one that the gateway may or may not have taken already."""

    model_config = ConfigDict(hide_input_in_errors=True)

    generation: int
    token: str = Field(repr=False)
    next_token: str | None = Field(None, repr=False)
    credentials: Credentials | None = None


def read(paths: GuestPaths) -> StoredIdentity | None:
    """What is kept on disk."""
    path = paths.identity
    return StoredIdentity.model_validate_json(path.read_text()) if path.exists() else None


def require(paths: GuestPaths) -> StoredIdentity:
    """What is kept on disk; EnrolmentRefused when there is nothing."""
    known = read(paths)
    if known is None:
        raise EnrolmentRefused("not enrolled yet")
    return known


def read_boot(paths: GuestPaths) -> GuestBoot:
    """Who the user data says that we are."""
    return GuestBoot.model_validate_json(paths.boot_file.read_text())


class IdentityServiceClient:
    """Asks the gateway's identity service."""

    def __init__(self, boot: GuestBoot, ca: str) -> None:
        self._target = boot.gateway
        self._ca = ca

    def ask(self, verb: str, question: BaseModel | None, token: str = "") -> Credentials:
        """Ask one thing; EnrolmentRefused or GatewayAway."""
        import grpc

        body = question.model_dump_json().encode() if question else b""
        trust = grpc.ssl_channel_credentials(self._ca.encode())
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        with grpc.secure_channel(self._target, trust) as channel:
            call: Callable[..., bytes] = channel.unary_unary(f"{SERVICE}/{verb}")
            try:
                answer = call(body, timeout=SECONDS, metadata=metadata)
            except grpc.RpcError as error:
                raise _said(error) from None
        return Credentials.model_validate_json(answer)


def _said(error: "grpc.RpcError") -> Exception:
    import grpc

    final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.INVALID_ARGUMENT)
    kind = EnrolmentRefused if error.code() in final else GatewayAway
    return kind(f"{error.code().name}: {error.details()}")


class EnrolmentClient:
    """The verbs, each of which leaves on disk what it came to."""

    def __init__(self, paths: GuestPaths) -> None:
        self._paths = paths
        self._boot = read_boot(paths)

    def enrol(self) -> None:
        """Spend the boot file's ticket on a token of our own making; no error if that is done."""
        known = read(self._paths)
        if known is None or known.generation != self._boot.generation:
            known = StoredIdentity(generation=self._boot.generation, token=self._new_token())
            self._keep(known)
        if known.credentials is not None:
            return
        if not self._boot.ticket:
            raise EnrolmentRefused("the boot file has no ticket; order the instance again")
        asked = Enrolment(
            instance_id=self._boot.instance_id, generation=self._boot.generation, ticket=self._boot.ticket
        )
        try:
            credentials = self._gateway(known).ask("Enrol", asked, known.token)
        except EnrolmentRefused as refused:  # an answer may have been lost so long ago that the ticket has ended
            credentials = self._keys_or(known, refused)
        self._keep(known.model_copy(update={"credentials": credentials}))

    def _keys_or(self, known: StoredIdentity, refused: EnrolmentRefused) -> Credentials:
        try:
            return self._gateway(known).ask("Keys", None, known.token)
        except EnrolmentRefused:
            raise refused from None

    def keys(self) -> None:
        """Fetch our keys as they are now; finds out which token counts where an answer was lost."""
        known = require(self._paths)
        try:
            credentials = self._gateway(known).ask("Keys", None, known.token)
        except EnrolmentRefused:
            if known.next_token is None:
                raise
            known = known.model_copy(update={"token": known.next_token, "next_token": None})
            credentials = self._gateway(known).ask("Keys", None, known.token)
        self._keep(known.model_copy(update={"credentials": credentials}))

    def renew(self) -> None:
        """Change the token; the old one counts for some minutes more."""
        self.keys()
        known = require(self._paths)
        token = known.next_token or self._new_token()
        self._keep(known.model_copy(update={"next_token": token}))
        credentials = self._gateway(known).ask("Renew", Renewal(token=token), known.token)
        self._keep(StoredIdentity(generation=known.generation, token=token, credentials=credentials))

    def _gateway(self, known: StoredIdentity) -> IdentityServiceClient:
        newer = known.credentials.ca if known.credentials else ""
        return IdentityServiceClient(self._boot, newer or self._boot.ca)

    def _new_token(self) -> str:
        return new_token(self._boot.instance_id)

    def _keep(self, known: StoredIdentity) -> None:
        write_private(self._paths.identity, known.model_dump_json())


def main() -> int:
    """Do the verb of the command line; the exit code says whether it may be tried again."""
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb not in ("enrol", "keys", "renew"):
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        getattr(EnrolmentClient(GuestSettings().paths), verb)()
    except (EnrolmentRefused, GatewayAway) as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED if isinstance(error, EnrolmentRefused) else AWAY
    return 0


if __name__ == "__main__":
    sys.exit(main())
