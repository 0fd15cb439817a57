"""The main job, whole: a study in; labels, measurements, diagnosis and report out."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import escape

from myoscope import __version__
from myoscope.diagnose import diagnose, diagnosis_flags
from myoscope.diagnose.clinical import from_clinical_values
from myoscope.diagnose.words import class_words
from myoscope.errors import InputError
from myoscope.io.patient import patient_from
from myoscope.io.previous import Earlier, read_previous
from myoscope.io.read import as_study
from myoscope.io.save import save_outputs
from myoscope.io.tables import FIRST, Row, number_rows
from myoscope.labels import Structure
from myoscope.measure import measure
from myoscope.measure.calibration import calibrated, read_calibration
from myoscope.measure.papillary import count_as_muscle
from myoscope.measure.part import Papillary
from myoscope.measure.previous import compare
from myoscope.measure.results import Flag, Measurements, Provenance, SeriesProvenance
from myoscope.prediction import Prediction
from myoscope.report import render
from myoscope.segment.cine import SliceModel
from myoscope.segment.joint import JointModel
from myoscope.segment.lge import CascadeModel
from myoscope.study import Role, Series, Study
from myoscope.volume import Volume
from myoscope.weights import FOLDER, is_installed, network_of

SYSTEM_FOR = {Role.CINE: "compact-cine", Role.BSSFP: "compact-cine", Role.LGE: "cascade.small"}
"""The system that segments each role on its own; T2 has none."""

JOINT_SYSTEM = "compact-myops"
"""The system that segments LGE, T2 and bSSFP of a study with T2 together, where its weights are installed..."""

JOINT_LGE_SYSTEM = "compact-lge"
"""... and the one that has a say in what of that map's wall is scar, where there is LGE."""

_KINDS: dict[str, Any] = {JOINT_SYSTEM: JointModel, SYSTEM_FOR[Role.LGE]: CascadeModel}
USED = (*dict.fromkeys([*SYSTEM_FOR.values(), JOINT_LGE_SYSTEM]), JOINT_SYSTEM)
"""The systems whose network files an analysis may run."""

IN_BLOOD = "Papillary muscles and trabeculae count as blood pool."
CONVENTIONS = [
    "Volumes by summation of discs over all labelled slices.",
    "Indices by body surface area after Mosteller; mass with 1.05 g/ml.",
    "AHA segments start at the anterior RV insertion.",
    "Transmurality of a segment: share of its wall that is scar, graded 0, 1-25, 26-50, 51-75, 76-100 % after "
    "Kim et al. 2000, doi:10.1056/NEJM200011163432003; how deep scar reaches where there is scar stands apart.",
]


