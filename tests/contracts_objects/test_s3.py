"""What is S3's alone: the policy, and all that credentials could be used for beside objects."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
import urllib3
from minio.credentials.providers import StaticProvider

from activities.objects import open_tickets
from activities.objects.s3 import SecurityTokens, session_policy
from activities.openstack.connection import Connections
from activities.settings import ActivitySettings
from contract.domain.errors import BadRequest, Unsupported
from contract.ports.tickets import KeyRotation, Right, S3Access, TicketContent, TicketOrder
from guest_worker.objects import open_store
from tests.contracts_objects.seaweed import SECRET_KEY, S3Server
from tests.contracts_objects.sessions import moved_back
from tests.contracts_objects.stores import CONTAINER, Request, S3Store
from tests.contracts_objects.test_tickets import REFUSED

THEIRS = b"what another instance stored"
ALL = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::*"]}]}
)
SETTINGS = ["policy", "acl", "versioning", "lifecycle", "cors", "uploads", "versions", "object-lock", "tagging",
            "location", "encryption", "notification"]  # fmt: skip


@pytest.fixture
def target(s3: S3Store, theirs: UUID) -> str:
    """An object of another instance."""
    s3.put(f"{theirs}/b1/1", THEIRS)
    return f"{theirs}/b1/1"


def stolen(s3: S3Store, mine: UUID, right: Right) -> TicketContent:
    return s3.opened(mine, s3.issue(mine, f"{mine}/b1/", right))


def require_untouched(s3: S3Store, target: str) -> None:
    """The other's object is as it was, and still alone."""
    assert s3.look(target) == THEIRS
    assert s3.keys(UUID(target.partition("/")[0])) == [target]


