"""The command line: parses, calls, prints. What is slow to import is imported where it is used."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from myoscope import __version__
from myoscope.cohort.cli import agree, cohort
from myoscope.errors import InputError

app = typer.Typer(
    help="From a cardiac MR study to measurements, a proposed diagnosis and a report. Research use only.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Out = Annotated[Path, typer.Option("-o", "--out", help="Folder to write into; made if it is not there.")]
RoleName = Annotated[str | None, typer.Option("--role", help="What a single image shows: cine, lge, t2 or bssfp.")]
SeriesRole = Annotated[
    list[str] | None,
    typer.Option("--series", help="ROLE=NUMBER: the DICOM series that shows a role; may be given more than once."),
]
Data = Annotated[list[Path], typer.Option("--data", help="Root of a data set; may be given more than once.")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="Training time; the schedule is fitted to it.")]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
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
        help="Fold models for label maps out of fold: of compact-lge (for cascade), cascade.small (for doc-net), "
        "compact-cine (for acdc-multitask).",
    ),
]


@app.command()
def demo(
    out: Out = Path("out/demo"), seed: Annotated[int, typer.Option(help="Another seed, another patient.")] = 11
) -> None:
    """Make a synthetic study, analyse it, and print where the report is."""
    from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
    from myoscope.io.save import check_out, write_study

    check_out(out)
    with _progress() as say:
        say("drawing a synthetic study")
        study = write_study(draw(sample(seed, KEPT_ASIDE, "MINF")).study, out / "study")
    analyze(study, out)


@app.command()
def analyze(study: Path, out: Out, role: RoleName = None, series: SeriesRole = None, device: Device = "cpu") -> None:
    """Segment, measure and judge a study: DICOM (folder, zip), a NIfTI file, a folder of them, or a data set's case."""
    from myoscope.io.read import read_study
    from myoscope.io.record import refuse_handwork
    from myoscope.io.save import check_out

    found = read_study(study, role, _chosen(series))
    device = _device(device)
    check_out(out)
    refuse_handwork(out)
    with _progress() as say:
        say("loading the models")
        from myoscope import analysis

        result = analysis.analyze(found, device, say)
        say("writing the report")
        report = result.save(out)
    _summary(result.measurements)
    typer.echo(f"report: {report}")
    if sys.stdout.isatty():
        typer.echo(f"look and correct: myoscope review {shlex.quote(str(out))}")


@app.command()
def inspect(study: Path, series: SeriesRole = None) -> None:
    """List the series of a DICOM study: what each one shows and why, and which would be used."""
    from rich.console import Console

    from myoscope.io.dicom.table import table_of
    from myoscope.io.read import sort_dicom

    found = sort_dicom(study, _chosen(series))
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table_of(found))
    for note in found.notes:
        console.print(f"{note.level}: {note.message}", markup=False, highlight=False)


@app.command()
def measure(
    study: Path,
    labels: Annotated[
        list[str],
        typer.Option(
            "--labels",
            help="Folder of label maps named as analyze writes them, a file (NIfTI or DICOM SEG), or ROLE=FILE; may be "
            "given more than once.",
        ),
    ],
    out: Out,
    before: Annotated[
        Path | None,
        typer.Option("--from", help="What analyze wrote: roles left out keep its labels, changes are counted."),
    ] = None,
    codes: Annotated[
        str | None,
        typer.Option(help="What the maps were drawn with: myoscope (default), acdc, emidec or myops."),
    ] = None,
    role: RoleName = None,
    series: SeriesRole = None,
) -> None:
    """Measure and report again from labels that were corrected by hand."""
    from myoscope.correction import read_before, remeasure
    from myoscope.io.label_maps import read_label_maps
    from myoscope.io.read import read_study
    from myoscope.io.save import check_out

    found = read_study(study, role, _chosen(series))
    earlier = read_before(before, found) if before else None
    kept = earlier.labels if earlier else {}
    corrected, files = read_label_maps(found, labels, codes, kept)
    check_out(out)
    result = remeasure(found, {**kept, **corrected}, earlier, files)
    again = before is not None and before.resolve() == out.resolve()
    report = result.save(out, replaces=list(corrected) if again else ())
    _summary(result.measurements)
    typer.echo(f"report: {report}")


