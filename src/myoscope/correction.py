"""Measure again after a person changed label maps: what an earlier analysis left, and what becomes of it."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from myoscope.analysis import Result, judge, with_previous
from myoscope.errors import InputError
from myoscope.io.label_maps import read_label_maps, stored_labels
from myoscope.io.nifti import shown
from myoscope.io.patient import with_former
from myoscope.io.previous import read_previous
from myoscope.io.read import as_study
from myoscope.io.record import handwork, read_record, record_of, told_of
from myoscope.labels import Structure
from myoscope.measure.intervals import keep_intervals
from myoscope.measure.previous import compare_again
from myoscope.measure.results import Flag, Measurements, SeriesProvenance
from myoscope.prediction import Prediction
from myoscope.study import Note, Role, Study
from myoscope.volume import Volume

CORRECTED = ", corrected by hand"
"""Stands in `labels_from` behind what drew a map that a person changed since."""

_JOINT = re.compile(r", one map on the grid of (\w+)")

OF_STUDY = ("poor_alignment", "alignment_unknown", "not_overlapping", "patient_contradicted")
"""Flags of the first run on images and patient; they stay, whoever draws, unless a series has a map of its own now."""

OF_SERIES = ("unusual_series", "unusual_slices")
"""Flags of the network's own run; they stay as long as a slice that is measured is as the network drew it."""

UNSURE = "unsure_"
"""How its flags on a structure begin; they stay until a person changes that structure."""


@dataclass(frozen=True)
class Before:
    """What an earlier analysis left in OUT.

    `automatic` has the maps as they were drawn before a person changed anything; `joint` is the role of a joint map;
    `told` are facts of the patient that no file said (None: nobody knows which); `lost` are roles whose map it had and
    that is gone.
    """

    measurements: Measurements
    labels: Mapping[Role, Volume]
    automatic: Mapping[Role, Volume]
    joint: Role | None
    told: Sequence[str] | None = None
    lost: tuple[Role, ...] = ()

    def refuse_lost(self, given: Collection[Role] = ()) -> None:
        """Refuse to go on without a map that the analysis left: its numbers would go with it, unsaid.

        Raises:
            InputError: one is gone, and is not among those given.
        """
        if lost := [role for role in self.lost if role not in given]:
            raise InputError(
                f"expected the label map of {', '.join(lost)} that the analysis left with its study.json, found none; "
                "put it back, or analyze again"
            )

    @property
    def origins(self) -> dict[str, SeriesProvenance]:
        """Where the labels of each role came from."""
        return {origin.role: origin for origin in self.measurements.provenance.series}

    @property
    def by_hand(self) -> dict[str, int]:
        """`ed_frame` and `es_frame`, as far as a person chose them."""
        origin = self.origins.get(Role.CINE)
        return {name: getattr(self.measurements.lv, name) for name in (origin.frames_by_hand if origin else [])}

    def shares(self, role: Role) -> bool:
        """Whether a joint map speaks for a role."""
        return role in self.origins and _JOINT.search(self.origins[role].labels_from) is not None


def read_before(out: Path, study: Study) -> Before:
    """Read what an analysis of this study left in a folder.

    Raises:
        InputError: it is no such folder, was made from other images, or its label maps do not fit them.
    """
    path = out / "measurements.json"
    try:
        measurements = Measurements.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{shown(out)}: expected what analyze wrote, found no measurements.json ({error.strerror}); analyze first"
        ) from None
    except ValidationError:
        raise InputError(f"{shown(path)}: expected measurements of this version, found others; analyze again") from None
    check_images(out, study)
    folder = out / "segmentations"
    labels = {s.role: found for s in study.series if (found := stored_labels(folder, s))}
    kept = {s.role: found for s in study.series if (found := stored_labels(folder / "automatic", s))}
    record = read_record(out)
    told = record.input.told if record and record.input else None
    lost = tuple(dict.fromkeys(label.role for label in (record.labels if record else []) if label.role not in labels))
    return Before(measurements, labels, {**_as_written(out, labels), **kept}, _joint_role(measurements), told, lost)


def _as_written(out: Path, labels: Mapping[Role, Volume]) -> dict[Role, Volume]:
    """The maps that are still as they were written; nobody knows what others were before."""
    record, changed = read_record(out), handwork(out)
    other = (
        {label.role for label in record.labels if changed.get(label.file) == "was changed since"} if record else set()
    )
    return {role: volume for role, volume in labels.items() if role not in other}


