"""A BIDS data set: which studies it holds, what its names, its participants and its sidecars say of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from bids_world import data_set, image, participants
from myoscope.cohort.find import Item, find_studies
from myoscope.cohort.inputs import fingerprint
from myoscope.errors import InputError
from myoscope.io import bids
from myoscope.io.names import is_label_name, map_role, read_names
from myoscope.io.participants import read_participant
from myoscope.io.read import read_study
from myoscope.study import Patient, Role


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def found(*paths: Path, hashed: bool = False) -> list[Item]:
    return find_studies(paths, hashed)[0]


@pytest.mark.parametrize(
    ("name", "role", "view"),
    [
        ("sub-01_ses-post_acq-sax_cine.nii.gz", Role.CINE, "short"),
        ("sub-01_acq-LGEsax_run-2_T1w.nii", None, None),
        ("sub-01_acq-saxLGE_T1w.nii", Role.LGE, "short"),
        ("sub-T2_ses-ED_LGE.nii", Role.LGE, None),
        ("sub-01_acq-cine4CH_cine.nii", Role.CINE, "long"),
        ("sub-01_T2w.nii.gz", Role.T2, None),
        ("sub-01_bSSFP.nii.gz", Role.BSSFP, None),
    ],
)
def test_the_labels_of_subject_and_session_are_no_words_of_a_role(name: str, role: Role | None, view: str) -> None:
    named = read_names(Path("sub-cine/ses-4ch/anat") / name)
    assert (named.role, named.view, named.phase) == (role, view, None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sub-1_task-rest_bold", "'bold'"),
        ("sub-1_dwi", "'dwi'"),
        ("sub-1_part-phase_cine", "phase"),
        ("sub-1_T1map", "a map"),
    ],
)
def test_what_is_not_measured_says_why(name: str, says: str) -> None:
    assert says in str(read_names(Path(f"sub-1/anat/{name}.nii")).other)


def test_maps_and_labels_by_their_suffix_alone() -> None:
    names = ("sub-1_ses-post_T1map", "sub-1_ce-GD_T1map", "sub-gd_ce-none_T1map", "sub-1_acq-native_T1map")
    roles = [Role.MAP_T1, Role.MAP_T1_POST, Role.MAP_T1, Role.MAP_T1_NATIVE]
    assert [map_role(Path(f"{name}.nii.gz")) for name in names] == roles
    names = ("sub-1_ce-gd_LGE", "sub-mask_LGE", "sub-1_desc-x_dseg", "sub-1_label-LV_mask", "sub-1_probseg")
    assert [is_label_name(Path(f"{name}.nii.gz")) for name in names] == [False, False, True, True, True]


def test_frames_of_two_subjects_in_one_folder_stay_apart() -> None:
    keys = {read_names(Path(f"flat/sub-{name}.nii.gz")).key for name in ("01_ED", "01_ES", "02_ED", "ED_ES", "ED_ED")}
    assert keys == {"sub_01", "sub_02", "sub_ed"}


def test_a_study_is_a_session_and_nothing_else_is_searched(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    touch(root, *(f"sub-{s}/ses-{v}/anat/sub-{s}_ses-{v}_LGE.nii.gz" for s in ("01", "02", "03") for v in ("a", "b")))
    touch(root, "sub-04/cmr/sub-04_cine.nii.gz", "sub-04/cmr/sub-04_LGE.nii.gz", "sub-05/anat/notes.txt")
    touch(root, *(f"{folder}/sub-01/anat/sub-01_cine.nii.gz" for folder in ("derivatives", "sourcedata", "code")))
    touch(root, "Sub-01/anat/Sub-01_LGE.nii.gz", "sub-01/anat/sub-01_cine.nii.gz", "sub-02/ses-c/scan.dcm")
    (root / "sub-02" / "ses-d").mkdir()
    items, notes = find_studies([root])
    assert [item.id for item in items] == [*(f"sub-0{n}_ses-{v}" for n in (1, 2, 3) for v in "ab"), "sub-04"]
    assert {item.kind for item in items} == {"bids"}
    assert [
        sum(word in note for note in notes) for word in ("Sub-01", "sub-05", "sub-01_cine", "ses-c", "ses-d", "code")
    ] == [
        *[1] * 4,
        0,
        0,
    ]
    (root / "dataset_description.json").unlink()
    assert [item.id for item in find_studies([root])[0] if item.kind == "bids"] == [item.id for item in items]
    assert [item.id for item in found(root / "sub-02")] == ["sub-02_ses-a", "sub-02_ses-b"]
    assert [item.id for item in found(root / "sub-02" / "ses-b")] == ["sub-02_ses-b"]


def test_subjects_of_one_label_are_told_apart_and_their_sessions_stay_together(tmp_path: Path) -> None:
    for root in ("a", "b"):
        touch(data_set(tmp_path / root), *(f"sub-01/ses-{v}/anat/sub-01_ses-{v}_LGE.nii.gz" for v in "12"))
    touch(tmp_path / "a", "sub-X/anat/sub-X_LGE.nii.gz", "sub-x/anat/sub-x_LGE.nii.gz")
    ids = [item.id for item in found(tmp_path / "a", tmp_path / "b")]
    assert len({one.lower() for one in ids}) == 6
    assert len({one.split("_")[0] for one in ids}) == 4
    assert all(bids.parts_of(f"{one}_LGE") for one in ids)
    hashed = [item.id for item in found(tmp_path / "a", tmp_path / "b", hashed=True)]
    assert len({one.split("_")[0] for one in hashed}) == 4 and not any("sub-01" in one for one in hashed)


def test_derivatives_are_no_studies(tmp_path: Path) -> None:
    root = data_set(tmp_path / "out", DatasetType="derivative")
    touch(root, "sub-01/anat/sub-01_cine.nii.gz")
    with pytest.raises(InputError, match="derivatives"):
        find_studies([root])


def test_a_session_is_read_with_its_facts(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    image(root, "sub-01_ses-1_acq-sax_LGE")
    image(root, "sub-01_ses-1_task-rest_bold", Role.CINE, folder="func")
    image(root, "sub-01_ses-1_T2w")
    (root / "T2w.json").write_text('{"BodyPart": "BRAIN"}')
    participants(root, "participant_id age sex height weight\nsub-01 54 female 1.7 70", height="m", weight="kg")
    study = read_study(root / "sub-01")
    assert (study.id, [series.role for series in study.series]) == ("sub-01_ses-1", [Role.LGE])
    assert study.patient == Patient("F", 54.0, 170.0, 70.0)
    assert {note.code for note in study.notes} == {"image_left_out"}
    said = " ".join(note.message for note in study.notes)
    assert "of the brain, by its sidecar" in said and "'bold'" in said
    (root / "sub-01" / "ses-1" / "patient.json").write_text('{"sex": "M"}')
    study = read_study(root / "sub-01" / "ses-1")
    assert study.patient.sex == "M" and study.patient.age_years == 54
    assert "sex M in the images' files, F in participants.tsv" in study.notes[-1].message


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "BIDS data set"),
        ("sub-01", "expected one session, found ses-1, ses-2"),
        ("sub-02", "named after another subject"),
        ("sub-03", "named after another subject or session"),
        ("sub-04", "expected a short-axis image"),
    ],
)
def test_what_is_not_one_study_is_refused_in_one_line(tmp_path: Path, given: str, says: str) -> None:
    root = data_set(tmp_path / "ds")
    for name in ("sub-01_ses-1_LGE", "sub-01_ses-2_cine", "sub-02_LGE", "sub-03_LGE", "sub-04_bold"):
        image(root, name)
    (root / "sub-02/anat/sub-02_LGE.nii.gz").rename(root / "sub-02/anat/sub-01_LGE.nii.gz")
    (root / "sub-03/anat/sub-03_LGE.nii.gz").rename(root / "sub-03/anat/sub-03_ses-1_LGE.nii.gz")
    with pytest.raises(InputError, match=says) as error:
        read_study(root / given)
    assert "\n" not in str(error.value)


def test_a_file_is_read_only_if_its_suffix_is_measured(tmp_path: Path) -> None:
    path = image(data_set(tmp_path / "ds"), "sub-01_task-rest_bold", Role.CINE)
    with pytest.raises(InputError, match="--role"):
        read_study(path)
    assert read_study(path, "cine").series[0].role is Role.CINE


@pytest.mark.parametrize(
    ("cells", "facts", "problems"),
    [
        ("54 m 170 70", Patient("M", 54.0), ["height, of which", "weight, of which"]),
        ("89+ O n/a n/a", Patient(), ["age 89+"]),
        ("nan ? n/a n/a", Patient(), ["sex ?", "age_years"]),
        ("400 F n/a n/a", Patient("F"), ["age_years between 0 and 120, found 400"]),
    ],
)
def test_what_a_participants_line_does_not_say_for_certain_is_not_taken(
    tmp_path: Path, cells: str, facts: Patient, problems: list[str]
) -> None:
    participants(tmp_path, f"participant_id age sex height weight\nsub-01 {cells}")
    patient, said = read_participant(bids.Place(tmp_path, "01", None))
    assert patient == facts
    assert len(said) == len(problems) and all(a in b for a, b in zip(problems, said, strict=True))


def test_a_line_that_is_missing_or_there_twice_or_a_broken_table_is_not_used(tmp_path: Path) -> None:
    place = bids.Place(tmp_path, "01", None)
    assert read_participant(place) == (Patient(), [])
    for table in ("participant_id age\nsub-02 50", "participant_id age\nsub-01 50\nsub-01 60", "id age\nsub-01 50"):
        participants(tmp_path, table)
        patient, problems = read_participant(place)
        assert patient == Patient() and "expected one" in problems[0]
    participants(tmp_path, "participant_id age\nsub-01 18", age="month")
    assert read_participant(place)[0].age_years == pytest.approx(1.5)
    (tmp_path / "participants.json").write_text("[" * 100_000)
    assert read_participant(place)[0].age_years == 18
    (tmp_path / "participants.tsv").write_bytes(b"participant_id\xff")
    assert "cannot be read" in read_participant(place)[1][0]


def test_a_sidecar_nearer_to_the_image_counts(tmp_path: Path) -> None:
    touch(tmp_path, "sub-1/anat/sub-1_acq-a_T1map.nii.gz")
    for name, said in (
        ("T1map.json", {"Units": "s", "A": 1}),
        ("acq-b_T1map.json", {"A": 2}),
        ("sub-1/sub-1_T1map.json", {"B": 3}),
        ("sub-1/anat/sub-1_acq-a_T1map.json", {"Units": "ms"}),
        ("sub-1/anat/sub-1_acq-a_T2map.json", {"A": 4}),
    ):
        (tmp_path / name).write_text(json.dumps(said))
    assert bids.sidecar(tmp_path / "sub-1/anat/sub-1_acq-a_T1map.nii.gz") == {"Units": "ms", "A": 1, "B": 3}


@pytest.mark.parametrize(
    ("scale", "unit", "factor"),
    [
        (1.0, None, 1.0),
        (0.001, None, 1000.0),
        (0.001, "s", 1000.0),
        (1.0, "ms", 1.0),
        (1.0, "s", None),
        (1.0, "min", None),
    ],
)
def test_maps_in_seconds_come_out_in_ms(tmp_path: Path, scale: float, unit: str | None, factor: float | None) -> None:
    root = data_set(tmp_path / "ds")
    image(root, "sub-01_LGE")
    path = image(root, "sub-01_acq-native_T1map", scale=scale)
    if unit:
        path.with_name("sub-01_acq-native_T1map.json").write_text(json.dumps({"Units": unit}))
    study = read_study(root / "sub-01")
    series = study.get(Role.MAP_T1_NATIVE)
    if factor is None:
        assert series is None and any(f"Units {unit}" in note.message for note in study.notes)
    else:
        assert series is not None
        raw = read_study(path, "lge").series[0].image.voxels
        assert np.allclose(series.image.voxels, raw * factor, rtol=1e-5)


def test_a_study_changes_with_its_line_and_with_sidecars_above_it(tmp_path: Path) -> None:
    root = data_set(tmp_path / "ds")
    touch(root, "sub-01/anat/sub-01_LGE.nii.gz", "sub-02/anat/sub-02_LGE.nii.gz")
    participants(root, "participant_id age\nsub-01 50\nsub-02 50")
    first, second = find_studies([root])[0]
    before = [fingerprint(one) for one in (first, second)]
    (root / "participants.tsv").write_text("participant_id\tage\nsub-01\t51\nsub-02\t50\n")
    assert [fingerprint(one) == was for one, was in zip((first, second), before, strict=True)] == [False, True]
    (root / "T1map.json").write_text("{}")
    assert fingerprint(second) != before[1]
