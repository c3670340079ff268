"""The OpenAPI document is true: generated requests against the running API meet no 5xx and no undocumented status."""

from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.stack import RunningStack

EXAMPLES = 6
CHECKS = [not_a_server_error, status_code_conformance, response_schema_conformance]
NOT_MADE = ("POST /v1.0/{project_id}/instances",)  # would order databases; bad orders have tests of their own


def test_generated_requests(stack: RunningStack) -> None:
    token, project = stack.token("demo")
    document = httpx.get(f"{stack.settings.api_url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    tried, wrong = 0, []
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        if operation.label in NOT_MADE:
            continue

        @settings(max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.explicit, Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(case=operation.as_strategy())
        def check(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.path_parameters = {**(case.path_parameters or {}), "project_id": project}
            response = case.call(base_url=stack.settings.api_url, headers={"X-Auth-Token": token})
            if response.status_code == 501:
                return  # documented as what it is
            case.validate_response(response, checks=CHECKS)

        try:
            check()
        except Exception as error:
            wrong.append(f"{operation.label}: {str(error)[:600]}")
    assert tried > 200
    assert not wrong, "\n\n".join(wrong)
