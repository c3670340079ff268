"""The engines under test, as the suite of the drivers has them, and the ways into the API."""

from tests.api.conftest import admin, demo
from tests.contracts.conftest import case, engines

__all__ = ["admin", "case", "demo", "engines"]
