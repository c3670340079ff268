"""What OpenStack's errors mean for an operation; decided here and nowhere else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from openstack import exceptions as said

from workflows.domain.errors import BadRequest, QuotaExceeded

_REFUSED = {400, 403, 409, 413}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Refuse what cannot be helped; let everything else through, to be tried again.

    `doing` completes the sentence "could not …" for the user.
    """
    try:
        yield
    except said.HttpException as error:
        status, text = error.status_code or 0, _detail(error)
        # Nova says it with 403, Cinder with 413, Neutron with 409: only the word is common to all.
        if re.search(r"quota", text, re.IGNORECASE) and status in _REFUSED:
            raise QuotaExceeded(f"could not {doing}: the cloud's own quota is used up: {text}") from error
        if status in {400, 403}:
            raise BadRequest(f"could not {doing}: {text}") from error
        raise


def _detail(error: said.HttpException) -> str:
    text = str(error.details or error.message or error)
    return text.strip().rstrip(".")