@app.command()
def review(
    out: Path,
    study: Annotated[Path | None, typer.Option(help="Where the images lie, if they were moved.")] = None,
) -> None:
    """Look, correct, measure again: serve what analyze wrote on this machine's loopback, for a browser here."""
    from myoscope.review.opened import open_study

    found = open_study(out, study)
    try:
        from myoscope.review.server import serve
        from myoscope.review.session import Session
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise InputError(
            f"review: expected the package {error.name}, found none; pip install 'myoscope[review]'"
        ) from None
    with _progress() as say:
        say("reading images and label maps")
        session = Session(out, found)
    serve(session, typer.echo)


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
    """Run one system on cases of a data set: PATHS are case folders or data set roots.

    A system that classifies writes predictions.csv, acdc-multitask label maps too. PATHS may be tables of clinical
    values (.csv, .json) for doc-net.
    """
    from myoscope.datasets import case_folders, layout_of, refuse_twice
    from myoscope.datasets.clinical import is_table, read_table
    from myoscope.io.save import check_out, write_predictions, write_series
    from myoscope.systems import Classification, full_name, system_module
    from myoscope.weights import weights_of

    name = full_name(system, variant)
    tables = [study for path in paths if is_table(path) for study in read_table(path)]
    folders = [folder for path in paths if not is_table(path) for folder in case_folders(path)]
    refuse_twice([*(study.id for study in tables), *(folder.name for folder in folders)])
    check_out(out)
    model = system_module(system).Model.load(weights or weights_of(name), _device(device))
    written = 0
    classified: dict[str, Classification] = {}
    with _progress() as say:
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
    minutes: Minutes = 60,
    fold: Annotated[
        list[str] | None, typer.Option("--fold", help="K/5: leave fold K out; may be repeated. Default: use all cases.")
    ] = None,
    variant: Variant = None,
    segmentations: Segmentations = None,
    device: Device = "cpu",
) -> None:
    """Train a system; a killed run goes on where it was when the command is repeated."""
    from myoscope.lab.folds import FOLDS
    from myoscope.lab.loop import Budget
    from myoscope.systems import evaluation_of, full_name

    choices = {f"{k + 1}/{FOLDS}": k for k in range(FOLDS)}
    if wrong := [text for text in fold or () if text not in choices]:
        raise InputError(f"expected --fold {' or '.join(choices)}, found {wrong[0]!r}")
    name = full_name(system, variant)
    folds = [choices[text] for text in fold] if fold else [None]
    budget, where = Budget(minutes=minutes), _device(device)
    for path in evaluation_of(system).train_folds(name, data, folds, budget, out, segmentations, where):
        typer.echo(f"weights: {path}")


@app.command()
def cache(data: Data, out: Annotated[Path, typer.Option("-o", "--out", help="The .npz file to write.")]) -> None:
    """Put labelled cases into one small file that `train --data` takes, on a machine without the data."""
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
    folds: Annotated[int, typer.Option("--folds", min=1, max=5, help="How many of the five folds.")] = 5,
    page: Annotated[Path | None, typer.Option("--page", help="Write the page here too, its plots beside it.")] = None,
    segmentations: Segmentations = None,
    device: Device = "cpu",
) -> None:
    """Cross-validate a system: use the folds that OUT holds, train the missing ones if minutes are given.

    doc-net is evaluated by repeated splits instead: what OUT lacks is run, without --minutes or --folds.
    """
    from myoscope.systems import evaluation_of, system_module

    system_module(system)
    where = _device(device)

    def say(step: str) -> None:
        typer.echo(step, err=True)

    text = evaluation_of(system).evaluate(system, data, out, minutes, folds, segmentations, where, say)
    if page:
        page.write_text(text)
        for picture in out.glob(f"{system}*.svg"):  # what the page shows lies beside it
            page.with_name(picture.name).write_bytes(picture.read_bytes())
    typer.echo(text)


@app.command()
def pacs(settings: Path) -> None:
    """Serve an archive: take or fetch studies, analyse each when complete, send the results back. See docs/pacs.md."""
    from myoscope.pacs.settings import read_settings

    chosen = read_settings(settings)
    try:
        from myoscope.pacs.service import serve

        serve(chosen)
    except ModuleNotFoundError as error:
        if error.name not in ("pydicom", "pynetdicom", "dicomweb_client", "requests"):
            raise
        raise InputError(f"pacs: expected the package {error.name}, found none; pip install 'myoscope[pacs]'") from None


