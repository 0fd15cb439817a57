"""A cohort, whole: find the studies, analyse what is not done, write the tables and the page."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from myoscope.cohort.find import Item, find_studies
from myoscope.cohort.inputs import fingerprint
from myoscope.cohort.patients import read_patients
from myoscope.cohort.progress import Progress
from myoscope.cohort.state import Made, Out, made_now, made_of
from myoscope.errors import InputError
from myoscope.io.nifti import shown

RETRIES = 2
"""How often Dask tries a study again whose analysing process somebody killed."""


@dataclass(frozen=True)
class Options:
    """How a cohort is run.

    `workers` on this machine, or `scheduler` (an address), or `slurm` (settings). A study may take `limit_minutes` and
    `memory_gb`. `hashed`: ids are hashes. `retry_failed`: only those that failed. `patients`: a table of facts.
    `bids`: a folder for what is done as a BIDS data set of derivatives.
    """

    workers: int | None = None
    scheduler: str | None = None
    slurm: Path | None = None
    limit_minutes: float = 30.0
    memory_gb: float | None = None
    hashed: bool = False
    retry_failed: bool = False
    patients: Path | None = None
    bids: Path | None = None


@dataclass(frozen=True)
class Plan:
    """The studies that were found, and what is to be done: `todo` by id, and why; the others are done or failed."""

    items: tuple[Item, ...]
    facts: Mapping[str, Mapping[str, Any]]
    made: Mapping[str, Made]
    why: Mapping[str, str]
    todo: tuple[Item, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a run came to: studies done and failed (of all that were found), and how many of them this run analysed."""

    done: int
    failed: int
    analysed: int
    notes: tuple[str, ...]
    page: Path


def plan(paths: Sequence[Path], out: Path, options: Options, say: Callable[[str], None] = lambda _: None) -> Plan:
    """Find the studies, and tell from what lies in OUT which are to be analysed. Writes nothing.

    Raises:
        InputError: no studies, or a patient table that cannot be used.
    """
    items, notes = find_studies(paths, options.hashed, say)
    facts: dict[str, dict[str, Any]] = {}
    if options.patients:
        facts, strangers = read_patients(options.patients, items)
        notes += strangers
    state = Out(out)
    made, why = {}, {}
    for item in items:
        made[item.id] = made_now(fingerprint(item), facts.get(item.id, {}))
        why[item.id] = _why(state, item.id, made[item.id])
    chosen = ("failed",) if options.retry_failed else ("new", "changed")
    todo = tuple(item for item in items if why[item.id].split(":")[0] in chosen)
    return Plan(tuple(items), facts, made, why, todo, tuple(notes))


def run(
    paths: Sequence[Path], out: Path, options: Options | None = None, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Analyse a cohort into OUT; what is done already stays. See `myoscope cohort --help`.

    Raises:
        InputError: the paths, the options, OUT or the disk cannot be used.
    """
    options = options or Options()
    from myoscope.cohort.cluster import client_of
    from myoscope.cohort.derivatives import check_target, write_derivatives
    from myoscope.cohort.table import write_tables

    state, target = Out(out), Path(options.bids) if options.bids else None
    if target:
        check_target(target, state)
    new = not out.exists()
    state.prepare()
    with state.locked(), _unused_removed(state, new):
        todo = plan(paths, out, options, say)
        try:
            with Progress(out / "cohort.log", len(todo.todo), say) as progress:
                for note in todo.notes:
                    progress.note(note)
                if todo.todo:
                    with client_of(options.workers, options.scheduler, options.slurm, options.memory_gb) as place:
                        _analyse(state, todo, options, progress, *place)
                shutil.rmtree(state.work, ignore_errors=True)
            statuses = write_tables(state, todo.items, asdict(options), _stale(todo))
        except OSError as error:
            raise InputError(
                f"{shown(out)}: cannot write there ({error.strerror}); free space and repeat the command, "
                "what is done stays done"
            ) from None
        notes = (*todo.notes, *(write_derivatives(state, target, options.hashed) if target else ()))
    counts = [statuses.count("done"), statuses.count("failed")]
    return Outcome(counts[0], counts[1], len(todo.todo), notes, out / "index.html")


@contextmanager
def _unused_removed(state: Out, new: bool) -> Iterator[None]:
    """Where a call into a new folder is refused, leave none behind."""
    try:
        yield
    except InputError:
        if new:
            state.remove_unused()
        raise


def _stale(todo: Plan) -> dict[str, str]:
    """By study why its earlier result stands, though it was made of something else."""
    again = {item.id for item in todo.todo}
    return {study: f"an earlier result, {why}" for study, why in todo.why.items() if ":" in why and study not in again}


def _why(state: Out, study: str, made: Made) -> str:
    """ "new", "done", "failed", "changed: what of", or "kept: corrected by hand, though changed: what of"."""
    for record, word in ((state.done(study), "done"), (state.failure(study), "failed")):
        if record:
            before = made_of(record)
            if before == made:
                return word
            names = [name for name, value in asdict(made).items() if not before or getattr(before, name) != value]
            changed = f"changed: {', '.join(names)}"
            by_hand = word == "done" and state.by_hand(study)
            return f"kept: corrected by hand, though {changed}" if by_hand else changed
    return "new"


def _analyse(
    state: Out,
    todo: Plan,
    options: Options,
    progress: Progress,
    client: Any,
    memory_gb: float | None,
    workers: int | None,
) -> None:
    from distributed import as_completed

    from myoscope.cohort.work import run_one

    progress.start(workers)
    tasks = [
        {
            "item": asdict(item),
            "out": str(state.root.resolve()),
            "made_of": asdict(todo.made[item.id]),
            "patient": dict(todo.facts.get(item.id, {})),
            "hashed": options.hashed,
            "limit_seconds": 60 * options.limit_minutes,
            "limit_bytes": int(memory_gb * 2**30) if memory_gb else None,
        }
        for item in todo.todo
    ]
    futures = client.map(run_one, tasks, key=[f"study-{item.id}" for item in todo.todo], pure=False, retries=RETRIES)
    names = {future.key: item.id for future, item in zip(futures, todo.todo, strict=True)}
    for future, answer in as_completed(futures, with_results=True, raise_errors=False):
        study = names[future.key]
        if future.status != "finished":
            reason = f"its worker was lost {RETRIES + 1} times or more"
            answer = {"status": "failed"} | state.fail(study, todo.made[study], reason, 0.0, "")
        future.release()  # what a lost worker still held, Dask would have done again
        if answer["status"] == "full":
            client.cancel(futures)
            raise OSError(0, answer["reason"])
        progress.step(study, answer)


def describe(todo: Plan) -> str:
    """What --dry-run prints: a line a study with its id, kind, what would be done, and where it lies."""
    lines = [f"{item.id}\t{item.kind}\t{todo.why[item.id]}\t{item.path}" for item in todo.items]
    return "\n".join([*lines, *todo.notes, f"{len(todo.items)} studies found, {len(todo.todo)} to be analysed"])
