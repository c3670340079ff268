"""What OpenStack's errors mean for an operation; decided here and nowhere else."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager

from keystoneauth1 import exceptions as transport
from openstack import exceptions as said

from contract.domain.errors import BadRequest, CloudFailed, Failed, QuotaExceeded

# a 4xx that passes by itself: a login that ran out, a request that was too slow, a conflict, a lock, a limit of the rate
PASSES = {401, 408, 409, 423, 425, 429}
# conflicts that stay: Neutron says with the same 409 that something is in use just now
STAYS = {"IpAddressInUse", "IpAddressAlreadyAllocated", "IpAddressGenerationFailure", "MacAddressInUse",
         "ExternalIpAddressExhausted", "ExternalGatewayForFloatingIPNotFound"}  # fmt: skip
# Nova says it with 403, Cinder with 413, Neutron with 409, and oslo.limit does not call it a quota
QUOTA = re.compile(r"quota|over (a |the )?limit|maximum number of", re.IGNORECASE)
QUOTA_STATUS = {400, 403, 409, 413}
RATE = re.compile(r"rate.?limit|too many requests", re.IGNORECASE)
GONE = re.compile(
    r"could not be found|no image found|failed to find", re.IGNORECASE
)  # Glance's 404 is a page, as a proxy's
URL = re.compile(r"\b[a-z]+://\S+")
# what is no part of the sentence: the head of Glance's page, Cinder's name of a limit, Cinder's status in Nova's answer
NOISE = re.compile(
    r"^\d{3} [A-Z][A-Za-z ]+: |^[A-Z]\w+(Quota|Limit|Exceeded): |\s*\(HTTP \d{3}\)|\s*\(Request-ID: [^)]*\)"
)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise BadRequest or QuotaExceeded for what cannot be helped, CloudFailed for what may pass when it is tried again.

    `doing` completes the sentence "could not …" for the user, who sees no address of the cloud's own.
    """
    try:
        yield
    except said.HttpException as error:
        raise _meaning(doing, error) from error
    except (said.SDKException, transport.ClientException, transport.ImpliedVersionMismatch) as error:
        raise CloudFailed(f"could not {doing}: {_silence(error)}") from error


def _meaning(doing: str, error: said.HttpException) -> Failed:
    status, text = error.status_code or 0, _detail(error)
    if status in QUOTA_STATUS and QUOTA.search(text) and not RATE.search(text):
        return QuotaExceeded(f"could not {doing}: the cloud's own quota is used up: {text}")
    if _is_final(error, status, text):
        return BadRequest(f"could not {doing}: {text}")
    if status >= 500:  # the text is for whoever runs the cloud, who finds it in the failure's cause
        return CloudFailed(f"could not {doing}: OpenStack answered {status}")
    return CloudFailed(f"could not {doing}: OpenStack answered {status}: {text}")


def _is_final(error: said.HttpException, status: int, text: str) -> bool:
    if not 400 <= status < 500 or RATE.search(text):
        return False
    if status == 404:  # of a proxy, where a service is being restarted, and not of the service
        return "json" in _content_type(error) or GONE.search(text) is not None
    return status not in PASSES or _neutron_type(error) in STAYS


def _content_type(error: said.HttpException) -> str:
    return "" if error.response is None else str(error.response.headers.get("content-type", ""))


def _neutron_type(error: said.HttpException) -> str:
    """The name of Neutron's own exception; empty where another service answered."""
    try:
        body = error.response.json() if error.response is not None else {}
    except ValueError:
        return ""
    fault = body.get("NeutronError") if isinstance(body, dict) else None
    return str(fault.get("type", "")) if isinstance(fault, dict) else ""


def _detail(error: said.HttpException) -> str:
    text = html.unescape(str(error.details or error.message or error))
    text = NOISE.sub("", URL.sub("…", text))
    return " ".join(text.split()).rstrip(".")


def _silence(error: Exception) -> str:
    """In words, why there is no answer."""
    if isinstance(error, transport.ConnectTimeout):
        return "OpenStack did not answer in time"
    if isinstance(error, transport.SSLError):
        return "OpenStack's certificate is not trusted"
    if isinstance(error, transport.ConnectionError):
        return "OpenStack cannot be reached"
    if isinstance(error, transport.HttpError):
        return f"OpenStack's identity service answered {error.http_status}"
    if isinstance(error, transport.CatalogException):
        return "OpenStack's catalogue has no endpoint for it"
    return f"OpenStack's answer was not understood ({type(error).__name__})"
