"""The node as a whole: what takes or fetches, what works, and the health page, until it is stopped."""

import logging
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from myoscope.errors import InputError
from myoscope.pacs.errors import told
from myoscope.pacs.health import LastTrouble, health, start_health
from myoscope.pacs.inbox import Inbox
from myoscope.pacs.settings import Peer, Settings
from myoscope.pacs.work import Send, Worker, only_node

log = logging.getLogger("myoscope.pacs")

LONGEST_PAUSE_SECONDS = 1.0


def serve(settings: Settings) -> None:
    """Run a node until it is told to stop (SIGTERM, Ctrl-C) or killed; either may happen at any moment.

    Raises:
        InputError: a port is taken, another node works in the same spool, the spool cannot be written, or
            `analysis_command` can analyse nothing.
    """
    _check_command(settings.analysis_command)
    trouble = _start_log()
    warnings.filterwarnings("ignore", module="pydicom")  # they quote what stands in headers
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    problems: dict[str, str] = {}
    with only_node(settings.spool), ExitStack() as stack:
        inbox = Inbox(settings.spool, round(settings.keep_free_gb * 1e9))
        page = start_health(settings.health_port, lambda: health(inbox, trouble, problems))
        _start_thread(page.serve_forever)
        stack.callback(page.shutdown)
        log.info("health page: http://127.0.0.1:%d/", page.server_port)
        if settings.receive:
            from myoscope.pacs import node

            receiver = node.start_receiver(settings.receive, settings.ae_title, inbox)
            stack.callback(receiver.shutdown)
            log.info("%s listens on %s:%d", settings.ae_title, *receiver.server_address[:2])
        if settings.watch:
            from myoscope.pacs import web

            watcher = web.Watcher(settings.watch, settings.quiet_seconds, inbox)
            _start_thread(partial(_keep_watching, watcher.poll, settings.watch.poll_seconds, problems))
            log.info("watching %s", settings.watch.url)
        worker = Worker(settings, inbox, sender(settings), problems)
        pause_seconds = min(LONGEST_PAUSE_SECONDS, settings.quiet_seconds / 4)
        while True:
            if not worker.step():
                time.sleep(pause_seconds)


def _check_command(command: Sequence[str]) -> None:
    """Refuse, before any study is taken, a command that could analyse none."""
    if command[0] != "{python}" and not shutil.which(command[0]):
        raise InputError(f"analysis_command: expected a program, found none called {command[0]!r}; give its path")
    if missing := [word for word in ("{study}", "{out}") if word not in command]:
        raise InputError(f"analysis_command: expected {missing[0]} as an item of its own, found none; see docs/pacs.md")


def sender(settings: Settings) -> Send:
    """What sends results to where the settings say."""
    if isinstance(settings.send_to, Peer):
        from myoscope.pacs import node

        return partial(node.send, settings.send_to, settings.ae_title)
    from myoscope.pacs import web

    return partial(web.send, settings.send_to)


def _keep_watching(poll: Callable[[], None], pause_seconds: float, problems: dict[str, str]) -> None:
    while True:
        try:
            poll()
            problems.pop("watching", None)
        except Exception as error:
            problems["watching"] = told(error)
            log.warning("watching: %s", problems["watching"])
        time.sleep(pause_seconds)


def _start_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


def _start_log() -> LastTrouble:
    """Log to stderr, and remember the last trouble for the health page."""
    handler, trouble = logging.StreamHandler(), LastTrouble()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.addHandler(trouble)
    log.setLevel(logging.INFO)
    return trouble
