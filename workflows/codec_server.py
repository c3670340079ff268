"""The codec server: opens payloads for Temporal's Web UI and CLI. A decryption oracle: it listens on loopback alone.

`POST /decode` and `POST /encode` as Temporal's remote codec protocol has them. Passwords stay sealed: they are sealed
once more inside the payloads, for the guest alone.
"""

import asyncio

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from google.protobuf.json_format import MessageToJson, Parse, ParseError
from pydantic_settings import SettingsConfigDict
from temporalio.api.common.v1 import Payloads

from workflows.codec import SealingCodec
from workflows.keyring import MasterKeyring
from workflows.process import run, serve_http
from workflows.settings import TemporalSettings


class CodecServerSettings(TemporalSettings):
    """Read from the environment, prefix `COFFER_`."""

    model_config = SettingsConfigDict(env_prefix="COFFER_", extra="ignore")

    codec_host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs an authenticating proxy in front."""
    codec_port: int = 8234
    """Port to listen on."""
    codec_origins: str = "http://127.0.0.1:8233,http://localhost:8233"
    """Origins of the Web UI that may ask (CORS), separated by commas."""


def app(settings: CodecServerSettings) -> FastAPI:
    """The two routes, for the Web UI's origins."""
    codec = SealingCodec(MasterKeyring.read(settings.master_key_file))
    server = FastAPI(title="Coffer's codec server", openapi_url=None)
    server.add_middleware(
        CORSMiddleware,
        allow_origins=settings.codec_origins.split(","),
        allow_methods=["POST"],
        allow_headers=["content-type", "x-namespace", "authorization"],
        allow_credentials=True,
    )

    @server.post("/decode")
    async def decode(request: Request) -> Response:
        """Open payloads; what does not open comes back as null."""
        return _answer(Payloads(payloads=await codec.decode((await _payloads(request)).payloads)))

    @server.post("/encode")
    async def encode(request: Request) -> Response:
        """Seal payloads with the control plane's key: the input of a run that an operator starts."""
        return _answer(Payloads(payloads=await codec.encode((await _payloads(request)).payloads)))

    return server


async def _payloads(request: Request) -> Payloads:
    try:
        return Parse(await request.body(), Payloads())
    except (ParseError, UnicodeDecodeError) as error:
        raise HTTPException(400, "the body is not a list of payloads") from error


def _answer(payloads: Payloads) -> Response:
    return Response(MessageToJson(payloads), media_type="application/json")


async def main(stop: asyncio.Event) -> None:
    """Serve until told to stop."""
    settings = CodecServerSettings()
    await serve_http(app(settings), settings.codec_host, settings.codec_port, stop)


if __name__ == "__main__":
    run(main)
