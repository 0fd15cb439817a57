"""The command line: parses, calls, prints. What is slow to import is imported where it is used."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from myoscope import __version__
from myoscope.cohort.cli import agree, cohort
from myoscope.console import Device, Out, needed, progress, run
from myoscope.errors import InputError
from myoscope.lab.cli import app as laboratory

app = typer.Typer(
    help="From a cardiac MR study to measurements, a proposed diagnosis and a report. Research use only. "
    "The laboratory's commands need pip install 'myoscope[lab]'.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RoleName = Annotated[str | None, typer.Option("--role", help="What a single image shows: cine, lge, t2 or bssfp.")]
SeriesRole = Annotated[
    list[str] | None,
    typer.Option("--series", help="ROLE=NUMBER: the DICOM series that shows a role; may be given more than once."),
]
Previous = Annotated[
    Path | None,
    typer.Option(help="An earlier OUT, of another exam of the patient or of this one: shows what has changed."),
]
SamePatient = Annotated[
    bool, typer.Option("--same-patient", help="The earlier exam is of this patient, though the ids differ.")
]


@app.command()
def demo(
    out: Out = Path("out/demo"), seed: Annotated[int, typer.Option(help="Another seed, another patient.")] = 11
) -> None:
    """Make a synthetic study, analyse it, and print where the report is."""
    from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
    from myoscope.io.save import check_out, write_study

    check_out(out)
    with progress() as say:
        say("drawing a synthetic study")
        study = write_study(draw(sample(seed, KEPT_ASIDE, "MINF")).study, out / "study")
    analyze(study, out)


@app.command()
def analyze(
    study: Path,
    out: Out,
    role: RoleName = None,
    series: SeriesRole = None,
    device: Device = "cpu",
    models: Annotated[
        Path | None,
        typer.Option(help="Folder of network files and cards that train wrote, to go before the installed ones."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="What myoscope agree wrote: intervals as they hold for this site's readers.")
    ] = None,
    papillary: Annotated[
        Literal["blood", "muscle"],
        typer.Option(help="What the LV's papillary muscles count as: blood (as contours are drawn) or muscle."),
    ] = "blood",
    nifti: Annotated[
        bool, typer.Option("--nifti", help="Of a DICOM study: write the images as NIfTI beside the label maps.")
    ] = False,
    hematocrit: Annotated[
        float | None,
        typer.Option(help="As a share, 0.42 for 42 %: for ECV from a native and a post-contrast T1 map."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print report.pdf too, with this machine's Chromium.")] = False,
    previous: Previous = None,
    same_patient: SamePatient = False,
) -> None:
    """Segment, measure and judge a study: DICOM (folder, zip), a NIfTI file, a folder of them, or a data set's case."""
    from myoscope.io.patient import patient_from
    from myoscope.io.read import read_study
    from myoscope.io.record import refuse_handwork
    from myoscope.io.save import check_out
    from myoscope.report.pdf import find_browser, write_pdf

    browser = find_browser() if pdf else None
    if hematocrit is not None:
        patient_from({"hematocrit": hematocrit}, "--hematocrit")  # refused before a large study is read
    found = read_study(study, role, _chosen(series))
    if device not in ("cpu", "cuda"):
        raise InputError(f"expected --device cpu or cuda, found {device!r}")
    if device == "cuda":
        typer.echo("--device cuda brings nothing here: the networks of analyze run on the CPU", err=True)
    if nifti and not any(one.source for one in found.series):
        raise InputError(f"{found.id}: expected DICOM with --nifti, found NIfTI already; leave --nifti out")
    check_out(out, study)
    refuse_handwork(out)
    with progress() as say:
        say("loading the models")
        from myoscope import analysis

        result = analysis.analyze(
            found,
            progress=say,
            models=models,
            papillary=papillary,
            hematocrit=hematocrit,
            calibration=calibration,
            previous=previous,
            same_patient=same_patient,
        )
        say("writing the report")
        report = result.save(out, nifti=nifti)
        if browser:
            say("printing the report")
            write_pdf(report, browser)
    _summary(result.measurements)
    typer.echo(f"report: {report}")
    if browser:
        typer.echo(f"printed: {report.with_suffix('.pdf')}")
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
    previous: Previous = None,
    same_patient: SamePatient = False,
) -> None:
    """Measure and report again from labels that were corrected by hand."""
    from myoscope.analysis import with_previous
    from myoscope.correction import read_before, remeasure
    from myoscope.io.label_maps import read_label_maps
    from myoscope.io.previous import read_previous
    from myoscope.io.read import read_study
    from myoscope.io.save import check_out

    found = read_study(study, role, _chosen(series))
    automatic = read_before(before, found) if before else None
    kept = automatic.labels if automatic else {}
    corrected, files = read_label_maps(found, labels, codes, kept)
    earlier = read_previous(previous, found, same_patient) if previous else None
    check_out(out, study)
    result = remeasure(found, {**kept, **corrected}, automatic, files)
    result = with_previous(result, earlier) if earlier else result
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
    from myoscope.review.opened import alone_at, open_study

    found = open_study(out, study)
    with needed("review", "review", ("starlette", "uvicorn")):
        from myoscope.review.server import serve
        from myoscope.review.session import Session
    with alone_at(out):
        with progress() as say:
            say("reading images and label maps")
            session = Session(out, found)
        serve(session, typer.echo)


