"""Where studies are analysed: this machine, a Dask scheduler that runs already, or SLURM. All scheduling is Dask's."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from myoscope.cohort.work import kill_children
from myoscope.errors import InputError
from myoscope.settings import read_toml

WAIT_SECONDS = 30
"""For a scheduler to answer."""

LOOPBACK = "127.0.0.1:0"
"""Where Dask's web pages are: by default they would be open to everybody who reaches this machine."""


class Slurm(BaseModel):
    """`--slurm SETTINGS.toml`: what a job asks for, and how many of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: Annotated[int, Field(ge=1)]
    workers_per_job: Annotated[int, Field(ge=1)] = 1
    memory_gb_per_worker: Annotated[float, Field(gt=0)] = 4.0
    walltime: Annotated[str, Field(pattern=r"^(\d+-)?\d{1,2}:\d{2}:\d{2}$")] = "08:00:00"
    queue: str | None = None
    account: str | None = None
    interface: str | None = None
    python: str | None = None
    directives: list[str] = []
    skip_directives: list[str] = []
    prologue: list[str] = []
    log_folder: str | None = None


def read_slurm(path: Path) -> Slurm:
    """The settings of a TOML file.

    Raises:
        InputError: it is no TOML, or a setting is unknown, missing or of a wrong kind.
    """
    return read_toml(path, Slurm, "docs/cohort.md")


def slurm_cluster(settings: Slurm) -> Any:
    """A dask-jobqueue cluster, no job of which is submitted yet; `job_script()` is what would be."""
    try:
        from dask_jobqueue import SLURMCluster
    except ModuleNotFoundError:
        raise InputError(
            "--slurm: expected the package dask-jobqueue, found none; pip install 'myoscope[cohort]'"
        ) from None
    workers = settings.workers_per_job
    return SLURMCluster(
        cores=workers,
        processes=workers,
        memory=f"{settings.memory_gb_per_worker * workers:.3f} GiB",
        walltime=settings.walltime,
        queue=settings.queue,
        account=settings.account,
        interface=settings.interface,
        python=settings.python,
        job_extra_directives=settings.directives,
        job_directives_skip=settings.skip_directives,
        job_script_prologue=settings.prologue,
        log_directory=settings.log_folder,
        job_name="myoscope",
        worker_extra_args=["--no-dashboard"],
        scheduler_options={"dashboard_address": LOOPBACK},
    )


Place = tuple[Any, float | None, int | None]
"""A Dask client, the GB a study may take (None: whatever there is) and how many workers, if known."""

DASK = {
    "distributed.admin.log-format": "%(message)s",
    "distributed.scheduler.allowed-failures": 3,
    "distributed.worker.profile.enabled": False,  # nobody looks at it; with the ticks a third of what Dask takes
    "distributed.admin.tick.interval": "1s",
}


@contextmanager
def client_of(
    workers: int | None = None, scheduler: str | None = None, slurm: Path | None = None, memory_gb: float | None = None
) -> Iterator[Place]:
    """Where the studies are analysed: by a scheduler's workers, SLURM's jobs, or this machine.

    Raises:
        InputError: two places at once, or nobody answers at the scheduler's address.
    """
    if scheduler and slurm:
        raise InputError("expected --scheduler or --slurm, found both; choose one")
    if workers is not None and (scheduler or slurm):
        raise InputError("--workers is for this machine; a scheduler has its own, --slurm takes jobs in its settings")
    import dask
    import distributed as _  # noqa: F401  (its defaults must be there before some are changed)

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what becomes of each study is said elsewhere
    if scheduler:
        place = _at_scheduler(scheduler, memory_gb)
    else:
        place = _by_slurm(slurm, memory_gb) if slurm else _on_this_machine(workers, memory_gb)
    with dask.config.set(DASK), place as found:
        yield found


@contextmanager
def _at_scheduler(address: str, memory_gb: float | None) -> Iterator[Place]:
    from distributed import Client

    try:
        client = Client(address, timeout=WAIT_SECONDS)
    except (OSError, ValueError, TimeoutError):
        raise InputError(f"--scheduler {address}: nobody answers there; start `dask scheduler`") from None
    with client:
        yield client, memory_gb, None


@contextmanager
def _by_slurm(path: Path, memory_gb: float | None) -> Iterator[Place]:
    from distributed import Client

    settings = read_slurm(path)
    with slurm_cluster(settings) as cluster, Client(cluster) as client:
        cluster.adapt(minimum_jobs=settings.jobs, maximum_jobs=settings.jobs)  # also replaces jobs that ended
        yield client, memory_gb or settings.memory_gb_per_worker, settings.jobs * settings.workers_per_job


@contextmanager
def _on_this_machine(workers: int | None, memory_gb: float | None) -> Iterator[Place]:
    """The workers are threads: what they analyse in are processes of their own (see `work`)."""
    from distributed import Client, LocalCluster

    count = workers or len(os.sched_getaffinity(0))
    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=False,
            memory_limit=None,
            dashboard_address=LOOPBACK,
            worker_dashboard_address=LOOPBACK,
        ) as cluster,
        Client(cluster) as client,
    ):
        try:
            yield client, memory_gb or _total_gb() / count, count
        finally:
            kill_children()


def _total_gb() -> float:
    from distributed.system import MEMORY_LIMIT

    return float(MEMORY_LIMIT) / 2**30
