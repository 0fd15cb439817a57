"""Which studies lie below a path, and under which ids."""

import errno
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from dicom_writer import tiny_study, write_dicom
from myoscope.cohort.find import find_studies
from myoscope.cohort.inputs import alone, fingerprint, without_names
from myoscope.cohort.patients import read_patients
from myoscope.errors import InputError
from myoscope.io.read import read_study


def nifti(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(*paths: Path, hashed: bool = False) -> dict[str, str]:
    return {item.name: item.kind for item in find_studies(paths, hashed)[0]}


def test_case_folders_one_study_each(tmp_path: Path) -> None:
    nifti(tmp_path / "a" / "cine.nii.gz", tmp_path / "a" / "lge.nii.gz", tmp_path / "b" / "cine.nii.gz")
    items, notes = find_studies([tmp_path])
    assert [(item.name, item.path) for item in items] == [("a", str(tmp_path / "a")), ("b", str(tmp_path / "b"))]
    assert all(item.id.startswith(f"{item.name}-") and len(item.id) == len(item.name) + 9 for item in items)
    assert notes == []


def test_what_cannot_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cohort leaves it out and says so; a study is refused, for a part of it may lie there."""
    nifti(tmp_path / "a" / "cine.nii.gz", tmp_path / "a" / "locked" / "x.nii.gz", tmp_path / "b" / "IM1")

    def denied(path: object) -> None:
        if Path(str(path)).name in ("locked", "IM1"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for place, name in ((os, "scandir"), (os, "listdir"), (Path, "open")):
        real = getattr(place, name)
        monkeypatch.setattr(place, name, lambda path, *a, _real=real, **k: denied(path) or _real(path, *a, **k))
    items, notes = find_studies([tmp_path])
    assert [item.name for item in items] == ["a"]
    assert notes[0] == "1 folders (a/locked): cannot be read."
    assert notes[1] == "1 files that cannot be read, or are DICOM of no study, were left out."
    with pytest.raises(InputError, match=r"locked: cannot read it \(Permission denied\)"):
        read_study(tmp_path / "a")
    with pytest.raises(InputError, match=r"locked: cannot read it \(Permission denied\)"):
        read_study(tmp_path / "a" / "locked")
    with pytest.raises(InputError, match=r"IM1: cannot read it \(Permission denied\)"):
        read_study(tmp_path / "b")


def test_a_patient_table_as_german_spreadsheets_write_it(tmp_path: Path) -> None:
    nifti(tmp_path / "a" / "cine.nii.gz")
    (tmp_path / "p.csv").write_text("study;sex;height;class\na;F;171,5;x,y\n")
    found, _ = read_patients(tmp_path / "p.csv", find_studies([tmp_path])[0])
    assert list(found.values()) == [{"sex": "F", "height_cm": "171.5", "class": "x,y"}]


def test_a_study_is_found_once_whatever_links_lead_there(tmp_path: Path) -> None:
    nifti(tmp_path / "here" / "a" / "cine.nii.gz", tmp_path / "here" / "b" / "cine.nii.gz")
    (tmp_path / "there").symlink_to(tmp_path / "here")
    items, _ = find_studies([tmp_path / "here", tmp_path / "there", tmp_path / "here" / "a"])
    assert [item.path for item in items] == [str(tmp_path / "here" / name) for name in "ab"]


def test_folders_of_one_patient_each_are_never_put_together(tmp_path: Path) -> None:
    """One has a cine only, the other LGE only: still two patients."""
    nifti(tmp_path / "anna" / "cine.nii.gz", tmp_path / "berta" / "lge.nii.gz")
    assert found(tmp_path) == {"anna": "nifti", "berta": "nifti"}


def test_files_of_several_patients_in_one_folder(tmp_path: Path) -> None:
    nifti(tmp_path / "anna_cine.nii.gz", tmp_path / "berta_lge.nii.gz", tmp_path / "anna_cine_seg.nii.gz")
    assert found(tmp_path) == {"anna_cine": "nifti", "berta_lge": "nifti"}


def test_a_tree_like_bids_has_a_study_a_session(tmp_path: Path) -> None:
    for session in ("ses-01", "ses-02"):
        for name in ("anat/sub-01_lge.nii.gz", "cine/sub-01_sax.nii.gz", "derivatives/sub-01_cine.nii.gz"):
            nifti(tmp_path / "sub-01" / session / name)
    assert found(tmp_path) == {"sub-01_ses-01": "bids", "sub-01_ses-02": "bids"}


def test_a_folder_of_sub_whose_files_are_not_named_so_is_as_any_other(tmp_path: Path) -> None:
    """Two visits of one person, in folders as BIDS has no: never put together."""
    nifti(tmp_path / "sub-01" / "visit1" / "cine.nii.gz", tmp_path / "sub-01" / "visit2" / "lge.nii.gz")
    assert found(tmp_path) == {"visit1": "nifti", "visit2": "nifti"}


def test_a_folder_called_images_may_hold_many_patients(tmp_path: Path) -> None:
    for name in ("anna", "berta"):
        nifti(tmp_path / "images" / name / "cine.nii.gz", tmp_path / "images" / name / "lge.nii.gz")
    assert found(tmp_path) == {"anna": "nifti", "berta": "nifti"}


def test_data_sets_cases_keep_their_names(tmp_path: Path) -> None:
    for root in ("one", "two"):
        for case in ("Case3001", "Case3002")[: 2 if root == "one" else 1]:
            nifti(*(tmp_path / root / case / f"{case}_{word}.nii.gz" for word in ("C0", "LGE", "T2")))
    items, _ = find_studies([tmp_path])
    ids = [item.id for item in items]
    assert "Case3002" in ids
    assert len([one for one in ids if one.startswith("Case3001-")]) == 2, "a hash tells apart what has one name"


def test_hashed_ids_have_no_name_in_them(tmp_path: Path) -> None:
    nifti(tmp_path / "Muster_Erika" / "cine.nii.gz")
    (item,) = find_studies([tmp_path], hashed=True)[0]
    assert item.id.startswith("study-") and "uster" not in item.id
    assert "Erika" not in without_names(f"{item.path}/cine.nii.gz: broken for Muster_Erika", item, True)


def test_a_reason_names_no_folder(tmp_path: Path) -> None:
    nifti(tmp_path / "Muster" / "pat1" / "cine.nii.gz")
    (item,) = find_studies([tmp_path])[0]
    text = without_names(f"'{item.path}': expected one, found '{item.path}/cine.nii.gz'", item, False)
    assert "Muster" not in text and text.startswith(f"'{item.id}': expected")


def test_dicom_mixed_in_one_folder_is_split_by_study(tmp_path: Path) -> None:
    """Two patients' files under one roof: each comes out as it would alone."""
    alone_at = [tmp_path / "1", tmp_path / "2"]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for folder in alone_at:
        write_dicom(tiny_study(), folder, name=f"Muster^{folder.name}", seed=int(folder.name))
        for i, file in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
            shutil.copy(file, mixed / f"{folder.name}-{i}")
    items, notes = find_studies([mixed])
    assert [item.kind for item in items] == ["dicom", "dicom"] and notes == []
    expected = {read_study(folder).id for folder in alone_at}
    assert {item.id for item in items} == expected
    for item in items:
        study = read_study(alone(item, tmp_path / "links" / item.id))
        assert study.id == item.id
    assert {item.path for item in find_studies(alone_at)[0]} == {str(folder) for folder in alone_at}


def test_zips_of_one_study_and_of_two(tmp_path: Path) -> None:
    folders = [tmp_path / "x" / "1", tmp_path / "x" / "2"]
    for folder in folders:
        write_dicom(tiny_study(), folder, name=f"Muster^{folder.name}", seed=int(folder.name))
    (tmp_path / "in").mkdir()
    for name, chosen in (("one", folders[:1]), ("both", folders)):
        with zipfile.ZipFile(tmp_path / "in" / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for folder in chosen:
                for file in folder.rglob("*"):
                    archive.write(file, file.relative_to(tmp_path))
    (tmp_path / "in" / "none.zip").write_bytes(b"no zip")
    items, _ = find_studies([tmp_path / "in"])
    uids = {read_study(folder).id for folder in folders}
    assert {item.id for item in find_studies([tmp_path / "in" / "both.zip"])[0]} == uids
    assert len(items) == 4 and sum(item.name == "none" for item in items) == 1
    for item in find_studies([tmp_path / "in" / "both.zip"])[0]:
        assert read_study(alone(item, tmp_path / "links" / item.id)).id == item.id


def test_an_input_changes_with_its_files(tmp_path: Path) -> None:
    nifti(tmp_path / "a" / "cine.nii.gz")
    (item,) = find_studies([tmp_path])[0]
    before = fingerprint(item)
    assert fingerprint(item) == before
    (tmp_path / "a" / "patient.json").write_text("{}")
    assert fingerprint(item) != before


def test_output_of_a_cohort_is_not_its_input(tmp_path: Path) -> None:
    nifti(tmp_path / "in" / "cine.nii.gz", tmp_path / "out" / "studies" / "x" / "lge.nii.gz")
    (tmp_path / "out" / "cohort.lock").touch()
    assert found(tmp_path) == {"in": "nifti"}


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_nothing_there_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"check the path"):
        find_studies([tmp_path / name])


def test_phases_and_long_axes_make_no_second_study(tmp_path: Path) -> None:
    nifti(*(tmp_path / "001" / f"001_{view}_{phase}.nii.gz" for view in ("SA", "LA") for phase in ("ED", "ES")))
    assert found(tmp_path) == {"001": "nifti"}