@dataclass(frozen=True)
class Result:
    """What an analysis found; `automatic` has the maps as the network drew them, where a person changed them since."""

    study: Study
    labels: Mapping[Role, Volume]
    measurements: Measurements
    automatic: Mapping[Role, Volume] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: the shares that a reader looks for first, what is proposed, and how much is warned of."""
        rows = {row.name: row for row in self.table()}
        shares = [(title, rows[name].value) for name, (title, _) in FIRST.items() if rows[name].unit == "%"]
        found = [f"{title} {value:.1f} %" for title, value in shares if value is not None]
        diagnosis, flags = self.measurements.diagnosis.prediction, self.measurements.quality.flags
        found += [f"proposed: {class_words(diagnosis)}"] if diagnosis else []
        warned = sum(flag.level != "info" for flag in flags)
        return f"<Result {self.study.id}: {', '.join([*found, f'{warned} warnings'])}>"

    def table(self) -> list[Row]:
        """Every number with its name and unit, the same rows for every study; the value is None where not measured.

        Segments and slices are in `measurements`.
        """
        return number_rows(self.measurements)

    def _repr_html_(self) -> str:
        """The report, as a notebook shows it: in a frame of its own, so that its style stays inside."""
        report = render(self.study, self.labels, self.measurements)
        return f'<iframe srcdoc="{escape(report)}" sandbox style="width:100%;height:40rem;border:0"></iframe>'

    def save(self, out: Path | str, replaces: Collection[Role] = (), nifti: bool = False) -> Path:
        """Write report, measurements and segmentations into a folder, whole or not at all; gives the report's path.

        What an earlier run wrote there goes. Label maps that a person made or changed stop it, except where these
        labels are the same, or the role is one of `replaces`: the person has seen both. `nifti` writes the images of a
        DICOM study as NIfTI beside the label maps, on the same voxels.

        Raises:
            InputError: the folder cannot be written, or label maps there were made by hand and would be lost.
        """
        measurements = self.measurements
        dicom: Mapping[str, bytes] = {}
        fhir = None
        if source := next((series.source for series in self.study.series if series.source), None):
            from myoscope.io.dicom.write import dicom_results
            from myoscope.io.fhir import fhir_bundle

            dicom, flags = dicom_results(self.study, self.labels, measurements)
            measurements = with_flags(measurements, flags)
            fhir = fhir_bundle(measurements, source.study_instance_uid)
        report = render(self.study, self.labels, measurements)
        return save_outputs(
            Path(out), self.study, self.labels, measurements, report, self.automatic, replaces, dicom, fhir, nifti
        )


def with_flags(measurements: Measurements, flags: Sequence[Flag]) -> Measurements:
    """Measurements with more flags."""
    quality = measurements.quality.model_copy(update={"flags": [*measurements.quality.flags, *flags]})
    return measurements.model_copy(update={"quality": quality})


def with_previous(result: Result, earlier: Earlier) -> Result:
    """A result with what has changed since earlier measurements, from `io.previous.read_previous`."""
    previous = compare(result.measurements, *earlier)
    return replace(result, measurements=result.measurements.model_copy(update={"previous": previous}))


def analyze(
    study: Study | Path | str,
    progress: Callable[[str], None] = lambda _: None,
    models: Path | None = None,
    papillary: Papillary = "blood",
    *,
    role: Role | str | None = None,
    series: Mapping[Role, Sequence[int]] | None = None,
    hematocrit: float | None = None,
    calibration: Path | str | None = None,
    previous: Path | str | None = None,
    same_patient: bool = False,
) -> Result:
    """Segment, measure and judge a study; the arguments are the options of `myoscope analyze`.

    Args:
        study: From `read_study`, or the path of one.
        progress: Called with a few words before each step.
        models: Folder of network files and cards of one's own, which go before the installed ones.
        papillary: What the LV's papillary muscles and trabeculae count as, see `measure.papillary`.
        role: Of a path: what a single NIfTI image shows.
        series: Of a path: numbers of the DICOM series that show a role.
        hematocrit: As a share, for ECV; it goes before that of the study.
        calibration: File that `agree` wrote, by which intervals are stretched.
        previous: Folder that `analyze` or `measure` wrote: an earlier exam of the patient, or this one before.
        same_patient: Believe that the earlier exam is of this patient, though the ids differ.

    Raises:
        InputError: the path is no study, no series of it can be segmented, the folder of models has no network file
            that is used, or one of the other arguments cannot be used.

    >>> import myoscope
    >>> myoscope.analyze("STUDY").save("OUT")  # doctest: +SKIP
    """
    check_models(models)
    local = read_calibration(Path(calibration)) if calibration else None
    given = None if hematocrit is None else patient_from({"hematocrit": hematocrit}, "hematocrit").hematocrit
    study = as_study(study, role, series)
    if given is not None:
        study = replace(study, patient=replace(study.patient, hematocrit=given))
    earlier = read_previous(Path(previous), study, same_patient) if previous else None
    result = _analyzed(study, progress, models, papillary)
    if local:
        result = replace(result, measurements=calibrated(result.measurements, local))
    return with_previous(result, earlier) if earlier else result


def _analyzed(study: Study, progress: Callable[[str], None], models: Path | None, papillary: Papillary) -> Result:
    """Segment each series with its system, measure and judge."""
    predictions: dict[Role, Prediction] = {}
    origins: dict[Role, dict[str, Any]] = {}
    joint: Role | None = None
    if study.get(Role.T2) and is_installed(JOINT_SYSTEM):
        progress("segmenting LGE, T2 and bSSFP together")
        model = _model(JOINT_SYSTEM, models)
        series, found = model.segment_joint(study, _model(JOINT_LGE_SYSTEM, models))
        how = f", one map on the grid of {series.role}"
        if series.role is Role.LGE:
            how += f"; infarct by it and {JOINT_LGE_SYSTEM}, no-reflow by {JOINT_LGE_SYSTEM}"
        else:  # without LGE nobody can tell scar from edema
            voxels = found.labels.voxels
            edema = np.where(voxels == Structure.INFARCT, np.uint8(Structure.EDEMA), voxels)
            found = replace(found, labels=found.labels.with_voxels(edema))
        joint, predictions = series.role, {series.role: found}
        study = replace(study, notes=(*study.notes, *model.alignment(study)))
        there = [s.role for s in study.series if s.role in model.roles]
        origins = {role: _origin(model, models, how) for role in there}
    for series in study.series:
        if series.role in SYSTEM_FOR and series.role not in origins:
            progress(f"segmenting {series.role}")
            model = _model(_system_for(series.role, models), models)
            predictions[series.role] = model.segment(series)
            origins[series.role] = _origin(model, models)
    if not predictions:
        roles = ", ".join(series.role for series in study.series)
        raise InputError(f"{study.id}: expected a cine, LGE or bSSFP image, found {roles}; nothing can segment it yet")
    progress("measuring")
    labels = {role: found.labels for role, found in predictions.items()}
    return judge(study, labels, origins, predictions, joint, papillary)


def check_models(models: Path | None) -> None:
    """Refuse a folder without a network file of one's own that an analysis would use.

    Raises:
        InputError: there is none.
    """
    if models and not any(_is_own(system, models) for system in USED):
        names = ", ".join(f"{system}.onnx" for system in USED)
        raise InputError(f"{models.name}: expected network files with their cards ({names}), found none of them")


def _is_own(system: str, models: Path | None) -> bool:
    """Whether a folder of one's own has a system's network file."""
    return network_of(system, models).parent != FOLDER


def _system_for(role: Role, models: Path | None) -> str:
    """See `SYSTEM_FOR`; one's own network of LGE goes before the installed cascade, which has it for a first stage."""
    system = SYSTEM_FOR[role]
    own_alone = role is Role.LGE and _is_own(JOINT_LGE_SYSTEM, models) and not _is_own(system, models)
    return JOINT_LGE_SYSTEM if own_alone else system


