"""`python -m localcloud`: serve until told to stop; stopping is the host going down."""

import logging
import os

import uvicorn

from localcloud.app import build
from localcloud.cloud import Cloud
from localcloud.settings import Settings


def main() -> None:
    """Run the cloud."""
    os.umask(0o077)
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    uvicorn.run(
        build(Cloud(settings)), host=settings.host, port=settings.port, log_level=settings.log_level, access_log=False,
        timeout_graceful_shutdown=5,
    )  # fmt: skip


if __name__ == "__main__":
    main()
