"""Markers and path segments survive what clients do to them. What is checked here needs no stack: it is pure text."""

from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.routing import compile_path

from api import views
from api.edge import normal_path
from api.requests import MARKED, marker_of, name_of, paging
from api.routes.common import segment, user_of_text

ODD = [
    "z#00",
    "a b",
    "a+b",
    "a%b",
    "a%2Fb",
    "a&b=c",
    "a/b",
    "a?b",
    "~x",
    "~eA",
    "größe",
    "用户",
    "u@10.0.0.0/24",
    ".",
    "..",
    "%",
]
names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=12
) | st.sampled_from(ODD)


def asked(url: str) -> Request:
    """A request as the server reads it off the wire."""
    query = urlsplit(url).query.encode()
    services = SimpleNamespace(settings=SimpleNamespace(page_size=20))
    app = SimpleNamespace(state=SimpleNamespace(services=services))
    return Request({"type": "http", "query_string": query, "headers": [], "app": app})


def wire(url: str) -> str:
    """A URL as `requests`, which is below both of OpenStack's clients, sends it."""
    return str(requests.Request("GET", url).prepare().url)


def follow(link: str) -> str:
    """Terraform, gophercloud: the link as it is."""
    return wire(link)


def pasted(link: str) -> str:
    """python-troveclient: the marker is decoded and pasted into a URL as it is."""
    found = dict(parse_qsl(urlsplit(link).query))
    return wire(f"http://api/list?limit={found['limit']}&marker={found['marker']}")


def encoded(link: str) -> str:
    """openstacksdk: the marker is decoded and given as a parameter, encoded again."""
    return wire("http://api/list?" + urlencode(dict(parse_qsl(urlsplit(link).query))))


def encoded_by_hand(link: str) -> str:
    """Whoever encodes each character that is no letter."""
    found = dict(parse_qsl(urlsplit(link).query))
    marker = "".join(f"%{each:02x}" for each in found["marker"].encode())
    return f"http://api/list?limit={found['limit']}&marker={marker}"


@given(there=st.sets(names, max_size=12), limit=st.integers(1, 5))
@pytest.mark.parametrize("client", [follow, pasted, encoded, encoded_by_hand])
def test_a_client_sees_each_name_once(client: Any, there: set[str], limit: int) -> None:
    context: Any = SimpleNamespace(base="http://api", project_id="p")
    url, seen = f"http://api/list?limit={limit}", []
    for _ in range(len(there) + 1):
        page = paging(asked(url))
        found, more = views.cut(there, str, page.limit, page.marker)
        seen += found
        marker = marker_of(found[-1]) if more else None
        body = views.paged(context, "list", "items", found, page.following(marker))
        if "links" not in body:
            break
        url = client(body["links"][0]["href"])
    assert seen == sorted(there)


@given(names)
@example("~")
@example(MARKED + "YQ")
def test_a_marker_is_its_name_and_a_plain_name_is_itself(name: str) -> None:
    assert name_of(marker_of(name)) == name
    if not name.startswith(MARKED):
        assert name_of(name) == name


def _encode_all(text: str) -> str:
    return "".join(f"%{each:02X}" for each in text.encode())


@given(names)
@example("..")
def test_each_segment_of_a_path_is_decoded_once(name: str) -> None:
    """By whatever route: the name that the route is given is the one that the client meant."""
    pattern, _, _ = compile_path("/v1.0/{project}/instances/{instance}/users/{name}/databases/{database}")
    for encode in (partial(quote, safe=""), _encode_all):
        raw = f"/v1.0/p/instances/{encode(name)}/users/{encode(name)}/databases/{encode(name)}"
        found = pattern.match(normal_path({"raw_path": raw.encode(), "path": ""}))
        assert found is not None
        assert [segment(found[each]) for each in ("instance", "name", "database")] == [name] * 3


@pytest.mark.parametrize(
    ("text", "name", "host"),
    [("amy", "amy", "%"), ("amy@", "amy", "%"), ("a@b@10.0.0.1", "a@b", "10.0.0.1"), ("u@10.0.0.0%2F24", "u", "10.0.0.0/24"),
     ("a%25b", "a%b", "%"), ("a%2541", "a%41", "%"), ("a%252Fb", "a%2Fb", "%"), ("a+b", "a+b", "%")],
)  # fmt: skip
def test_users_in_paths(text: str, name: str, host: str) -> None:
    path = normal_path({"raw_path": f"/{text}".encode(), "path": ""})
    found = user_of_text(segment(path.removeprefix("/")))
    assert (found.name, found.host) == (name, host)