@pytest.mark.parametrize(
    ("right", "actions"),
    [
        (Right.READ, ["s3:GetObject"]),
        (Right.WRITE, ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]),
    ],
)
def test_the_policy_allows_the_right_s_actions_below_the_prefix_and_nothing_else(
    right: Right, actions: list[str]
) -> None:
    assert json.loads(session_policy("shelf", "a/b/", right)) == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": actions, "Resource": ["arn:aws:s3:::shelf/a/b/*"]},
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": ["arn:aws:s3:::shelf"],
                "Condition": {"StringLike": {"s3:prefix": ["a/b/*"]}},
            },
        ],
    }


def test_another_s_object_is_not_copied_into_the_prefix(s3: S3Store, mine: UUID, target: str) -> None:
    for right in Right:
        for source in (f"/{CONTAINER}/{target}", f"{CONTAINER}/{target}", f"/{CONTAINER}/{mine}/b1/../../{target}"):
            request = Request("PUT", s3.path_of(f"{mine}/b1/copy"), headers={"X-Amz-Copy-Source": source})
            answer = s3.steal(stolen(s3, mine, right), request)
            assert answer.status in REFUSED
            assert s3.look(f"{mine}/b1/copy") is None
    require_untouched(s3, target)


@pytest.mark.parametrize("query", SETTINGS)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_bucket_s_settings_are_neither_read_nor_changed(
    s3: S3Store, mine: UUID, target: str, query: str, method: str
) -> None:
    for right in Right:
        answer = s3.steal(stolen(s3, mine, right), Request(method, f"/{CONTAINER}", query={query: ""}))
        assert answer.status in (*REFUSED, 501)
        assert target.encode() not in answer.body
    require_untouched(s3, target)


def test_no_list_of_deletions_is_taken(s3: S3Store, mine: UUID, target: str) -> None:
    body = f"<Delete><Object><Key>{target}</Key></Object></Delete>".encode()
    for right in Right:
        s3.steal(stolen(s3, mine, right), Request("POST", f"/{CONTAINER}", body, query={"delete": ""}))
    require_untouched(s3, target)


def test_a_listing_shows_what_is_below_the_prefix_and_nothing_else(s3: S3Store, mine: UUID, target: str) -> None:
    s3.put(f"{mine}/b1/1", b"mine")
    s3.put(f"{mine}/b1-evil/1", b"mine")
    listed = s3.steal(stolen(s3, mine, Right.READ), Request("GET", f"/{CONTAINER}", query={"prefix": f"{mine}/b1/"}))
    assert listed.status == 200
    assert listed.body.count(b"<Key>") == 1
    turned = [f"{mine}/b1/{up}" for up in ("../", "../../", "../b1-evil/", f"../../{target}", "x/../../")]
    for prefix in (f"{mine}/b1", f"{mine}/", "", target, *turned):
        for more in ({}, {"list-type": "2"}, {"list-type": "2", "start-after": f"{mine}/b1/"}, {"delimiter": "/"}):
            query = {"prefix": prefix, **more}
            answer = s3.steal(stolen(s3, mine, Right.READ), Request("GET", f"/{CONTAINER}", query=query))
            assert prefix in turned or answer.status in REFUSED  # names that begin so are inside the prefix
            assert b"<Key>" not in answer.body
            assert b"<CommonPrefixes>" not in answer.body


def test_a_ticket_is_not_exchanged_for_a_wider_one(s3: S3Store, mine: UUID, target: str) -> None:
    for right in Right:
        access = stolen(s3, mine, right).store
        assert isinstance(access, S3Access)
        provider = StaticProvider(access.access_key, access.secret_key, access.session_token)
        tokens = SecurityTokens(s3.settings, urllib3.PoolManager(retries=False), provider)
        with pytest.raises(BadRequest):
            tokens.assume_role(mine, 900, ALL)
    require_untouched(s3, target)


@pytest.mark.parametrize("action", ["ListUsers", "CreateUser", "CreateAccessKey", "ListAccessKeys", "PutUserPolicy"])
def test_no_account_is_made_or_seen(s3: S3Store, mine: UUID, action: str) -> None:
    body = f"Action={action}&Version=2010-05-08&UserName=coffer&PolicyName=all&PolicyDocument={ALL}".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for right in Right:
        answer = s3.steal(stolen(s3, mine, right), Request("POST", "/", body, headers))
        assert answer.status in (*REFUSED, 501)
        assert SECRET_KEY.encode() not in answer.body


def test_it_is_the_time_that_ends_a_session(s3: S3Store, mine: UUID) -> None:
    """The control of the test of expiry: dated again by nothing, a session is as good as it was."""
    ticket = s3.issue(mine, f"{mine}/b1/", Right.WRITE)
    opened = s3.opened(mine, ticket)
    assert isinstance(opened.store, S3Access)
    for seconds in (0, 600):
        token = moved_back(opened.store.session_token, seconds)
        dated = opened.model_copy(update={"store": opened.store.model_copy(update={"session_token": token})})
        sealed = s3.box(mine).seal(dated.model_dump_json())
        open_store(ticket.model_copy(update={"opens": sealed}), s3.box(mine)).put("1", b"")
    claims = json.loads(base64.urlsafe_b64decode(opened.store.session_token.split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 900


def test_what_cannot_be_withdrawn_is_not_said_to_be(s3: S3Store, mine: UUID) -> None:
    with pytest.raises(Unsupported, match="run out"):
        s3.tickets.rotate_ticket_key(KeyRotation(instance_id=mine, name="x", revoke=True))


@pytest.mark.parametrize("policy", ["", ALL])
def test_a_store_that_ignores_the_policy_gives_no_ticket(
    s3: S3Store, mine: UUID, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """Such a store is played by one that is asked for too much: it answers as if the policy were not there."""
    monkeypatch.setattr("activities.objects.s3.session_policy", lambda *_: policy)
    for right in Right:
        with pytest.raises(Unsupported, match="ignores session policies"):
            s3.issue(mine, f"{mine}/b1/", right)


# -- an STS that refuses -----------------------------------------------------------------------------------------------


def order(mine: UUID) -> TicketOrder:
    return TicketOrder(instance_id=mine, prefix=f"{mine}/b1/", right=Right.READ)


@pytest.fixture
def wrong_keys(server: S3Server, tmp_path: Path) -> ActivitySettings:
    """Settings with a secret that the server does not know."""
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = owner\naws_secret_access_key = guessed-in-vain\n")
    return ActivitySettings(objects="s3", objects_endpoint=server.url, s3_credentials_file=file)


def test_a_refusal_of_the_sts_says_why_and_shows_no_key(s3: S3Store, wrong_keys: ActivitySettings, mine: UUID) -> None:
    tokens = SecurityTokens(wrong_keys, urllib3.PoolManager(retries=False), StaticProvider("owner", "guessed-in-vain"))
    with pytest.raises(BadRequest, match="gives no ticket: SignatureDoesNotMatch") as found:
        tokens.assume_role(mine, 900, session_policy(CONTAINER, f"{mine}/b1/", Right.READ))
    assert "guessed-in-vain" not in str(found.value) + repr(found.value)
    with pytest.raises(Exception, match=r"Access|Signature|Forbidden") as other:
        open_tickets(wrong_keys, s3.keyring, Connections("none", 8)).issue_ticket(order(mine))
    assert "guessed-in-vain" not in str(other.value) + repr(other.value)


class Broken(BaseHTTPRequestHandler):
    """An STS that is ill."""

    def do_POST(self) -> None:
        self.send_error(503)

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def broken() -> Iterator[str]:
    """The URL of an STS that is ill."""
    with HTTPServer(("127.0.0.1", 0), Broken) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_sts_that_is_ill_may_be_asked_again(server: S3Server, broken: str, mine: UUID, s3: S3Store) -> None:
    settings = s3.settings.model_copy(update={"s3_sts_endpoint": broken})
    tickets = open_tickets(settings, s3.keyring, Connections("none", 8))
    with pytest.raises(ConnectionError, match="gives no ticket: 503"):
        tickets.issue_ticket(order(mine))


def test_settings_without_a_server_are_refused_at_the_start(s3: S3Store) -> None:
    with pytest.raises(ValueError, match="COFFER_S3_CREDENTIALS_FILE"):
        open_tickets(ActivitySettings(objects="s3"), s3.keyring, Connections("none", 8))
