"""Write the OpenAPI document: `python -m api.openapi > docs/openapi.json`. It needs nothing that runs."""

import json
import sys

from api.app import application
from api.settings import ApiSettings


def text() -> str:
    """The document, as it is kept in docs/."""
    return json.dumps(application(ApiSettings()).openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
