"""The port `Tickets`, over S3: credentials for a role (STS AssumeRole) whose session policy allows one prefix.

The client library signs the request. Its own `AssumeRoleProvider` is not used, since it asks for an hour at least, and
tells nothing of a refusal but its number.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID
from xml.etree import ElementTree

import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import AWSConfigProvider, Provider, StaticProvider
from minio.error import S3Error
from minio.helpers import sha256_hash
from minio.signer import sign_v4_sts
from minio.time import to_amz_date
from temporalio import activity

from activities.objects.sealed import read_ca, seal
from activities.settings import ActivitySettings
from contract.domain.errors import BadRequest, Unsupported
from contract.keys.keyring import Keyring
from contract.ports.tickets import KeyRotation, Right, S3Access, Ticket, TicketContent, TicketOrder, Tickets

ACTIONS = {
    Right.READ: ("s3:GetObject",),
    Right.WRITE: ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
}
ALREADY_OURS = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def session_policy(bucket: str, prefix: str, right: Right) -> str:
    """Allow what the right has, below the prefix, and to list there. A prefix has no wildcard (see the port)."""
    arn = f"arn:aws:s3:::{bucket}"
    objects = {"Effect": "Allow", "Action": list(ACTIONS[right]), "Resource": [f"{arn}/{prefix}*"]}
    listing = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [arn],
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}*"]}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [objects, listing]})


@dataclass(frozen=True)
class RoleSession:
    """Credentials for a while."""

    credentials: Credentials
    expires: datetime

    def __repr__(self) -> str:
        return f"RoleSession({self.expires})"


class SecurityTokens:
    """The STS, asked with the service's own keys."""

    def __init__(self, settings: ActivitySettings, http: urllib3.PoolManager, owner: Provider) -> None:
        self._url = settings.s3_sts_endpoint or settings.objects_endpoint
        self._region = settings.s3_region
        self._role = settings.s3_role
        self._http = http
        self._owner = owner

    def assume_role(self, instance_id: UUID, seconds: int, policy: str) -> RoleSession:
        """Return credentials that the policy narrows; the session's name says in the store's log whose they are."""
        wanted = {
            "Action": "AssumeRole",
            "Version": "2011-06-15",
            "RoleSessionName": f"coffer-{instance_id}",
            "DurationSeconds": str(seconds),
            "Policy": policy,
            **({"RoleArn": self._role} if self._role else {}),
        }
        body = urlencode(wanted)
        answer = self._http.request("POST", self._url, body=body, headers=self._signed(body))
        read = _texts(answer.data)
        if answer.status >= 400:
            text = f"the object store gives no ticket: {read.get('Code', answer.status)}: {read.get('Message', '')}"
            raise BadRequest(text) if answer.status < 500 else ConnectionError(text)
        credentials = Credentials(read["AccessKeyId"], read["SecretAccessKey"], read["SessionToken"])
        return RoleSession(credentials, datetime.fromisoformat(read["Expiration"]))

    def _signed(self, body: str) -> Any:
        url, date = urlsplit(self._url), datetime.now(UTC)
        return sign_v4_sts(
            method="POST",
            url=url,
            region=self._region,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Host": url.netloc,
                "X-Amz-Date": to_amz_date(date),
            },
            credentials=self._owner.retrieve(),
            content_sha256=sha256_hash(body),
            date=date,
        )


def _texts(document: bytes) -> dict[str, str]:
    """The leaves of an answer, by name."""
    try:
        root = ElementTree.fromstring(document)  # noqa: S314 - of the store that all backups are entrusted to
    except ElementTree.ParseError:
        return {}
    return {each.tag.rpartition("}")[2]: each.text or "" for each in root.iter()}


class S3Tickets(Tickets):
    """One bucket for all instances; a policy has no way around the prefix, as a signature of Swift's has."""

    def __init__(self, settings: ActivitySettings, keyring: Keyring, keys: Provider, http: urllib3.PoolManager) -> None:
        self._settings = settings
        self._keyring = keyring
        self._http = http
        self._tokens = SecurityTokens(settings, http, keys)
        self._owner = open_client(settings, keys, http)

    @activity.defn
    def issue_ticket(self, order: TicketOrder) -> Ticket:
        order.owner()
        bucket = self._settings.objects_container
        self._require_bucket(bucket)
        policy = session_policy(bucket, order.prefix, order.right)
        session = self._tokens.assume_role(order.instance_id, order.seconds, policy)
        self._require_narrowed(bucket, session.credentials)
        access = S3Access(
            endpoint=self._settings.objects_endpoint,
            region=self._settings.s3_region,
            bucket=bucket,
            access_key=session.credentials.access_key,
            secret_key=session.credentials.secret_key,
            session_token=session.credentials.session_token or "",
        )
        content = TicketContent(prefix=order.prefix, store=access, ca=read_ca(self._settings))
        return seal(self._keyring, order, content, session.expires)

    @activity.defn
    def rotate_ticket_key(self, rotation: KeyRotation) -> None:
        raise Unsupported("temporary credentials of S3 cannot be withdrawn from here; they run out")

    def _require_narrowed(self, bucket: str, credentials: Credentials) -> None:
        """Prove that the policy counts: a store that ignores it would give away all that the service may do."""
        keys = StaticProvider(credentials.access_key, credentials.secret_key, credentials.session_token)
        outsider = open_client(self._settings, keys, self._http)
        try:
            next(outsider.list_objects(bucket), None)
        except S3Error as error:
            if error.code == "AccessDenied":
                return
            raise
        raise Unsupported("the object store ignores session policies, so it cannot give tickets")

    def _require_bucket(self, bucket: str) -> None:
        if self._owner.bucket_exists(bucket):
            return
        try:
            self._owner.make_bucket(bucket)
        except S3Error as error:
            if error.code not in ALREADY_OURS:
                raise


def open_s3_tickets(settings: ActivitySettings, keyring: Keyring) -> S3Tickets:
    """The tickets of the S3 server that the settings name."""
    if not settings.objects_endpoint or not settings.s3_credentials_file:
        raise ValueError("tickets of S3 need COFFER_OBJECTS_ENDPOINT and COFFER_S3_CREDENTIALS_FILE")
    http = urllib3.PoolManager(
        timeout=settings.cloud_timeout, retries=False, ca_cert_data=read_ca(settings) or None, cert_reqs="CERT_REQUIRED"
    )
    return S3Tickets(settings, keyring, AWSConfigProvider(str(settings.s3_credentials_file), "default"), http)


def open_client(settings: ActivitySettings, keys: Provider, http: urllib3.PoolManager) -> Minio:
    """A client of the store."""
    url = urlsplit(settings.objects_endpoint)
    return Minio(
        url.netloc, credentials=keys, secure=url.scheme == "https", region=settings.s3_region, http_client=http
    )
