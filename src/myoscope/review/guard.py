"""Who may speak to the server: one page, opened by whoever reads the terminal, on this machine.

Refused before anything else is looked at: a Host that is not this server (another name for loopback, as in DNS
rebinding), an Origin that is not this page, a body beyond `MAX_BODY`. The address holds a token that is good for one
exchange against the session's key; the page keeps the key and sends it in a header, which no other site can.
"""

import hmac
import secrets
from collections.abc import Callable

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 8 * 2**20
"""Bytes; a stroke over every voxel of a slice in checkerboard is less."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Keys:
    """The one-time token and the session's key."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.token, self.used, self.key = secrets.token_urlsafe(24), "", secrets.token_urlsafe(24)
        self._say = say

    def enter(self, token: str) -> str | None:
        """The session's key for the token, once; asked with it again, a new token is made and said."""
        if hmac.compare_digest(token.encode(), self.token.encode()):
            self.used, self.token = self.token, secrets.token_urlsafe(24)
            return self.key
        if self.used and hmac.compare_digest(token.encode(), self.used.encode()):
            self.used = ""
            self._say(self.token)
        return None

    def fits(self, key: str) -> bool:
        """Whether this is the session's key."""
        return hmac.compare_digest(key.encode(), self.key.encode())


class Guard:
    """Middleware: Host, Origin, key and size of the body are checked before anything is done; headers are set."""

    def __init__(self, app: ASGIApp, port: int, keys: Keys) -> None:
        self.app, self.keys = app, keys
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if refusal := self._refusal(scope, headers):
            status, why = refusal
            await JSONResponse({"error": why}, status, {"Connection": "close"})(scope, receive, send_with_headers)
            return
        left = MAX_BODY

        async def receive_some() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError
            return message

        try:
            await self.app(scope, receive_some, send_with_headers)
        except BodyTooLargeError:
            too_large = JSONResponse({"error": "the body is too large"}, 413, {"Connection": "close"})
            await too_large(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return 403, "this server answers on loopback only"
        if origin is not None and origin != f"http://{host}":
            return 403, "another page may not speak to this server"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "another site may not speak to this server"
        if scope["method"] == "POST" and origin is None:
            return 403, "expected an Origin"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, "the body is too large"
        path = scope["path"]
        if path.startswith("/api/") and path != "/api/enter" and not self.keys.fits(headers.get("x-myoscope-key", "")):
            return 403, "expected this session's key; open the address that stands in the terminal"
        return None


class BodyTooLargeError(Exception):
    """More came than `MAX_BODY`."""
