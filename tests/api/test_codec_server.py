"""The codec server opens payloads for operators, over real HTTP and with a real Keystone, and for nobody else."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads

from api.codec_server import app
from api.faults import Fault
from api.keystone import IssuedToken, Keystone, Login
from api.operators import Attempts, Sessions
from api.settings import CodecServerSettings
from contract.keys.keyring import MasterKeyring
from contract.wire.codec import SealingCodec
from deploy import temporal
from deploy.secrets import password
from tests.stack import RunningStack
from tests.temporal import free_port

CLEAR = b'{"name": "orders"}'
COOKIE = "coffer-codec"


@pytest.fixture(scope="module")
def sealed(stack: RunningStack) -> dict[str, Any]:
    """A list of one payload, as Temporal keeps it."""
    codec = SealingCodec(MasterKeyring.read(stack.settings.secrets / "master.key"))
    payload = Payload(metadata={"encoding": b"json/plain"}, data=CLEAR)
    return as_json(asyncio.run(codec.encode([payload])))


@pytest.fixture(scope="module")
def operator(stack: RunningStack) -> str:
    """An operator's token."""
    return stack.token("admin")[0]


@pytest.fixture
def browser(stack: RunningStack) -> Iterator[httpx.Client]:
    """Keeps cookies, as a browser at the Web UI does; the page's own forms say so themselves."""
    with browser_of(stack, stack.settings.codec_url) as client:
        yield client


