"""What `POST /instances/{id}/ssl` is told."""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from api.models.base import Body, Text
from contract.domain.tls import LONGEST_PEM, TlsMode

ACTIONS = ("enable", "disable", "rollback")
NAMES = ", ".join(TlsMode)
Secret = Annotated[str | None, Field(min_length=1, max_length=4096, repr=False)]


class SslChange(Body):
    """One of `enable`, `disable`, `rollback`.

    A certificate is read from Barbican (`container_ref`, a PKCS#12, with `password_ref`), or comes with the request: a PKCS#12
    in base64 (`pkcs12`, with `passphrase`), or PEM (`certificate`, `key`, `ca`). Without one the service makes it.
    """

    enable: bool | None = None
    disable: bool | None = None
    rollback: bool | None = None
    mode: Annotated[str | None, Field(max_length=255, description=f"{NAMES}; without, basic")] = None
    container_ref: Text | None = None
    password_ref: Text | None = None
    pkcs12: Annotated[str | None, Field(min_length=1, max_length=LONGEST_PEM, repr=False)] = None
    passphrase: Secret = None
    certificate: Annotated[str | None, Field(min_length=1, max_length=LONGEST_PEM)] = None
    key: Annotated[str | None, Field(min_length=1, max_length=8192, repr=False)] = None
    ca: Annotated[str | None, Field(min_length=1, max_length=LONGEST_PEM)] = None

    @model_validator(mode="after")
    def sensible(self) -> "SslChange":
        """Tell all that is wrong at once."""
        if wrong := list(self._mistakes()):
            raise ValueError("; ".join(wrong))
        return self

    def _mistakes(self) -> Iterator[str]:
        if len([each for each in ACTIONS if getattr(self, each)]) != 1:
            yield f"needs exactly one of {', '.join(ACTIONS)} to be true"
        if self.mode is not None and self.mode not in list(TlsMode):
            yield f"mode: '{self.mode}' is none of {NAMES}"
        given = [each for each in type(self).model_fields if each not in ACTIONS and getattr(self, each) is not None]
        if not self.enable and given:
            yield f"{', '.join(given)}: only with enable"
        sources = [each for each in ("container_ref", "pkcs12", "certificate") if each in given]
        if len(sources) > 1:
            yield f"the certificate comes from one of {', '.join(sources)}"
        for name, owner in (("password_ref", "container_ref"), ("passphrase", "pkcs12"), ("key", "certificate"),
                            ("ca", "certificate")):  # fmt: skip
            if name in given and owner not in given:
                yield f"{name}: only with {owner}"
        if "certificate" in given and "key" not in given:
            yield "certificate: needs key"
        if self.mode == TlsMode.BUILTIN and sources:
            yield f"{sources[0]}: mode builtin has a certificate that the server makes"
        if self.mode == TlsMode.MTLS and self.enable and not sources:
            yield "mode mtls needs the certificate of the CA that has issued those of clients"

    @property
    def wanted_mode(self) -> TlsMode:
        """Trove's client leaves it out for basic."""
        return TlsMode(self.mode or TlsMode.BASIC)


class ChangeSslBody(Body):
    """`POST /instances/{id}/ssl`."""

    lines: ClassVar[frozenset[str]] = frozenset({"certificate", "key", "ca"})  # PEM

    ssl: SslChange
