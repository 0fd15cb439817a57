"""What every command line of the package shares: options, progress, errors in one line and exit codes."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from myoscope.errors import InputError

T = TypeVar("T")

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder to write into; made if it is not there.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]


def check_device(name: str) -> str:
    """The device, if it is there.

    Raises:
        InputError: no such device here.
    """
    if name == "cpu":
        return name
    import torch

    if name != "cuda" or not torch.cuda.is_available():
        raise InputError(f"expected --device cpu{' or cuda' if torch.cuda.is_available() else ''}, found {name!r}")
    return name


@contextmanager
def progress() -> Iterator[Any]:
    """A spinner with the current step on a terminal, nothing elsewhere; gives the function that sets the step."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:
        yield lambda step: status.update(step.replace("[", "("))


@contextmanager
def needed(command: str, extra: str, packages: Sequence[str]) -> Iterator[None]:
    """Say which package of an extra is missing, and how to get it.

    Raises:
        InputError: one of the packages is not installed.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] not in packages:
            raise
        raise InputError(
            f"{command}: expected the package {error.name}, found none; pip install 'myoscope[{extra}]'"
        ) from None


def each(items: Sequence[T], words: str) -> Iterator[T]:
    """Go through items: with a bar on a terminal, elsewhere after one line that says how many there are."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, words.replace("[", "("), console=console)
    else:
        print(f"{words}: {len(items)}", file=sys.stderr, flush=True)
        yield from items


def run(program: typer.Typer) -> None:
    """Run a program and exit: 0 done, 2 input or call cannot be used (one line), 1 a bug."""
    try:
        code = program(standalone_mode=False)
    except typer.Abort:
        code = 130
    except InputError as error:
        code = _complain(str(error))
    except typer.TyperException as error:  # a call with wrong or missing arguments
        code = _complain(f"{error.format_message()} See: myoscope --help", error.exit_code)
    sys.exit(code or 0)


def run_alone(command: Callable[..., None]) -> None:
    """Run a function as a command of its own, with the errors and exit codes of `run`."""
    program = typer.Typer(add_completion=False)
    program.command()(command)
    run(program)


def _complain(message: str, code: int = 2) -> int:
    print("myoscope: " + " ".join(message.split()), file=sys.stderr)
    return code