def browser_of(stack: RunningStack, url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Origin": web_ui(stack)}, timeout=30)


def as_json(payloads: list[Payload]) -> dict[str, Any]:
    return MessageToDict(Payloads(payloads=payloads))


def opened(answer: httpx.Response) -> bytes:
    assert answer.status_code == 200, answer.text
    (payload,) = answer.json()["payloads"]
    return base64.b64decode(payload["data"])


def refused(answer: httpx.Response, code: int) -> str:
    """Check that nothing was opened; return the sentence that says why."""
    assert answer.status_code == code, answer.text
    (fault,) = answer.json().values()
    assert fault["code"] == code
    return str(fault["message"])


def web_ui(stack: RunningStack) -> str:
    return f"http://127.0.0.1:{stack.settings.ui_port}"


def log_in(browser: httpx.Client, stack: RunningStack, account: str = "admin", **changes: str) -> httpx.Response:
    """Send the form from the page itself."""
    own = str(browser.base_url).rstrip("/")
    return browser.post("/login", data={**login_of(stack, account), **changes}, headers={"Origin": own})


def login_of(stack: RunningStack, account: str) -> dict[str, str]:
    return {"user": account, "password": password(stack.settings, account), "project": account,
            "user_domain": "Default", "project_domain": "Default"}  # fmt: skip


@contextmanager
def another_server(stack: RunningStack, **changes: Any) -> Iterator[str]:
    """A codec server with other settings; yields its address."""
    port = free_port()
    given: dict[str, Any] = {"codec_port": port, "keystone_url": stack.settings.keystone_url,
                             "master_key_file": stack.settings.secrets / "master.key",
                             "codec_origins": web_ui(stack), **changes}  # fmt: skip
    config = uvicorn.Config(app(CodecServerSettings(**given)), host="127.0.0.1", port=port, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=10)


@pytest.mark.parametrize("path", ["/decode", "/encode"])
def test_without_a_login_it_says_where_to_log_in(stack: RunningStack, sealed: dict[str, Any], path: str) -> None:
    url = stack.settings.codec_url
    for headers in ({}, {"X-Auth-Token": ""}, {"X-Auth-Token": "nonsense"}, {"Authorization": "Bearer nonsense"},
                    {"Authorization": "Basic YWRtaW46YWRtaW4="}, {"Authorization": "Bearer"},
                    {"Cookie": f"{COOKIE}=nonsense", "Origin": web_ui(stack)}):  # fmt: skip
        message = refused(httpx.post(url + path, json=sealed, headers=headers), 401)
        assert f"{url}/login" in message


@pytest.mark.parametrize("path", ["/decode", "/encode"])
def test_a_tenant_is_no_operator(stack: RunningStack, sealed: dict[str, Any], path: str) -> None:
    token, _ = stack.token("demo")
    for headers in ({"X-Auth-Token": token}, {"Authorization": f"Bearer {token}"}):
        refused(httpx.post(stack.settings.codec_url + path, json=sealed, headers=headers), 403)


def test_an_operator_s_token_opens_and_seals(stack: RunningStack, sealed: dict[str, Any], operator: str) -> None:
    url = stack.settings.codec_url
    for headers in ({"X-Auth-Token": operator}, {"Authorization": f"Bearer {operator}"}):
        assert opened(httpx.post(f"{url}/decode", json=sealed, headers=headers)) == CLEAR
        clear = as_json([Payload(metadata={"encoding": b"json/plain"}, data=b'"x"')])
        again = httpx.post(f"{url}/encode", json=clear, headers=headers).json()
        assert b'"x"' not in base64.b64decode(again["payloads"][0]["data"])
        assert opened(httpx.post(f"{url}/decode", json=again, headers=headers)) == b'"x"'


def test_the_policy_says_who_is_an_operator(
    stack: RunningStack, sealed: dict[str, Any], operator: str, tmp_path: Path
) -> None:
    rules = tmp_path / "policy.yaml"
    rules.write_text("context_is_admin: role:member and not role:admin\n")
    member, _ = stack.token("demo")
    with another_server(stack, policy_file=rules) as url:
        assert opened(httpx.post(f"{url}/decode", json=sealed, headers={"X-Auth-Token": member})) == CLEAR
        refused(httpx.post(f"{url}/decode", json=sealed, headers={"X-Auth-Token": operator}), 403)


def test_a_health_check_needs_no_login(stack: RunningStack) -> None:
    assert httpx.get(f"{stack.settings.codec_url}/healthcheck").json() == {"status": "ok"}


def test_a_browser_logs_in_reads_and_logs_out(
    stack: RunningStack, browser: httpx.Client, sealed: dict[str, Any]
) -> None:
    form = browser.get("/login")
    assert form.status_code == 200
    assert "<script" not in form.text
    assert "default-src 'none'" in form.headers["content-security-policy"]
    assert form.headers["x-frame-options"] == "DENY"

    answer = log_in(browser, stack)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    kept = answer.headers["set-cookie"]
    assert re.match(rf"{COOKIE}=[\w-]{{43}}; HttpOnly; Max-Age=\d+; Path=/; SameSite=strict$", kept), kept

    page = browser.get("/login").text
    assert "logged in as <b>admin</b>" in page
    assert web_ui(stack) in page
    read = browser.post("/decode?preserveStorageRefs=true", json=sealed)
    assert opened(read) == CLEAR
    assert read.headers["access-control-allow-origin"] == web_ui(stack)
    assert read.headers["access-control-allow-credentials"] == "true"
    assert browser.post("/encode", json=sealed).status_code == 200

    stolen = dict(browser.cookies)
    assert browser.post("/logout", headers={"Origin": stack.settings.codec_url}).status_code == 303
    assert not browser.cookies
    cookie = "; ".join(f"{name}={value}" for name, value in stolen.items())
    refused(browser.post("/decode", json=sealed, headers={"Cookie": cookie}), 401)


@pytest.fixture
def grants(monkeypatch: pytest.MonkeyPatch) -> list[IssuedToken]:
    """The tokens that logins get; nobody outside can see them otherwise."""
    made: list[IssuedToken] = []
    real = Keystone.log_in

    async def recording(self: Keystone, account: Login) -> IssuedToken:
        made.append(await real(self, account))
        return made[-1]

    monkeypatch.setattr(Keystone, "log_in", recording)
    return made


def of_keystone(stack: RunningStack, verb: str, token: str) -> httpx.Response:
    """Ask for, or revoke, a token with itself."""
    headers = {"X-Auth-Token": token, "X-Subject-Token": token}
    return httpx.request(verb, f"{stack.settings.keystone_url}/auth/tokens", headers=headers)


def test_a_session_is_never_longer_than_its_token(stack: RunningStack, grants: list[IssuedToken]) -> None:
    with another_server(stack, codec_session_seconds=10_000_000) as url, browser_of(stack, url) as browser:
        kept = log_in(browser, stack).headers["set-cookie"]
        assert int(re.findall(r"Max-Age=(\d+)", kept)[0]) == int(grants[0].seconds) < 100_000


def test_session_and_token_end_together(stack: RunningStack, sealed: dict[str, Any], grants: list[IssuedToken]) -> None:
    with another_server(stack, token_cache_seconds=0) as url, browser_of(stack, url) as browser:
        assert log_in(browser, stack).status_code == 303
        assert opened(browser.post("/decode", json=sealed)) == CLEAR
        assert all(grants[0].token not in text for text in (browser.get("/login").text, *browser.cookies.values()))
        of_keystone(stack, "DELETE", grants[0].token).raise_for_status()
        refused(browser.post("/decode", json=sealed), 401)
        assert "password" in browser.get("/login").text

        log_in(browser, stack)
        log_in(browser, stack)  # in the place of the former session
        assert of_keystone(stack, "GET", grants[1].token).status_code != 200
        assert of_keystone(stack, "GET", grants[2].token).status_code == 200
        browser.post("/logout", headers={"Origin": url})
        assert of_keystone(stack, "GET", grants[2].token).status_code != 200


def test_a_session_is_bounded(stack: RunningStack, sealed: dict[str, Any]) -> None:
    with another_server(stack, codec_session_seconds=1) as url, browser_of(stack, url) as browser:
        assert "Max-Age=1;" in log_in(browser, stack).headers["set-cookie"]
        kept = dict(browser.cookies)
        assert opened(browser.post("/decode", json=sealed)) == CLEAR
        time.sleep(1.1)
        browser.cookies.clear()
        refused(browser.post("/decode", json=sealed, headers={"Cookie": f"{COOKIE}={kept[COOKIE]}"}), 401)


def test_behind_tls_the_cookie_is_for_tls_alone(stack: RunningStack) -> None:
    public = "https://codec.example.org"
    with another_server(stack, codec_url=public) as url, browser_of(stack, url) as browser:
        assert log_in(browser, stack).status_code == 403  # the address behind the proxy is not the page's
        kept = browser.post("/login", data=login_of(stack, "admin"), headers={"Origin": public}).headers["set-cookie"]
        assert kept.startswith("__Host-coffer-codec=")
        assert "; Secure" in kept


def test_a_wrong_login_is_refused_and_the_page_says_so(stack: RunningStack, browser: httpx.Client) -> None:
    for changes, code in (({"password": "wrong-and-unseen"}, 401), ({"project": "no-such"}, 401),
                          ({"user": '"><script>', "password": "x"}, 401), ({"account": "demo"}, 403)):  # fmt: skip
        answer = log_in(browser, stack, **changes)
        assert answer.status_code == code
        assert 'role="alert"' in answer.text
        assert "<script" not in answer.text
        assert "wrong-and-unseen" not in answer.text
        assert not browser.cookies
    assert "wrong-and-unseen" not in (stack.settings.log / "codec-server.log").read_text()


def test_only_the_page_itself_may_log_in_and_out(
    stack: RunningStack, browser: httpx.Client, sealed: dict[str, Any]
) -> None:
    own = stack.settings.codec_url
    rebound = f"http://evil.example:{stack.settings.codec_port}"
    assert log_in(browser, stack).status_code == 303
    for origin in (web_ui(stack), "http://evil.example", "null", "", own.replace("http", "https"), rebound):
        for path in ("/login", "/logout"):
            host = {"Host": rebound.removeprefix("http://")} if origin == rebound else {}
            assert browser.post(path, data={"user": "admin"}, headers={"Origin": origin, **host}).status_code == 403
    assert httpx.post(f"{own}/logout", cookies=dict(browser.cookies)).status_code == 403
    assert opened(browser.post("/decode", json=sealed)) == CLEAR


def test_a_cookie_counts_for_the_web_ui_s_pages_alone(
    stack: RunningStack, browser: httpx.Client, sealed: dict[str, Any], operator: str
) -> None:
    assert log_in(browser, stack).status_code == 303
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", ""):
        foreign = browser.post("/decode", json=sealed, headers={"Origin": origin})
        refused(foreign, 403)
        assert "access-control-allow-origin" not in foreign.headers
    none = httpx.post(f"{stack.settings.codec_url}/decode", json=sealed, cookies=dict(browser.cookies))
    refused(none, 403)
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-namespace"}
    asked = browser.options("/decode", headers=preflight)
    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == web_ui(stack)
    asked = browser.options("/decode", headers={**preflight, "Origin": "http://evil.example"})
    assert asked.status_code == 400
    assert "access-control-allow-origin" not in asked.headers
    by_token = {"X-Auth-Token": operator, "Origin": "http://evil.example"}  # whoever has a token needs no browser
    assert "access-control-allow-origin" not in browser.post("/decode", json=sealed, headers=by_token).headers


@pytest.mark.parametrize("origins", ["*", "http://127.0.0.1:8233,*", "http://a.example/path", "127.0.0.1:8233"])
def test_origins_are_named_one_by_one(origins: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        CodecServerSettings(codec_origins=origins)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b'"x"', b"1", b"\xff\xfe", b'{"payloads": {}}', b'{"payloads": [1]}', b"[" * 100_000,
     b'{"payloads": [{"data": "A"}]}', b'{"payloads": [{"data": 1}]}', b'{"other": []}',
     b'{"payloads": ' * 5000, b'{"payloads": [{"metadata": []}]}', b'{"payloads": [{"metadata": {"a": null}}]}'],
)  # fmt: skip
def test_what_are_no_payloads_is_400(stack: RunningStack, operator: str, content: bytes) -> None:
    headers = {"X-Auth-Token": operator, "Content-Type": "application/json"}
    for path in ("/decode", "/encode"):
        refused(httpx.post(stack.settings.codec_url + path, content=content, headers=headers), 400)