def check_images(out: Path, study: Study) -> None:
    """Refuse a study whose images are not those that a result was made from; its folder may have another name by now.

    Raises:
        InputError: they are others, or the folder does not say which they were.
    """
    record = read_record(out)
    if record is None:
        raise InputError(f"{shown(out)}: expected what analyze wrote, with its study.json, found none; analyze first")
    found = {image.role: image.sha256 for image in record_of(study, []).images}
    for image in record.images:
        if found.get(image.role) != image.sha256:
            what = "others" if image.role in found else "none"
            raise InputError(
                f"{shown(out)}: expected the {image.role} images that it was made from, found {what}; give the study "
                "that was analysed, or analyze again"
            )


PARTS = {"lv": Role.CINE, "rv": Role.CINE, "lge": Role.LGE, "t2": Role.T2}
"""The series that the labels behind each part of the measurements lie on, where there is no joint map."""


def remeasure(
    study: Study,
    labels: Mapping[Role, Volume],
    before: Before | None = None,
    files: Mapping[Role, list[str]] | None = None,
    by_hand: Mapping[str, int] | None = None,
) -> Result:
    """Measure and judge from labels of which a person changed some.

    Args:
        study: The images.
        labels: Every map that counts, changed or not, by role.
        before: The earlier analysis; without it nobody knows how much was changed.
        files: Where maps came from files: their names; none: they were given in memory.
        by_hand: `ed_frame` and `es_frame` of the cine, where a person chose them; None: as it was before.

    Returns:
        As `analyze`, with who drew what and how many voxels a person changed in `provenance`; a network's confidence
        in a map that was changed is dropped.

    Raises:
        InputError: a map of the earlier analysis is gone, and none is given for it.
    """
    if before:
        before.refuse_lost(labels)
        study = _with_facts(study, before)
    chosen: dict[str, Any] = dict(by_hand if by_hand is not None else before.by_hand if before else {})
    study = replace(study, series=tuple(replace(s, **chosen) if s.role is Role.CINE else s for s in study.series))
    changed = {
        role: _changed(volume, before.automatic.get(role) if before else None) for role, volume in labels.items()
    }
    joint = before.joint if before else None
    origins = {
        series.role: _origin(
            series.role,
            before,
            changed[series.role if series.role in labels or joint is None else joint],
            (files or {}),
        )
        for series in study.series
        if series.role in labels or (before and joint in labels and before.shares(series.role))
    }
    if chosen and Role.CINE in origins:
        origins[Role.CINE] |= {"frames_by_hand": sorted(chosen)}
    same = {role: volume for role, volume in labels.items() if changed[role] == 0}
    papillary = before.measurements.provenance.papillary if before else "blood"
    result = judge(study, labels, origins, _confidence(before, same), joint, papillary)
    if before:
        quality = result.measurements.quality
        frames = [f for f in (result.measurements.lv.ed_frame, result.measurements.lv.es_frame) if f is not None]
        kept = [
            f for f in before.measurements.quality.flags if f not in quality.flags and _holds(f, before, labels, frames)
        ]
        quality = quality.model_copy(update={"flags": [*quality.flags, *kept]})
        measurements = result.measurements.model_copy(update={"quality": quality})
        parts = [part for part, role in PARTS.items() if role in same or (joint in same and part in ("lge", "t2"))]
        result = replace(result, measurements=keep_intervals(measurements, before.measurements, parts))
        if earlier := before.measurements.previous:
            previous = compare_again(result.measurements, earlier)
            result = replace(result, measurements=result.measurements.model_copy(update={"previous": previous}))
    automatic = {role: before.automatic[role] for role in labels if before and changed[role]}
    return replace(result, automatic=automatic)


def _with_facts(study: Study, before: Before) -> Study:
    """The study with what its files do not say of the patient and the first analysis was told (table, option)."""
    patient = with_former(study.patient, before.measurements.patient.model_dump(), before.told)
    keys = ("sex", "age_years", "height_cm", "weight_kg", "heart_rate_bpm")
    new = [key for key in keys if getattr(study.patient, key) != getattr(patient, key)]
    note = Note("patient_facts_kept", "info", f"Not in the files, and kept from the analysis before: {', '.join(new)}.")
    return replace(study, patient=patient, notes=(*study.notes, *[note] * bool(new)))


