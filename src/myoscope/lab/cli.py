"""The laboratory's commands, which need the extra `lab`. What is heavy is imported only when one of them runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from myoscope.console import Device, Out, check_device, progress
from myoscope.errors import InputError
from myoscope.lab.extra import check_extra

app = typer.Typer()

Data = Annotated[list[Path], typer.Option("--data", help="Root of a data set; may be given more than once.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Training time; the schedule is fitted to it.")]
Steps = Annotated[int | None, typer.Option("--steps", help="Training steps instead of minutes.")]
Epochs = Annotated[float | None, typer.Option("--epochs", help="Passes through the training data instead of minutes.")]
Variant = Annotated[
    str | None,
    typer.Option(
        "--variant",
        help="Of a system that has several (README names what each is); an unknown one is answered with all names.",
    ),
]
Segmentations = Annotated[
    Path | None,
    typer.Option(
        "--segmentations",
        help="Runs of `evaluate` of the system whose label maps, out of fold, this one learns from; asked for by name.",
    ),
]


@app.command()
def predict(
    system: str,
    paths: list[Path],
    out: Out,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Weights that train wrote; default: the installed ones.")
    ] = None,
    variant: Variant = None,
    device: Device = "cpu",
) -> None:
    """Laboratory: run one system on cases of a data set: PATHS are case folders or data set roots.

    A system that classifies writes predictions.csv, acdc-multitask label maps too. PATHS may be tables of clinical
    values (.csv, .json) for doc-net.
    """
    check_extra("predict")
    from myoscope.datasets import case_folders, layout_of, refuse_twice
    from myoscope.datasets.clinical import is_table, read_table
    from myoscope.io.save import check_out, write_predictions, write_series
    from myoscope.lab.predict import model_of
    from myoscope.prediction import Classification
    from myoscope.systems import full_name

    name = full_name(system, variant)
    tables = [study for path in paths if is_table(path) for study in read_table(path)]
    folders = [folder for path in paths if not is_table(path) for folder in case_folders(path)]
    refuse_twice([*(study.id for study in tables), *(folder.name for folder in folders)])
    check_out(out)
    model = model_of(system, variant, weights, device)
    out.mkdir(parents=True, exist_ok=True)
    written = 0
    classified: dict[str, Classification] = {}
    with progress() as say:
        for i, item in enumerate([*tables, *folders]):
            study: Any = layout_of(item).read_study(item) if isinstance(item, Path) else item  # type: ignore[union-attr]
            say(f"{study.id} ({i + 1} of {len(tables) + len(folders)})")
            found = model.predict(study)
            if isinstance(found, Classification):
                classified[study.id] = found
                found = found.labels
            for role, labels in found.items():
                stem = study.id if len(found) == 1 else f"{study.id}_{role}"
                written += len(write_series(study.get(role), labels, out, stem))
    if classified:
        for note in dict.fromkeys(note for found in classified.values() for note in found.notes):
            cases = [case for case, found in classified.items() if note in found.notes]
            typer.echo(f"{cases[0] if len(cases) == 1 else f'{len(cases)} cases'}: {note}", err=True)
        typer.echo(f"{len(classified)} predictions of {name} in {write_predictions(out, classified)}")
    elif not written:
        raise InputError(f"{paths[0]}: expected images that {system} reads, found none; choose another system")
    if written:
        typer.echo(f"{written} label maps in {out}")


@app.command()
def train(
    system: str,
    data: Data,
    out: Out,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="Training time; the schedule is fitted to it.  [default: 60]")
    ] = None,
    steps: Steps = None,
    epochs: Epochs = None,
    fold: Annotated[
        list[str] | None, typer.Option("--fold", help="K/5: leave fold K out; may be repeated. Default: use all cases.")
    ] = None,
    variant: Variant = None,
    segmentations: Segmentations = None,
    device: Device = "cpu",
) -> None:
    """Laboratory: train a system; a killed run goes on where it was when the command is repeated."""
    check_extra("train")
    typer.echo(f"{system}: loading PyTorch", err=True)
    from myoscope.lab.checks import check_training, little
    from myoscope.lab.crossval import folds_of
    from myoscope.systems import evaluation_of, full_name

    name = full_name(system, variant)
    of = folds_of(name)
    choices = {f"{k + 1}/{of}": k for k in range(of)}
    if wrong := [text for text in fold or () if text not in choices]:
        raise InputError(f"expected --fold {' or '.join(choices)}, found {wrong[0]!r}")
    folds = [choices[text] for text in fold] if fold else [None]
    budget, where = _budget(minutes, steps, epochs) or _budget(60, None, None), check_device(device)
    check_training(name, data)
    if note := little(name, budget):
        typer.echo(note, err=True)
    for path in evaluation_of(system).train_folds(name, data, folds, budget, out, segmentations, where):
        typer.echo(f"weights: {path}")


@app.command()
def cache(data: Data, out: Annotated[Path, typer.Option("-o", "--out", help="The .npz file to write.")]) -> None:
    """Laboratory: put labelled cases into one small file that `train --data` takes where the data are not."""
    check_extra("cache")
    from myoscope.lab.cache import write_cache
    from myoscope.lab.crossval import read_cases

    cases = read_cases(data)
    write_cache(cases, out)
    typer.echo(f"{len(cases)} cases in {out}, {out.stat().st_size / 2**20:.0f} MiB")


@app.command()
def evaluate(
    system: str,
    data: Data,
    out: Out,
    minutes: Minutes = None,
    steps: Steps = None,
    epochs: Epochs = None,
    variant: Annotated[
        str | None,
        typer.Option("--variant", help="`published`: the paper's own experiment; default: what fits two cores."),
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=1, max=5, help="How many of the folds.")] = 5,
    page: Annotated[Path | None, typer.Option("--page", help="Write the page here too, its plots beside it.")] = None,
    segmentations: Segmentations = None,
    device: Device = "cpu",
) -> None:
    """Laboratory: cross-validate a system: use the folds that OUT holds, train the missing ones if there is a budget.

    A budget (--minutes, --steps or --epochs) is each missing fold's. doc-net is evaluated by repeated splits instead:
    what OUT lacks is run, without a budget or --folds.
    """
    check_extra("evaluate")
    from myoscope.io.nifti import shown
    from myoscope.lab.checks import check_training
    from myoscope.systems import evaluation_of, full_name, system_module

    system_module(system)
    if variant not in (None, "published"):
        raise InputError(
            f"expected --variant published or none, found {variant!r}; others are scored where OUT has them"
        )
    if page and not page.parent.is_dir():
        raise InputError(f"{shown(page)}: expected a folder for --page, found none; make it first")
    budget, where = _budget(minutes, steps, epochs), check_device(device)
    if budget:
        check_training(full_name(system, None), data)

    def say(step: str) -> None:
        typer.echo(step, err=True)

    text = evaluation_of(system).evaluate(
        system, data, out, budget, folds, segmentations, where, say, variant is not None
    )
    if page:
        page.write_text(text)
        for picture in out.glob(f"{system}*.svg"):  # what the page shows lies beside it
            page.with_name(picture.name).write_bytes(picture.read_bytes())
    typer.echo(text)


def _budget(minutes: float | None, steps: int | None, epochs: float | None) -> Any:
    """The training budget, one of three or none."""
    from myoscope.lab.loop import Budget

    given = (minutes, steps, epochs)
    return None if given == (None,) * 3 else Budget(minutes, steps, epochs)
