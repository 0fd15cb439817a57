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
                if self.editor == tab:
                    self.editor = None
                    self.tell({"free": True})


def make_app(session: Session, keys: Keys, port: int) -> Starlette:
    """The application for one session."""
    desk, lock = Desk(), asyncio.Lock()
    static = {
        item.name: (item.read_bytes(), KINDS[item.name[item.name.rindex(".") :]])
        for item in files("myoscope.review").joinpath("static").iterdir()
    }

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in static:
            raise HTTPException(404, "no such file")
        body, kind = static[name]
        return Response(body, media_type=kind)

    async def enter(request: Request) -> Response:
        said = await _json(request)
        key = keys.enter(str(said.get("token", "")))
        if key is None:
            raise HTTPException(403, "this address is wrong or was used already; the terminal shows one that is good")
        return JSONResponse({"key": key})

    async def study(request: Request) -> Response:
        async with lock:
            other = desk.editor not in (None, _tab(request))
            return JSONResponse({**_describe(session), "state": session.state(), "other_tab": other})

    async def image(request: Request) -> Response:
        series, t = _frame(session, request)
        return Response(await run_in_threadpool(frame_bytes, series.image, t, session.levels[series.role]))

    async def labels(request: Request) -> Response:
        series, t = _frame(session, request)
        return Response(session.labels[series.role][t].tobytes())

    async def events(request: Request) -> Response:
        return StreamingResponse(desk.listen(_tab(request)), media_type="application/x-ndjson")

    async def begin(request: Request) -> Response:
        said = await _json(request)
        if not desk.begin(_tab(request), said.get("take_over") is True):
            raise HTTPException(409, "another tab edits this study")
        return JSONResponse({"editing": True})

    async def end(request: Request) -> Response:
        if desk.editor == _tab(request):
            desk.editor = None
            desk.tell({"free": True}, but=_tab(request))
        return JSONResponse({"editing": False})

    def changing(change: Callable[[Any], dict[str, Any]], slow: bool = False) -> Answer:
        async def answer(request: Request) -> Response:
            said = await _json(request)
            if desk.editor != _tab(request):
                raise HTTPException(409, "this tab does not edit; begin first")
            async with lock:
                state = await run_in_threadpool(change, said) if slow else change(said)
            told = said if "patches" in said else state["changed"]
            desk.tell({"state": state, "changed": told}, but=_tab(request))
            return JSONResponse(state)

        return answer

    async def refused(_: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return JSONResponse({"error": error.detail}, error.status_code)
        return JSONResponse({"error": str(error)}, 400)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/static/{name}", page),
            Route("/api/enter", enter, methods=["POST"]),
            Route("/api/study", study),
            Route("/api/image/{role}/{t:int}", image),
            Route("/api/labels/{role}/{t:int}", labels),
            Route("/api/events", events),
            Route("/api/begin", begin, methods=["POST"]),
            Route("/api/end", end, methods=["POST"]),
            Route("/api/do", changing(session.do), methods=["POST"]),
            Route("/api/undo", changing(lambda _: session.undo()), methods=["POST"]),
            Route("/api/redo", changing(lambda _: session.redo()), methods=["POST"]),
            Route("/api/save", changing(lambda _: session.save(), slow=True), methods=["POST"]),
        ],
        middleware=[Middleware(Guard, port=port, keys=keys)],
        exception_handlers={HTTPException: refused, InputError: refused},
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
