"""How the node is: a page for people (`/`) and for programs (`/health.json`), on loopback only, without patients."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from myoscope.errors import InputError
from myoscope.pacs.inbox import Inbox

FAILED_SHOWN = 20


class LastTrouble(logging.Handler):
    """Remembers the last warning or error that was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.line: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's message and time."""
        self.line = f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%d %H:%M:%S} UTC {record.getMessage()}"


def health(inbox: Inbox, trouble: LastTrouble, problems: Mapping[str, str]) -> dict[str, Any]:
    """What is wrong now, counts of studies, free space, the last error, why the last studies failed."""
    now = dict(problems)
    if not inbox.has_space():
        now["disk"] = "full: nothing is taken until there is space"
    return {
        "ok": not now,
        "problems": now,
        "studies": inbox.counts(),
        "free_mib": inbox.free_bytes() >> 20,
        "last_error": trouble.line,
        "failed": dict(_reasons(inbox)),
    }


def _reasons(inbox: Inbox) -> Iterator[tuple[str, str]]:
    """The studies that failed last, each with its reason."""
    folders = sorted((inbox.root / "failed").iterdir(), key=_age)
    for folder in folders[:FAILED_SHOWN]:
        with suppress(OSError):  # put back by a person just now, or put aside without a reason on a full disk
            yield folder.name, (folder / "reason.txt").read_text("utf-8", "replace").strip()


def _age(folder: Path) -> float:
    try:
        return -folder.stat().st_mtime
    except OSError:
        return 0.0


def page(state: dict[str, Any]) -> str:
    """The state as plain HTML."""

    def table(rows: dict[str, Any]) -> str:
        cells = "".join(f"<tr><th>{escape(str(k))}<td>{escape(str(v))}\n" for k, v in rows.items())
        return f"<table>\n{cells}</table>"

    return (
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=10><title>myoscope pacs</title>\n"
        "<style>body{font:16px sans-serif;margin:2em}th{text-align:left;padding-right:1em;font-weight:normal}</style>\n"
        f"<h1>myoscope pacs: {'running' if state['ok'] else 'in trouble'}</h1>\n"
        f"{table(state['problems'])}\n<h2>studies</h2>\n{table(state['studies'])}\n"
        f"<p>{state['free_mib']} MiB free</p>\n"
        f"<p>last error: {escape(state['last_error'] or 'none since the start')}</p>\n"
        f"<h2>failed</h2>\n{table(state['failed'])}\n"
    )


def start_health(port: int, state: Callable[[], dict[str, Any]]) -> ThreadingHTTPServer:
    """Serve the page on 127.0.0.1; the caller runs `serve_forever` and `shutdown`. Answers 503 where `ok` is false.

    Raises:
        InputError: the port cannot be had.
    """

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/", "/health.json"):
                self.send_error(404)
                return
            now = state()
            kind, text = ("text/html", page(now)) if self.path == "/" else ("application/json", json.dumps(now))
            self.send_response(200 if now["ok"] else 503)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing of every look."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Page)
    except OSError as error:
        raise InputError(f"127.0.0.1:{port}: cannot listen there ({error.strerror}); choose another port") from None
