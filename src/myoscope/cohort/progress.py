"""How far a cohort is: a line a study in OUT/cohort.log, and a bar with rate and remaining time on a terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

EVERY_SECONDS = 60.0
"""Between two lines where no terminal is."""


class Progress:
    """To be used as a context; `say` is told what a spinner or a log should show."""

    def __init__(self, log: Path, total: int, say: Callable[[str], None]) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self._say, self._log = say, log.open("a", encoding="utf-8")
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()

    def note(self, text: str) -> None:
        """A line in the log."""
        self._log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")
        self._log.flush()

    def start(self, workers: int | None) -> None:
        """The clock starts."""
        self._start = time.monotonic()
        self.note(f"analysing {self.total} studies" + (f" with {workers} workers" if workers else ""))
        self._say(f"0 of {self.total} studies")

    def step(self, study: str, answer: Mapping[str, Any]) -> None:
        """One study more: done, or failed and why."""
        self.done += 1
        self.failed += answer["status"] == "failed"
        what = answer["status"] + (f": {answer['reason']}" if answer["status"] == "failed" else "")
        seconds = f" in {answer['seconds']:.1f} s" if answer.get("seconds") else ""
        self.note(f"{study} {what}{seconds}; {self.state()}")
        self._say(self.state())

    def state(self) -> str:
        """How far, how fast, how long still."""
        minutes = (time.monotonic() - self._start) / 60
        rate = self.done / minutes if minutes > 0 else 0.0
        left = (self.total - self.done) / rate if rate else 0.0
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.done} of {self.total} studies{failed}, {rate:.1f} a minute, {_span(left)} left"


def _span(minutes: float) -> str:
    """A time in words.

    >>> _span(0.4), _span(12.2), _span(187)
    ('24 s', '12 min', '3 h 7 min')
    """
    if minutes < 1:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 60 else f"{int(minutes // 60)} h {int(minutes % 60)} min"


@contextmanager
def shown_progress() -> Iterator[Callable[[str], None]]:
    """A spinner with the state on a terminal; elsewhere the state as a line on stderr, once a minute."""
    if sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("looking for studies") as status:
            yield lambda text: status.update(text.replace("[", "("))
        return
    last = time.monotonic()

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    yield say