app.command()(cohort)
app.command()(agree)


@app.command()
def models() -> None:
    """List the installed models: trained on what, how good, under which licence."""
    from myoscope.weights import cards

    for card in cards():
        sets = ", ".join(f"{count} {name}" for name, count in card["trained_on"].items())
        typer.echo(f"{card['system']}\n  trained on {sets}; {card['minutes']:g} minutes on {card['device']}")
        for s in (card["cross_validation"] or {"scores": []})["scores"]:
            typer.echo(
                f"  {s['data']} {s['phase'] + ' ' if s['phase'] else ''}{s['region']}: "
                f"Dice {s['dice']:.3f} ± {s['dice_sd']:.3f} (n {s['n']})"
            )
        if found := card.get("repeated_splits"):
            typer.echo(
                f"  {found['splits']} splits by patient: accuracy {found['accuracy']:.1f} % "
                f"({found['accuracy_low']:.1f} to {found['accuracy_high']:.1f})"
            )
        if found := card.get("diagnosis"):
            typer.echo(
                f"  {found['n']} patients in cross-validation: accuracy {found['accuracy']:.1f} % "
                f"({found['accuracy_low']:.1f} to {found['accuracy_high']:.1f})"
            )
        typer.echo(f"  licence {card['licence']}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of measurements.json."""
    import json

    from myoscope.measure.results import Measurements

    typer.echo(json.dumps(Measurements.model_json_schema(), indent=2))


def _version(value: bool) -> None:
    if value:
        typer.echo(f"myoscope {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _chosen(texts: list[str] | None) -> dict[Any, list[int]]:
    """Series numbers by role, from ROLE=NUMBER."""
    from myoscope.io.read import parse_role

    chosen: dict[Any, list[int]] = {}
    for text in texts or ():
        name, _, number = text.partition("=")
        if not number.isdecimal():
            raise InputError(f"expected --series ROLE=NUMBER, as in cine=5, found {text!r}")
        chosen.setdefault(parse_role(name), []).append(int(number))
    return chosen


def _device(name: str) -> str:
    if name == "cpu":
        return name
    import torch

    if name != "cuda" or not torch.cuda.is_available():
        raise InputError(f"expected --device cpu{' or cuda' if torch.cuda.is_available() else ''}, found {name!r}")
    return name


@contextmanager
def _progress() -> Iterator[Any]:
    """A spinner with the current step on a terminal, nothing elsewhere; gives the function that sets the step."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:
        yield lambda step: status.update(step.replace("[", "("))


def _summary(measurements: Any) -> None:
    """The few numbers that a reader looks for first, and what to beware of."""
    lv, rv, lge, t2 = measurements.lv, measurements.rv, measurements.lge, measurements.t2
    diagnosis = measurements.diagnosis
    for title, value, unit in (
        ("LV ejection fraction", lv.ejection_fraction_percent, "%"),
        ("LV end-diastolic volume", lv.edv_ml, "ml"),
        ("LV mass", lv.mass_g, "g"),
        ("RV ejection fraction", rv.ejection_fraction_percent, "%"),
        ("infarct", lge.infarct_percent, "% of the LV myocardium"),
        ("no-reflow", lge.no_reflow_percent, "% of the LV myocardium"),
        ("edema, infarct included", t2.edema_percent, "% of the LV myocardium"),
    ):
        if value is not None:
            typer.echo(f"{title}: {value:.1f} {unit}")
    if diagnosis.prediction:
        typer.echo(f"proposed diagnosis: {diagnosis.prediction} ({diagnosis.probabilities[diagnosis.prediction]:.0%})")
    for flag in measurements.quality.flags:
        if flag.level != "info":
            typer.echo(f"{flag.level}: {flag.message}")


def main(program: typer.Typer = app) -> None:
    """Entry point, also of `lab.diagnosis`: 0 done, 2 input or call cannot be used (one line), 1 a bug."""
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
    """Run a function as a command of its own, with the errors and exit codes of `main`."""
    program = typer.Typer(add_completion=False)
    program.command()(command)
    main(program)


def _complain(message: str, code: int = 2) -> int:
    print("myoscope: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