def test_what_cannot_be_opened_is_null(stack: RunningStack, operator: str) -> None:
    foreign = Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"c:1/down"}, data=b"x" * 60)
    headers = {"X-Auth-Token": operator}
    assert opened(httpx.post(f"{stack.settings.codec_url}/decode", json=as_json([foreign]), headers=headers)) == b"null"


def test_large_bodies_are_413_and_are_not_read_without_a_login(stack: RunningStack, operator: str) -> None:
    large = b'{"payloads": []}' + b" " * 8_388_608
    url = f"{stack.settings.codec_url}/decode"
    assert "larger than 8388608 bytes" in refused(
        httpx.post(url, content=large, headers={"X-Auth-Token": operator}), 413
    )
    endless = iter([b"{", *[b" " * 65_536] * 200])
    refused(httpx.post(url, content=endless, headers={"X-Auth-Token": operator}), 413)
    form = httpx.post(f"{stack.settings.codec_url}/login", content=b"user=" + b"x" * 10_000,
                      headers={"Origin": stack.settings.codec_url})  # fmt: skip
    assert form.status_code == 413


def test_a_form_that_is_none_is_400(stack: RunningStack) -> None:
    for content in (b"\xff", b"user=%ff", b"&".join(b"a=1" for _ in range(50)), b"", b"user=admin"):
        answer = httpx.post(f"{stack.settings.codec_url}/login", content=content,
                            headers={"Origin": stack.settings.codec_url})  # fmt: skip
        assert answer.status_code == 400, content


