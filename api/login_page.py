"""The codec server's page: log in, what to set in the Web UI, log out. No script, nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1c1c1c}"
    "label{display:block;margin:.8rem 0}input{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.4rem}"
    "button{font:inherit;padding:.4rem 1.2rem}.fault{background:#fde8e8;padding:.6rem 1rem}code{background:#f0f0f0}"
)
_DIGEST = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer, the browser would hide the form's origin from us
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
FIELDS = {  # name: (label, type, what stands in it, completion)
    "user": ("User", "text", "", "username"),
    "password": ("Password", "password", "", "current-password"),
    "project": ("Project", "text", "admin", "off"),
    "user_domain": ("Domain of the user", "text", "Default", "off"),
    "project_domain": ("Domain of the project", "text", "Default", "off"),
}


def login_form(fault: str, filled: Mapping[str, str]) -> str:
    """The form, with what went wrong and with what was filled in before; never the password."""
    said = f'<p class="fault" role="alert">{escape(fault)}</p>' if fault else ""
    rows = "".join(_row(name, filled) for name in FIELDS)
    return _page(
        "<p>Payloads are encrypted. Operators log in here, with their account in Keystone, to read them in the Web UI.</p>"
        f'{said}<form method="post" action="/login">{rows}<button>Log in</button></form>'
    )


def _row(name: str, filled: Mapping[str, str]) -> str:
    label, kind, default, completion = FIELDS[name]
    value = "" if kind == "password" else filled.get(name, default)
    return (
        f'<label>{label}<input name="{name}" type="{kind}" value="{escape(value)}" autocomplete="{completion}"'
        f' maxlength="255" required></label>'
    )


def logged_in(user: str, minutes: int, web_ui: str, endpoint: str) -> str:
    """Who is logged in, and what remains to be done in the Web UI."""
    link = f'<a href="{escape(web_ui)}" rel="noreferrer">{escape(web_ui)}</a>'
    return _page(
        f"<p>You are logged in as <b>{escape(user)}</b>, for {minutes} more minutes.</p>"
        f"<p>The Web UI at {link} shows payloads once it sends this login along. Where its operator has not set that"
        " for everybody, set it once in this browser: click the glasses at its top right, choose <i>Use my browser"
        f" setting and ignore Cluster-level setting</i>, give the endpoint <code>{escape(endpoint)}</code>, switch on"
        " <i>Include cross-origin credentials</i>, and apply. The glasses then turn from red to green.</p>"
        '<form method="post" action="/logout"><button>Log out</button></form>'
    )


def _page(content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Coffer: codec server</title>'
        f"<style>{STYLE}</style></head><body><h1>Coffer: codec server</h1>{content}</body></html>"
    )