def _holds(flag: Flag, before: Before, labels: Mapping[Role, Volume], frames: Sequence[int]) -> bool:
    """Whether a flag of the first run still holds, whatever a person changed; of a cine `frames` are measured."""
    if flag.code in OF_STUDY:
        return flag.series not in labels
    role = next((role for role in labels if role == flag.series and role in before.automatic), None)
    if role is None or not flag.code.startswith((*OF_SERIES, UNSURE)):
        return False
    chosen = list(frames) if role is Role.CINE and frames else slice(None)
    now, then = labels[role].frames[chosen], before.automatic[role].frames[chosen]
    if flag.code in OF_SERIES:
        return bool((then.any(axis=(2, 3)) & (now == then).all(axis=(2, 3))).any())
    structure = Structure[flag.code.removeprefix(UNSURE).upper()]
    return bool(((now == structure) == (then == structure)).all())


def measure(
    study: Study | Path | str,
    labels: Mapping[Role, Volume | Path | str | Sequence[Path | str]] | Path | str,
    before: Result | Path | str | None = None,
    codes: str | None = None,
    *,
    role: Role | str | None = None,
    series: Mapping[Role, Sequence[int]] | None = None,
    previous: Path | str | None = None,
    same_patient: bool = False,
) -> Result:
    """Measure and judge a study from label maps, whoever drew them.

    Args:
        study: From `read_study`, or the path of one.
        labels: A folder of label maps, named as `analyze` writes them, or one file; or for each role a file (or
            one a frame), or a Volume of `Structure` codes on its series' grid.
        before: The earlier analysis, or the folder that it was saved to: roles left out keep its labels, and what a
            person changed since is counted.
        codes: The convention that NIfTI files were drawn with: myoscope (None), acdc, emidec or myops.
        role: As `analyze`; so are `series`, `previous` and `same_patient`.

    Raises:
        InputError: the study or a label map cannot be read, lies elsewhere than its image, or has unknown codes.

    >>> import myoscope
    >>> myoscope.measure("STUDY", "OUT/segmentations", before="OUT").save("OUT2")  # doctest: +SKIP
    """
    study = as_study(study, role, series)
    automatic = _before(before, study)
    kept = automatic.labels if automatic else {}
    given = {Role(name): one for name, one in labels.items()} if isinstance(labels, Mapping) else {}
    arrays = {name: one for name, one in given.items() if isinstance(one, Volume)}
    texts = []
    for name, one in given.items():
        if not isinstance(one, Volume):
            texts += [f"{name}={file}" for file in ([one] if isinstance(one, Path | str) else one)]
    read, files = read_label_maps(study, [str(labels)] if not isinstance(labels, Mapping) else texts, codes, kept)
    earlier = read_previous(Path(previous), study, same_patient) if previous else None
    result = remeasure(study, {**kept, **read, **arrays}, automatic, {name: [] for name in arrays} | files)
    return with_previous(result, earlier) if earlier else result


def _before(before: Result | Path | str | None, study: Study) -> Before | None:
    """An earlier analysis, from memory or from its folder."""
    if not isinstance(before, Result):
        return None if before is None else read_before(Path(before), study)
    joint = _joint_role(before.measurements)
    automatic = {**before.labels, **before.automatic}
    return Before(before.measurements, before.labels, automatic, joint, told_of(before.study))


def _joint_role(measurements: Measurements) -> Role | None:
    found = [match for one in measurements.provenance.series if (match := _JOINT.search(one.labels_from))]
    return Role(found[-1][1]) if found else None


def _changed(labels: Volume, automatic: Volume | None) -> int | None:
    """How many voxels differ from the automatic map; None where there is none."""
    return None if automatic is None else int((labels.voxels != automatic.voxels).sum())


def _origin(role: Role, before: Before | None, changed: int | None, files: Mapping[Role, list[str]]) -> dict[str, Any]:
    """Provenance of one role's labels."""
    if before is None or changed is None:
        where = f"file {', '.join(files[role])}" if files.get(role) else "given in memory"
        return {"labels_from": where if role in files else "drawn by hand"}
    origin = before.origins[role]
    first = origin.labels_from.removesuffix(CORRECTED)
    return {
        "labels_from": first + CORRECTED * bool(changed),
        "weights_sha256": origin.weights_sha256,
        "weights_members": origin.weights_members,
        "weights_licence": origin.weights_licence,
        "changed_voxels": changed,
    }


def _confidence(before: Before | None, same: Mapping[Role, Volume]) -> dict[Role, Prediction]:
    """What the network said of the maps that nobody changed."""
    if before is None:
        return {}
    said = before.measurements.quality.confidence
    return {
        role: Prediction(
            volume, {}, np.zeros(volume.frames.shape[:2]), {Structure[k.upper()]: v for k, v in said[role].items()}
        )
        for role, volume in same.items()
        if role in said
    }