def test_while_keystone_is_away_nobody_new_comes_in(stack: RunningStack, sealed: dict[str, Any], operator: str) -> None:
    with another_server(stack, keystone_url=f"http://127.0.0.1:{free_port()}/v3") as url:
        answer = httpx.post(f"{url}/decode", json=sealed, headers={"X-Auth-Token": operator})
        refused(answer, 503)
        with browser_of(stack, url) as browser:
            for _ in range(7):  # these count for no rate limit: no password was tried
                assert log_in(browser, stack).status_code == 503
        refused(httpx.post(f"{url}/decode", json=sealed), 401)
        assert httpx.get(f"{url}/healthcheck").status_code == 200


def test_wrong_passwords_are_limited_for_each_user(stack: RunningStack) -> None:
    with another_server(stack) as url, browser_of(stack, url) as browser:
        codes = [log_in(browser, stack, password=f"guess {number}").status_code for number in range(6)]
        assert codes == [401] * 5 + [429]
        limited = log_in(browser, stack)  # the right password comes too late
        assert limited.status_code == 429
        assert 1 <= int(limited.headers["retry-after"]) <= 61
        assert not browser.cookies
        assert log_in(browser, stack, "coffer", project="service").status_code == 303


def test_failed_logins_are_limited_in_all_and_forgotten_after_a_minute() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    for number in range(30):
        attempts.begin(f"user {number}")
    with pytest.raises(Fault) as limited:
        attempts.begin("another")
    assert limited.value.code == 429
    attempts.forgive("user 7")
    attempts.begin("another")
    now = 60.0
    for _ in range(5):
        attempts.begin("another")
    with pytest.raises(Fault):
        attempts.begin("another")


