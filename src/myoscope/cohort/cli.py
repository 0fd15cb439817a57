"""`myoscope cohort` and `myoscope agree` on the command line."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from myoscope.errors import InputError


def cohort(
    paths: Annotated[list[Path], typer.Argument(help="Folders, zips or files below which studies lie.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder to write into; made if it is not there.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done, and do nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Analyse only what failed.")] = False,
    ids: Annotated[
        Literal["names", "hash"],
        typer.Option(help="hash: studies are named by hashes where folders and files may be named after people."),
    ] = "names",
    patients: Annotated[
        Path | None,
        typer.Option(help="CSV with columns study, sex, height, weight, age, heart_rate, hematocrit, class."),
    ] = None,
    bids: Annotated[
        Path | None,
        typer.Option(help="Folder for label maps and measurements as a BIDS data set of derivatives: docs/bids.md."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes on this machine; default: its cores.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler that runs already.")] = None,
    slurm: Annotated[Path | None, typer.Option(help="SETTINGS.toml: run on SLURM. See docs/cohort.md.")] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="Longest time for a study.")] = 30,
    memory_gb: Annotated[
        float | None, typer.Option(min=0.1, help="Most memory for a study; default: the machine's, shared out.")
    ] = None,
) -> None:
    """Analyse every study below PATHS, on all cores or a cluster; repeat the command after whatever stopped it."""
    from myoscope.cohort.packages import needed

    with needed("cohort"):
        from myoscope.cohort.run import Options, describe, plan, run

        options = Options(workers, scheduler, slurm, minutes, memory_gb, ids == "hash", retry_failed, patients, bids)
        if dry_run:
            typer.echo(describe(plan(paths, out, options)))
            return
        from myoscope.cohort.progress import shown_progress

        with shown_progress() as say:
            found = run(paths, out, options, say)
    for note in found.notes:
        typer.echo(note, err=True)
    typer.echo(f"{found.done} studies done, {found.failed} failed; {found.analysed} of them in this run")
    typer.echo(f"page: {found.page}")


def agree(
    out: Annotated[Path, typer.Argument(help="Folder of a cohort.")],
    reference: Annotated[
        Path,
        typer.Option("--reference", help="Readers' numbers (CSV) or a folder of contours: docs/cohort.md."),
    ],
    page: Annotated[Path, typer.Option("-o", "--out", help="HTML page to write; its numbers beside it as JSON.")],
    patients: Annotated[Path | None, typer.Option(help="CSV with study and class, to compare by class.")] = None,
) -> None:
    """Compare a cohort with readers' numbers or contours: Bland-Altman, ICC, concordance, Dice, Hausdorff distance."""
    from myoscope.cohort.packages import needed

    if page.suffix.lower() != ".html":
        raise InputError(f"{page.name}: expected a name that ends with .html; change -o")
    if not page.parent.is_dir():
        from myoscope.io.nifti import shown

        raise InputError(f"{shown(page)}: expected a folder to write the page into, found none; make it first")
    with needed("agree"):
        from myoscope.cohort.agree import agree as compare

        found = compare(out, reference, page, patients)
    for line in found:
        typer.echo(line)
    typer.echo(f"page: {page}")
