"""`python -m api`: serve until told to stop."""

import asyncio
import logging

from api.app import build
from api.http_server import serve_http
from api.settings import ApiSettings
from contract.logs import log_to_stderr
from contract.process import run


async def main(stop: asyncio.Event) -> None:
    """Serve; it starts without Temporal, Keystone and the records, and says 503 until they are there."""
    settings = ApiSettings()
    log_to_stderr(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    await serve_http(build(settings), settings.api_host, settings.api_port, stop, settings.http_limits())


if __name__ == "__main__":
    run(main)
