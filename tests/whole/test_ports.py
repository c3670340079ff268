"""Ports of the stack that a web page in an operator's browser could reach."""

import subprocess

import httpx
import pytest

from tests.stack import RunningStack

START = '{"workflowType": {"name": "Sweep"}, "taskQueue": {"name": "runbooks"}}'
HOSTS = ("127.0.0.1", "localhost", "evil.example", "")


def listening(stack: RunningStack, program: str) -> list[int]:
    """TCP ports that a process of the stack listens on, as the kernel lists them."""
    pid = stack.stack.supervisor.states()[program]["pid"]
    shown = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[3].rpartition(":")[2]) for line in shown.splitlines() if f"pid={pid}," in line]


def test_only_the_web_ui_answers_http_in_temporal_s_place(stack: RunningStack) -> None:
    ports = listening(stack, "temporal")
    assert {stack.settings.temporal_port, stack.settings.ui_port} < set(ports)
    served = {port for port in ports for host in HOSTS if _lists_namespaces(port, host)}
    assert served == {stack.settings.ui_port}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
@pytest.mark.parametrize("host", HOSTS)
def test_no_form_of_a_web_page_starts_a_run(stack: RunningStack, kind: str, host: str) -> None:
    for number, port in enumerate(listening(stack, "temporal")):
        path = f"/api/v1/namespaces/coffer/workflows/started-by-a-form-{number}"
        answer = _ask(port, host, "POST", path, kind)
        assert answer is None or answer.status_code in (400, 403, 404)


def _lists_namespaces(port: int, host: str) -> bool:
    answer = _ask(port, host, "GET", "/api/v1/namespaces", "")
    return answer is not None and answer.is_success


def _ask(port: int, host: str, method: str, path: str, kind: str) -> httpx.Response | None:
    headers = {"Host": host or f"127.0.0.1:{port}", "Origin": "http://evil.example"}
    if kind:
        headers["Content-Type"] = kind
    try:
        return httpx.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, timeout=5, trust_env=False,
                             content=START if method == "POST" else None)  # fmt: skip
    except httpx.HTTPError:
        return None
