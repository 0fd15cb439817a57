"""The server: loopback only, one study, one person who edits; `guard` decides who may speak to it at all."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from importlib.resources import files
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from myoscope.errors import InputError
from myoscope.labels import Structure
from myoscope.review.guard import Guard, Keys
from myoscope.review.numbers import SHOWN
from myoscope.review.planes import frame_bytes
from myoscope.review.session import Session
from myoscope.study import Role, Series

KINDS = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}

Answer = Callable[[Request], Awaitable[Response]]


class Desk:
    """Which tab edits, and who is told what happens. A tab is there as long as it listens to `events`."""

    def __init__(self) -> None:
        self.tabs: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self.editor: str | None = None

    def tell(self, message: dict[str, Any], but: str | None = None) -> None:
        """Tell every tab but one."""
        for tab, queue in self.tabs.items():
            if tab != but:
                queue.put_nowait(message)

    def begin(self, tab: str, take_over: bool) -> bool:
        """Let a tab edit; False where another one does and is not to be pushed aside."""
        if self.editor not in (None, tab) and not take_over:
            return False
        if self.editor not in (None, tab):
            self.tell({"taken_over": True}, but=tab)
        self.editor = tab
        return True

    def end(self, tab: str) -> None:
        """The tab edits no more; nothing to do where it did not."""
        if self.editor == tab:
            self.editor = None
            self.tell({"free": True}, but=tab)

    async def listen(self, tab: str) -> AsyncIterator[str]:
        """Events for a tab as lines of JSON; a space keeps the line open."""
        queue = self.tabs[tab] = asyncio.Queue()
        try:
            yield json.dumps({"hello": True}) + "\n"
            while True:
                try:
                    message = await asyncio.wait_for(queue.get(), 10)
                    yield json.dumps(message) + "\n"
                except TimeoutError:
                    yield "\n"
        finally:
            if self.tabs.get(tab) is queue:
                del self.tabs[tab]
                self.end(tab)


class Answers:
    """What is answered to each request, for one session."""

    def __init__(self, session: Session, keys: Keys) -> None:
        self.session, self.keys = session, keys
        self.desk, self.lock = Desk(), asyncio.Lock()
        self.static = {
            item.name: (item.read_bytes(), KINDS[item.name[item.name.rindex(".") :]])
            for item in files("myoscope.review").joinpath("static").iterdir()
        }

    async def page(self, request: Request) -> Response:
        """The page, and the files that it asks for."""
        name = request.path_params.get("name", "index.html")
        if name not in self.static:
            raise HTTPException(404, "no such file")
        body, kind = self.static[name]
        return Response(body, media_type=kind)

    async def enter(self, request: Request) -> Response:
        """A key for the token that the address carries."""
        said = await _json(request)
        key = self.keys.enter(str(said.get("token", "")))
        if key is None:
            raise HTTPException(403, "this address is wrong or was used already; the terminal shows one that is good")
        return JSONResponse({"key": key})

    async def study(self, request: Request) -> Response:
        """The study and how far its editing is."""
        async with self.lock:
            other = self.desk.editor not in (None, _tab(request))
            return JSONResponse({**_describe(self.session), "state": self.session.state(), "other_tab": other})

    async def image(self, request: Request) -> Response:
        """The pixels of a frame."""
        series, t = _frame(self.session, request)
        return Response(await run_in_threadpool(frame_bytes, series.image, t, self.session.levels[series.role]))

    async def labels(self, request: Request) -> Response:
        """The label map of a frame."""
        series, t = _frame(self.session, request)
        return Response(self.session.labels[series.role][t].tobytes())

    async def events(self, request: Request) -> Response:
        """What happens, as long as the tab listens."""
        return StreamingResponse(self.desk.listen(_tab(request)), media_type="application/x-ndjson")

    async def begin(self, request: Request) -> Response:
        """Let the tab edit."""
        said = await _json(request)
        if not self.desk.begin(_tab(request), said.get("take_over") is True):
            raise HTTPException(409, "another tab edits this study")
        return JSONResponse({"editing": True})

    async def end(self, request: Request) -> Response:
        """The tab edits no more."""
        self.desk.end(_tab(request))
        return JSONResponse({"editing": False})

    def changing(self, change: Callable[[Any], dict[str, Any]], slow: bool = False) -> Answer:
        """The answer to what changes the labels: only the tab that edits may, and the others are told."""

        async def answer(request: Request) -> Response:
            said = await _json(request)
            if self.desk.editor != _tab(request):
                raise HTTPException(409, "this tab does not edit; begin first")
            async with self.lock:
                state = await run_in_threadpool(change, said) if slow else change(said)
            told = said if "patches" in said else state["changed"]
            self.desk.tell({"state": state, "changed": told}, but=_tab(request))
            return JSONResponse(state)

        return answer


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code)
    return JSONResponse({"error": str(error)}, 400)


def make_app(session: Session, keys: Keys, port: int) -> Starlette:
    """The application for one session."""
    to = Answers(session, keys)
    return Starlette(
        routes=[
            Route("/", to.page),
            Route("/static/{name}", to.page),
            Route("/api/enter", to.enter, methods=["POST"]),
            Route("/api/study", to.study),
            Route("/api/image/{role}/{t:int}", to.image),
            Route("/api/labels/{role}/{t:int}", to.labels),
            Route("/api/events", to.events),
            Route("/api/begin", to.begin, methods=["POST"]),
            Route("/api/end", to.end, methods=["POST"]),
            Route("/api/do", to.changing(session.do), methods=["POST"]),
            Route("/api/undo", to.changing(lambda _: session.undo()), methods=["POST"]),
            Route("/api/redo", to.changing(lambda _: session.redo()), methods=["POST"]),
            Route("/api/save", to.changing(lambda _: session.save(), slow=True), methods=["POST"]),
        ],
        middleware=[Middleware(Guard, port=port, keys=keys)],
        exception_handlers={HTTPException: _refused, InputError: _refused},
    )


def serve(session: Session, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `say` is given the address, and a new one where the first was used up."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # whoever is quicker than the server waits
        port = listening.getsockname()[1]

        def address(token: str) -> str:
            return f"http://127.0.0.1:{port}/#{token}"

        keys = Keys(lambda token: say(f"that address was used already; a new one: {address(token)}"))
        config = uvicorn.Config(
            make_app(session, keys, port),
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            lifespan="off",
        )
        say(address(keys.token))
        try:
            with suppress(KeyboardInterrupt):
                uvicorn.Server(config).run(sockets=[listening])
        finally:
            session.close()
            if session.dirty:
                say(
                    "not saved: what was changed is kept, and taken up again by the next myoscope review of this folder"
                )


def _describe(session: Session) -> dict[str, Any]:
    """What the page must know: no name, no path, no identifier of the study."""
    return {
        "series": [
            {
                "role": series.role,
                "shape": session.shapes[series.role],
                "spacing_mm": series.image.spacing_mm,
                "frame_time_ms": series.image.frame_time_ms,
                "window": session.levels[series.role].window,
                "map_on": session.map_on(series.role),
                "labelled": bool(session.counts[series.role][:, 1:].any()),
            }
            for series in session.study.series
        ],
        "structures": [{"code": int(s), "title": s.title, "colour": s.colour} for s in Structure if s],
        "shown": [{"name": name, "title": title, "unit": unit} for name, title, unit in SHOWN],
        "old": session.old,
        "joint": session.before.joint,
        "notice": session.notice,
    }


def _frame(session: Session, request: Request) -> tuple[Series, int]:
    role, t = request.path_params["role"], request.path_params["t"]
    series = session.study.get(Role(role)) if role in list(Role) else None
    if series is None or t >= len(series.image.frames):
        raise HTTPException(404, "no such frame")
    return series, t


def _tab(request: Request) -> str:
    return request.headers.get("x-myoscope-tab", "")[:64]


async def _json(request: Request) -> dict[str, Any]:
    try:
        said = await request.json()
    except (ValueError, RecursionError):
        raise HTTPException(400, "expected JSON") from None
    if not isinstance(said, dict):
        raise HTTPException(400, "expected a JSON object")
    return said