app.add_typer(laboratory)


@app.command()
def pacs(settings: Path) -> None:
    """Serve an archive: take or fetch studies, analyse each when complete, send the results back. See docs/pacs.md."""
    from myoscope.pacs.settings import read_settings

    chosen = read_settings(settings)
    with needed("pacs", "pacs", ("pydicom", "pynetdicom", "dicomweb_client", "requests")):
        from myoscope.pacs.service import serve

        serve(chosen)


app.command()(cohort)
app.command()(agree)


@app.command()
def models() -> None:
    """List the installed models: trained on what, how good, under which licence."""
    from myoscope.weights import cards

    for card in cards():
        sets = ", ".join(f"{count} {name}" for name, count in card["trained_on"].items())
        minutes = card["minutes"] if isinstance(card["minutes"], list) else [card["minutes"]]
        took = (
            f"{len(minutes)} members, " * (len(minutes) > 1)
            + (f"{min(minutes):g} minutes" if None not in minutes else f"{card['steps']} steps")
            + " each" * (len(minutes) > 1)
        )
        typer.echo(f"{card['system']}\n  trained on {sets}; {took} on {card['device']}")
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


def _summary(measurements: Any) -> None:
    """The few numbers that a reader looks for first, and what to beware of."""
    from myoscope.diagnose.words import class_words, percent_words
    from myoscope.io.tables import FIRST

    diagnosis = measurements.diagnosis
    for name, (title, unit) in FIRST.items():
        part, field = name.split(".")
        if (value := getattr(getattr(measurements, part), field)) is not None:
            unknown = ", phase unknown" if field == "mass_g" and measurements.lv.ed_frame is None else ""
            ends = getattr(getattr(measurements, part), f"{field}_interval")
            between = f" ({ends[0]:.1f} to {ends[1]:.1f})" if ends else ""
            typer.echo(f"{title}{unknown}: {value:.1f} {unit}{between}")
    if (ecv := measurements.maps.ecv_from_t1.ecv_percent) is not None:
        typer.echo(f"ECV from T1 maps: {ecv:.1f} %")
    if diagnosis.prediction:
        sure = percent_words(diagnosis.probabilities[diagnosis.prediction])
        typer.echo(f"proposed diagnosis: {class_words(diagnosis.prediction)} ({sure})")
    for flag in measurements.quality.flags:
        if flag.level != "info":
            typer.echo(f"{flag.level}: {flag.message}")


def main() -> None:
    """Entry point."""
    run(app)


if __name__ == "__main__":
    main()
