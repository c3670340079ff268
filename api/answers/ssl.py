"""The TLS of an instance."""

from typing import Literal

from api.answers.base import Answer, Moment


class SslCertificate(Answer):
    """What clients are shown; `payload` and `ca` are PEM, and there where they are asked for."""

    cn: str | None
    expire_at: Moment
    san: list[str] | None
    payload: str = ""
    ca: str = ""


class Ssl(Answer):
    """Certificates that the server has made for itself are not told."""

    status: Literal["on", "off"]
    mode: str | None
    certificate: SslCertificate | None


class OneSsl(Answer):
    """The TLS of an instance."""

    ssl: Ssl


class ChangedSsl(Ssl):
    """The TLS of an instance after a change, which never needs a restart."""

    restart_required: bool


class OneChangedSsl(Answer):
    """The TLS of an instance after a change."""

    ssl: ChangedSsl