def test_old_sessions_give_way() -> None:
    now = 0.0
    sessions = Sessions(lambda: now)
    first = sessions.open("admin", "token", 10)
    last = [sessions.open("admin", "token", 10) for _ in range(1000)][-1]
    assert sessions.find(first) is None
    assert sessions.find(last) is not None
    now = 10.0
    assert sessions.find(last) is None


def test_temporal_s_cli_comes_in_with_a_token(stack: RunningStack, operator: str) -> None:
    """What docs/operators.md tells operators to export is what the CLI reads."""
    name = "codec-server-and-cli"
    said = {"TEMPORAL_ADDRESS": f"127.0.0.1:{stack.settings.temporal_port}", "TEMPORAL_NAMESPACE": temporal.NAMESPACE,
            "TEMPORAL_CODEC_ENDPOINT": stack.settings.codec_url}  # fmt: skip
    admitted = {**said, "TEMPORAL_CODEC_AUTH": f"Bearer {operator}"}
    start = ["start", "--type", "Nothing", "--task-queue", "nobody", "--workflow-id", name, "--input", CLEAR.decode()]
    assert cli(said, *start, "--command-timeout", "1s").returncode != 0  # it tries again for 10 seconds otherwise
    started = cli(admitted, *start)
    assert started.returncode == 0, started.stderr
    show = ["show", "--workflow-id", name, "--output", "json"]
    assert history_input(cli(admitted, *show)) == CLEAR
    bare = {key: value for key, value in said.items() if key != "TEMPORAL_CODEC_ENDPOINT"}
    assert CLEAR not in (history_input(cli(bare, *show)) or b"")
    assert cli(admitted, "terminate", "--workflow-id", name).returncode == 0


def cli(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    program = temporal.binary(Path(sys.executable))
    return subprocess.run([program, "workflow", *arguments], capture_output=True, text=True, timeout=60,
                          env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment})  # fmt: skip


def history_input(shown: subprocess.CompletedProcess[str]) -> bytes:
    assert shown.returncode == 0, shown.stderr
    first = json.loads(shown.stdout)["events"][0]["workflowExecutionStartedEventAttributes"]
    (found,) = first["input"]["payloads"] if isinstance(first["input"], dict) else first["input"]
    return (
        base64.b64decode(found["data"]) if isinstance(found, dict) and "data" in found else json.dumps(found).encode()
    )


def test_failed_logins_from_one_address_keep_nobody_out_at_another() -> None:
    attempts = Attempts(lambda: 0.0)
    for number in range(30):
        attempts.begin("operator" if number < 5 else f"user {number}", "192.0.2.1")
    for user in ("operator", "another"):
        with pytest.raises(Fault):
            attempts.begin(user, "192.0.2.1")
        attempts.begin(user, "192.0.2.2")
