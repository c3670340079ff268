"""How a browser logs in to the codec server: its origin and its cookie, before it is asked whose token it has."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from api.faults import Fault
from api.keystone import Identity, Login
from api.login_page import HEADERS, logged_in, login_form
from api.operators import Operators, Session, token_of
from api.settings import CodecServerSettings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class BrowserLogin:
    """The rules of a browser (origins, the cookie) before those of `Operators`."""

    def __init__(self, settings: CodecServerSettings, operators: Operators) -> None:
        self._settings = settings
        self._operators = operators
        self._secure = settings.codec_url.startswith("https://")
        self._cookie = "__Host-coffer-codec" if self._secure else "coffer-codec"

    def own_origin(self, request: Request) -> str | None:
        """The origin of our own page; None where the browser names a host that nobody has said to be ours."""
        if self._settings.codec_url:
            return self._settings.codec_url
        host = request.headers.get("host", "")
        try:
            return f"http://{host}" if urlsplit(f"http://{host}").hostname in LOOPBACK else None
        except ValueError:
            return None

    def require_own_origin(self, request: Request) -> None:
        """Refuse a form that another page has sent."""
        own = self.own_origin(request)
        if own is None:
            raise Fault(403, "This server is not known by this name; its operator says so with COFFER_CODEC_URL.")
        if request.headers.get("origin") != own:
            raise Fault(403, "This was not sent by the page of the codec server.")

    async def operator(self, request: Request) -> Identity:
        """Return the operator who asks for payloads; Fault 401, 403 or 503."""
        token = token_of(request.headers)
        if token is None:
            token = self._token_of_session(request)
        try:
            return await self._operators.admit(token, request.method, request.url.path)
        except Fault as fault:
            if fault.code == 401:
                self._operators.sessions.close(self._chosen(request))  # its token was revoked, if there is one
                where = f"{self.own_origin(request) or ''}/login"
                raise Fault(401, f"Log in at {where}, or send an operator's Keystone token: in X-Auth-Token, or as "
                                 "'Bearer TOKEN' in Authorization (for Temporal's CLI: TEMPORAL_CODEC_AUTH).",
                            fault.headers) from None  # fmt: skip
            raise

    def _token_of_session(self, request: Request) -> str | None:
        """The token behind the cookie. Browsers send a cookie for any page of this host: so the origin must be right."""
        session = self.session(request)
        if session is not None and request.headers.get("origin") not in self._settings.origins:
            raise Fault(403, "This origin may not ask; COFFER_CODEC_ORIGINS says which may.")
        return session.token if session else None

    def session(self, request: Request) -> Session | None:
        """The session that the cookie names."""
        return self._operators.sessions.find(self._chosen(request))

    def _chosen(self, request: Request) -> str:
        return request.cookies.get(self._cookie, "")

    async def log_in(self, request: Request, form: Mapping[str, str]) -> Response:
        """Begin a session in the place of the browser's former one."""
        account = Login(**form)
        chosen, seconds = await self._operators.log_in(account, request.client.host if request.client else "")
        await self._operators.log_out(self._chosen(request))
        answer = see_login()
        answer.set_cookie(self._cookie, chosen, max_age=int(seconds), path="/",
                          secure=self._secure, httponly=True, samesite="strict")  # fmt: skip
        return answer

    async def log_out(self, request: Request) -> Response:
        """End the browser's session."""
        await self._operators.log_out(self._chosen(request))
        answer = see_login()
        answer.delete_cookie(self._cookie, path="/", secure=self._secure, httponly=True, samesite="strict")
        return answer

    def page(self, request: Request, fault: Fault | None = None, filled: Mapping[str, str] | None = None) -> Response:
        """The page for who is logged in, else the form."""
        session = self.session(request)
        if session is None or fault is not None:
            content = login_form(fault.message if fault else "", filled or {})
        else:
            minutes = int(self._operators.sessions.seconds_left(session) / 60)
            content = logged_in(session.user, minutes, self._web_ui(request), self.own_origin(request) or "")
        code, more = (fault.code, fault.headers) if fault else (200, {})
        return HTMLResponse(content, status_code=code, headers={**HEADERS, **more})

    def _web_ui(self, request: Request) -> str:
        """The Web UI at the host that the browser names: at another one, it would not send the cookie."""
        host = urlsplit(self.own_origin(request) or "").hostname
        same = [each for each in self._settings.origins if urlsplit(each).hostname == host]
        return next(iter(same or self._settings.origins), "")


def see_login() -> Response:
    """Send the browser to the page."""
    return RedirectResponse("/login", status_code=303, headers={"Cache-Control": "no-store"})