def _origin(model: Any, models: Path | None, how: str = "") -> dict[str, Any]:
    own = " (network file of the user's own, given by --models)" if _is_own(model.name, models) else ""
    return {
        "labels_from": model.name + own + how,
        "weights_sha256": model.sha256,
        "weights_members": model.network.members_sha256 if len(model.network.files) > 1 else [],
        "weights_licence": model.card.get("licence"),
    }


def judge(
    study: Study,
    labels: Mapping[Role, Volume],
    origins: Mapping[Role, Mapping[str, Any]],
    predictions: Mapping[Role, Prediction] | None = None,
    joint: Role | None = None,
    papillary: Papillary = "blood",
) -> Result:
    """Measure and diagnose from labels, whoever drew them.

    Args:
        study: The images.
        labels: `Structure` codes on each image's grid.
        origins: For each role the `labels_from`, `weights_sha256` and `weights_licence` of its provenance.
        predictions: Where a network drew the labels: what it says of how good they are.
        joint: The role whose labels are a joint map: of LGE, T2 and bSSFP, as far as the study has them.
        papillary: What the LV's papillary muscles and trabeculae count as; the labels have them in the blood.
    """
    provenance = Provenance(
        myoscope_version=__version__,
        created_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        series=[_series_provenance(series, origins.get(series.role, {})) for series in study.series],
        conventions=[*CONVENTIONS, *([IN_BLOOD] if papillary == "blood" else []), *_conventions(study, origins)],
    )
    measurements = measure(study, labels, provenance, predictions, joint)
    refused = any(f.code == "not_short_axis" and f.series == Role.LGE for f in measurements.quality.flags)
    with_clinic = Role.LGE in labels and not refused
    lge, flags = from_clinical_values(study, labels[Role.LGE]) if with_clinic else (None, [])
    diagnosis = diagnose(measurements, lge)
    flags = [*measurements.quality.flags, *flags, *diagnosis_flags(diagnosis)]
    changes = {"diagnosis": diagnosis, "quality": measurements.quality.model_copy(update={"flags": flags})}
    measurements = measurements.model_copy(update=changes)
    if papillary == "muscle":  # after the diagnosis, which was learned from volumes with them in the blood
        measurements = count_as_muscle(measurements, study, labels)
    return Result(study, labels, measurements)


def _conventions(study: Study, origins: Mapping[Role, Mapping[str, Any]]) -> list[str]:
    """What holds of this study's series: the phase of the mass, and who drew the infarct."""
    found = []
    if study.get(Role.CINE):
        found.append("LV mass at end-diastole.")
    elif Role.BSSFP in origins:
        found.append("LV mass from one bSSFP stack; which phase of the cycle it shows is not known.")
    if (late := origins.get(Role.LGE)) is not None:
        how = "segmented by a network" if late.get("weights_sha256") else "as the given contours have it"
        how += ", then changed by a person" if late.get("changed_voxels") else ""
        found.append(f"Infarct includes no-reflow; {how}, not by a signal threshold.")
    return found


def _series_provenance(series: Series, origin: Mapping[str, Any]) -> SeriesProvenance:
    frames, slices = series.image.frames.shape[:2]
    return SeriesProvenance(
        role=series.role,
        files=[series.name]
        if series.source
        else [path.name for grid in series.files for path in (grid.sources or (grid.path,))],
        slices=slices,
        frames=frames,
        spacing_mm=series.image.spacing_mm,
        **{"labels_from": "not segmented", **origin},
    )


@lru_cache(maxsize=4)
def _model(system: str, models: Path | None = None) -> Any:
    """A system's model, installed or of one's own, loaded once."""
    return _KINDS.get(system, SliceModel).load(network_of(system, models))
