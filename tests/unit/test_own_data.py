"""A data set of one's own: read like the public ones, and refused in one line where it cannot be used."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from myoscope import analysis, cli, weights
from myoscope.datasets import case_folders, layout_of, own, read_case
from myoscope.errors import InputError
from myoscope.io.read import read_study
from myoscope.lab import crossval
from myoscope.lab.crossval import check_folds, read_cases, score_fold, summarise
from myoscope.lab.folds import fold_of
from myoscope.labels import Structure
from myoscope.study import Case, Patient, Role, Series, Study
from myoscope.systems import compact
from myoscope.volume import Volume, plain_affine

DOCS = Path(__file__).parents[2] / "docs" / "own-data.md"
SHAPE = (24, 20, 3)
AFFINE = np.diag([1.5, 1.5, 8.0, 1.0])


def heart() -> np.ndarray:
    """Labels (x, y, z): cavity, wall with an infarct, and a right ventricle."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 6:14] = Structure.RV
    labels[6:16, 5:15] = Structure.MYOCARDIUM
    labels[14:16, 5:10] = Structure.INFARCT
    labels[8:14, 7:13] = Structure.LV
    return labels


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def picture(labels: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 5, labels.shape)
    return (100.0 * (labels > 0) + 50 * (labels == Structure.LV) + noise + 50).astype(np.float32)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three images: an LGE stack, a cine of four frames drawn in frames 3 (ED) and 1 (ES), and labels of both."""
    labels = heart()
    save(tmp_path / "own" / "a" / "lge.nii.gz", picture(labels))
    save(tmp_path / "own" / "a" / "drawn.nii.gz", labels)
    cine = np.stack([labels] * 4, axis=-1)
    save(tmp_path / "own" / "cine 1.nii", picture(cine))
    cine[..., [0, 2]] = 0
    cine[cine == Structure.INFARCT] = Structure.MYOCARDIUM
    cine[9:13, 8:12, :, 1] = Structure.MYOCARDIUM  # a smaller cavity at end-systole
    save(tmp_path / "own" / "cine 1 drawn.nii", cine)
    return tmp_path / "own"


LGE = "a/lge.nii.gz,a/drawn.nii.gz"
CINE = "cine 1.nii,cine 1 drawn.nii"


def table(root: Path, text: str, encoding: str = "utf-8") -> Path:
    (root / "cases.csv").write_bytes(text.encode(encoding, "replace"))
    return root


def refusal(root: Path, text: str) -> str:
    """What reading the cases says."""
    with pytest.raises(InputError) as error:
        read_cases([table(root, text)])
    assert "\n" not in str(error.value)
    return str(error.value)


# --- what is read ---


def test_a_case_is_read_with_all_that_is_known(root: Path) -> None:
    table(
        root,
        "case,patient,group,sex,age_years,height_cm,clinical_Troponin,lge,lge_labels,cine,cine_labels,ed_frame,es_frame\n"
        f"x-1,p7,MINF,F,61,165,1.1,{LGE},{CINE},3,1\n",
    )
    case = read_case(root / "x-1")
    assert (case.id, case.scan, case.group, case.data_set) == ("x-1", "p7", "MINF", "own")
    assert case.study.patient == Patient("F", 61, 165, clinical={"Troponin": "1.1"})
    cine, late = case.study.get(Role.CINE), case.study.get(Role.LGE)
    assert cine.image.voxels.shape == (2, 3, 20, 24) or cine.image.voxels.shape == (2, 3, 24, 20)
    assert (cine.ed_frame, cine.es_frame) == (0, 1)
    cavity = [(frame == Structure.LV).sum() for frame in case.labels[Role.CINE].frames]
    assert cavity == [6 * 6 * 3, (6 * 6 - 4 * 4) * 3]
    for series in (cine, late):
        labels = case.labels[series.role]
        assert labels.same_grid(series.image)
        assert np.corrcoef(series.image.voxels.ravel(), labels.voxels.ravel() > 0)[0, 1] > 0.8
    assert case.drawn_as == {}


def test_predict_and_analyze_see_the_images_alone(root: Path) -> None:
    table(root, f"case,group,lge,lge_labels,cine,cine_labels,ed_frame\nx,MINF,{LGE},{CINE},3\n")
    for path in (root / "a" / "drawn.nii.gz", root / "cine 1 drawn.nii"):
        path.unlink()
    assert case_folders(root) == case_folders(root / "x") == [root / "x"]
    for study in (layout_of(root / "x").read_study(root / "x"), read_study(root / "x")):
        assert study.id == "x"
        assert [series.role for series in study.series] == [Role.CINE, Role.LGE]
        assert study.get(Role.CINE).image.voxels.shape[0] == 4
        assert study.get(Role.CINE).ed_frame == 3
    with pytest.raises(InputError, match=r"drawn\.nii.*no such file"):
        read_case(root / "x")
    with pytest.raises(InputError, match="found a data set; give one case"):
        read_study(root)


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-8"), (",", "utf-8-sig")])
def test_tables_as_spreadsheets_write_them(separator: str, encoding: str, root: Path) -> None:
    lines = ["case,patient,weight_kg,lge,lge_labels", f'Ärzte 1,"M, Ö",70.5,{LGE}', ",,,,", ""]
    if separator != ",":
        lines = [line.replace('"M, Ö"', "M. Ö").replace(",", separator).replace("70.5", "70,5") for line in lines]
        lines[1] = lines[1].replace("/", "\\")
    table(root, "\r\n".join(lines), encoding)
    (case,) = read_cases([root])
    assert case.id == "Ärzte 1"
    assert case.scan.endswith("Ö")
    assert case.study.patient.weight_kg == 70.5


def test_what_is_not_drawn_stands_as_something_else(root: Path) -> None:
    labels = heart()
    labels[np.isin(labels, [Structure.RV])] = 0
    save(root / "a" / "drawn.nii.gz", labels)
    table(root, f"case,lge,lge_labels,not_drawn\nx,{LGE},rv no_reflow\n")
    expected = {Structure.RV: Structure.BACKGROUND, Structure.NO_REFLOW: Structure.INFARCT}
    assert read_case(root / "x").drawn_as == expected
    labels[labels == Structure.INFARCT] = Structure.MYOCARDIUM
    save(root / "a" / "drawn.nii.gz", labels)
    table(root, f"case,lge,lge_labels,not_drawn\nx,{LGE},RV infarct\n\n")
    walls = dict.fromkeys((Structure.INFARCT, Structure.NO_REFLOW), Structure.MYOCARDIUM)
    assert read_case(root / "x").drawn_as == {Structure.RV: Structure.BACKGROUND} | walls


def test_a_patient_stays_in_one_fold(root: Path) -> None:
    for i in range(12):
        save(root / f"{i}.nii.gz", picture(heart()))
        save(root / f"{i}_drawn.nii.gz", heart())
    lines = [f"c{i},p{i // 2},{i}.nii.gz,{i}_drawn.nii.gz" for i in range(12)]
    cases = read_cases([table(root, "\n".join(["case,patient,lge,lge_labels", *lines]))])
    folds = fold_of(cases)
    assert folds[::2] == folds[1::2]
    assert set(folds) == set(range(5))
    check_folds("compact-lge", cases, range(5))
    with pytest.raises(InputError, match="labelled cine or bssfp for compact-cine, found none"):
        check_folds("compact-cine", cases, [None])
    few = cases[:6]
    check_folds("compact-lge", few, [None, 0, 1, 2])
    with pytest.raises(InputError, match=r"0 of 6 in fold 4; 5 patients or more are needed, here are 3"):
        check_folds("compact-lge", few, range(5))
    with pytest.raises(InputError, match="here are 1"):
        check_folds("compact-lge", cases[:2], [0])


def test_cases_of_one_name_are_refused(root: Path) -> None:
    table(root, f"case,lge,lge_labels\nx,{LGE}\n")
    with pytest.raises(InputError, match="every case once in what is given, found 'x' again"):
        read_cases([root, root])


@pytest.mark.parametrize(("folder", "name"), [("ACDC", "own-ACDC"), ("my hearts, 2", "my-hearts-2"), ("|", "own")])
def test_names_fit_into_tables_and_are_no_public_sets(folder: str, name: str, tmp_path: Path) -> None:
    assert own.data_set_name(tmp_path / folder) == name


def test_a_public_case_written_anew_is_the_same(tmp_path: Path) -> None:
    labels = heart().transpose(2, 1, 0)
    image = Volume(picture(labels), plain_affine((8.0, 1.5, 1.25)))
    stack = image.with_voxels(np.stack([image.voxels, image.voxels]))
    cine = Series(Role.CINE, "s", stack, (), 1, 0)
    patient = Patient("M", 50.0, 180.0, 80.0, None, {"Troponin": "1,1"})
    drawn = {Role.CINE: stack.with_voxels(np.stack([labels, labels]))}
    case = Case(Study("p1", patient, (cine,)), drawn, "DCM", "scan 1", {Structure.NO_REFLOW: Structure.INFARCT})
    own.write_dataset([case], tmp_path / "again")
    (again,) = read_cases([tmp_path / "again"])
    assert (again.id, again.group, again.scan, again.drawn_as) == (case.id, case.group, case.scan, case.drawn_as)
    assert again.study.patient == patient
    assert again.labels[Role.CINE].voxel_ml == pytest.approx(image.voxel_ml)
    assert np.bincount(again.labels[Role.CINE].voxels.ravel()).tolist() == (2 * np.bincount(labels.ravel())).tolist()


# --- what cannot be used ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected the column case and one or more of cine, lge, t2, bssfp, found none"),
        ("patient,lge\np,a/lge.nii.gz\n", r"expected the column case .* found patient, lge"),
        ("case,lge_labels\nx,a/drawn.nii.gz\n", r"expected the column case and one or more of cine"),
        ("case,lge\n", r"expected a line for each case, found none"),
        ("case,lge\n,\n", r"expected a line for each case, found none"),
        ("case,lge,age\nx,a/lge.nii.gz,3\n", r"expected columns of case, .*, found 'age'"),
        ("case,lge,lge\nx,a/lge.nii.gz,\n", r"found 'lge' twice"),
        ("case,lge\nx,a/lge.nii.gz,\n", r"line 2: expected 2 cells, found 3"),
        ("case,lge\nx\n", r"line 2: expected 2 cells, found 1"),
        ('case,lge\n"x,a/lge.nii.gz\n', r"line 2: .*export the table again"),
        (
            "case,lge\nx,a/no.nii.gz\n",
            r"line 2: expected a \.nii or \.nii\.gz file in column lge, found no .*a/no\.nii",
        ),
        ("case,lge\nx,a\n", r"line 2: expected a \.nii or \.nii\.gz file"),
        ("case,lge,t2\nx,,\n", r"line 2: expected an image in one of the columns cine, lge, t2, bssfp, found none"),
        ("case,lge\nx,../own/a/lge.nii.gz\n", r"line 2: expected a path inside .*own, found \.\./own"),
        ("case,lge\nx,..\\own\\a\\lge.nii.gz\n", r"line 2: expected a path inside"),
        ("case,lge\nx,/etc/passwd\n", r"line 2: expected a path inside .*, found /etc/passwd"),
        ("case,lge\nx,outside.nii.gz\n", r"line 2: expected a path inside"),
        ("case,lge\n../x,a/lge.nii.gz\n", r"line 2: expected a case name of letters"),
        ("case,lge\nx,a/lge.nii.gz\n\nx,a/lge.nii.gz\n", r"line 4: expected every case once, found 'x' again"),
        ("case,lge,group\nx,a/lge.nii.gz,A\ny,a/lge.nii.gz,\n", r"a group for every case or for none, .* 'y'"),
        ("case,lge\nx,a/lge.nii.gz\ny,a/lge.nii.gz\n", r"lge\.nii\.gz to be of one patient, found it for 'x' and 'y'"),
        ("case,lge,lge_labels\nx,a/lge.nii.gz,a/lge.nii.gz\n", r"as image or as labels, found it as both"),
        ("case,lge,t2_labels\nx,a/lge.nii.gz,a/drawn.nii.gz\n", r"line 2: expected the image that t2_labels was"),
        ("case,lge,sex\nx,a/lge.nii.gz,woman\n", r"line 2: sex: .*'F' or 'M'"),
        ("case,lge,height_cm\nx,a/lge.nii.gz,1.7\n", r"line 2: expected height_cm between 30 and 250, found 1.7"),
        ("case,lge,age_years\nx,a/lge.nii.gz,nan\n", r"line 2: expected age_years between"),
        ("case,lge,not_drawn\nx,a/lge.nii.gz,lv\n", r"line 2: expected in not_drawn some of .*rv, found 'lv'"),
        (
            "case,cine,ed_frame\nx,cine 1.nii,end\n",
            r"line 2: expected ed_frame and es_frame as numbers from 0, .*'end'",
        ),
        ("case,cine,ed_frame,es_frame\nx,cine 1.nii,1,1\n", r"line 2: expected two frames, found 1 as ed_frame"),
        ("case,cine,es_frame\nx,cine 1.nii,4\n", r"expected es_frame from 0 to 3, found 4; frames count from 0"),
        ("case,lge\nx,cine 1.nii\n", r"cine 1\.nii: expected one frame for lge, found 4; name it in column cine"),
        (f"case,cine,cine_labels\nx,{CINE}\n", r"drawn\.nii: expected ed_frame or es_frame in cases\.csv"),
        (f"case,cine,cine_labels,ed_frame\nx,{CINE},2\n", r"expected labels in frame 2 \(ed_frame\), found none"),
        ("case,cine,cine_labels,ed_frame\nx,cine 1.nii,a/drawn.nii.gz,2\n", r"of 4 frames like the cine, found 1"),
        ("case,lge,lge_labels\nx,a/lge.nii.gz,cine 1 drawn.nii\n", r"expected labels of shape \(24, 20, 3\)"),
        (f"case,lge,lge_labels,not_drawn\nx,{LGE},rv\n", r"expected no RV blood pool .* found code 6"),
    ],
)
def test_a_table_that_cannot_be_used(text: str, message: str, root: Path) -> None:
    (root / "outside.nii.gz").symlink_to(save(root.parent / "elsewhere.nii.gz", picture(heart())))
    assert re.search(message, line := refusal(root, text)), line


CELLS = st.sampled_from([*own.COLUMNS, "x", "rv", "0", "1", "61", "F", "", "a/lge.nii.gz", "..", "clinical_", '"', "é"])


@settings(max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(st.lists(CELLS | st.text(max_size=3), max_size=5), max_size=4), mark=st.sampled_from(",;\t"))
def test_a_table_at_random_is_read_or_refused(lines: list[list[str]], mark: str, root: Path) -> None:
    text = "\n".join(mark.join(cells) for cells in [["case", "lge", "ed_frame", "not_drawn"], *lines])
    table(root, text, "utf-8")
    own._read_table.cache_clear()
    try:
        rows = own.read_table(root)
    except InputError as error:
        assert str(error).isprintable()
    else:
        assert all(row.images[Role.LGE] == root / "a" / "lge.nii.gz" for row in rows.values())


def test_another_encoding_is_named(root: Path) -> None:
    for encoding in ("latin-1", "utf-16"):
        table(root, "case,lge\nÄ,a/lge.nii.gz\n", encoding)
        with pytest.raises(InputError, match=r"cases\.csv: expected UTF-8 text, .*save it as CSV UTF-8"):
            read_cases([root])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.where(x == Structure.RV, 0, x), r"expected RV blood pool \(code 6\), found none; .*not_drawn"),
        (lambda x: np.choose(x, [0, 3, 2, 2, 2, 2, 1]), r"expected RV blood pool"),  # ACDC's codes
        (lambda x: np.where(x == Structure.LV, 9, x), r"drawn\.nii\.gz: expected label codes .*found \[9\.0\]"),
        (
            lambda x: x[:-1],
            r"drawn\.nii\.gz: expected labels of shape \(24, 20, 3\) like the image, found \(23, 20, 3\)",
        ),
        (lambda x: x * 0, r"expected LV blood pool \(code 1\), found none"),
    ],
)
def test_labels_that_cannot_be_used(change: Callable[[np.ndarray], np.ndarray], message: str, root: Path) -> None:
    save(root / "a" / "drawn.nii.gz", change(heart()).astype(np.uint8))
    assert re.search(message, line := refusal(root, f"case,lge,lge_labels\nx,{LGE}\n")), line


@pytest.mark.parametrize("affine", [AFFINE @ np.diag([-1, 1, 1, 1]), AFFINE + np.eye(4)[:, [3, 0, 1, 2]].T, np.eye(4)])
def test_labels_with_another_affine_may_be_turned(affine: np.ndarray, root: Path) -> None:
    save(root / "a" / "drawn.nii.gz", heart(), affine)
    line = refusal(root, f"case,lge,lge_labels\nx,{LGE}\n")
    assert "drawn.nii.gz: expected labels that lie where lge.nii.gz lies, found another place" in line


# --- what is done with it ---


class Blank:
    """Stands in for a trained model: finds no heart."""

    card = {"started_from": None}  # noqa: RUF012

    def predict(self, study: Study) -> dict[Role, Volume]:
        return {s.role: s.image.with_voxels(np.zeros(s.image.voxels.shape, np.uint8)) for s in study.series}


def test_only_what_is_drawn_is_scored(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = nib.load(root / "cine 1 drawn.nii")
    labels = np.asarray(drawn.dataobj).copy()
    labels[labels == Structure.RV] = 0
    save(root / "no rv.nii", labels)
    save(root / "other.nii", np.asarray(nib.load(root / "cine 1.nii").dataobj))
    text = f"case,cine,cine_labels,ed_frame,es_frame,not_drawn\nx,{CINE},3,1,\ny,other.nii,no rv.nii,3,1,rv\n"
    cases = read_cases([table(root, text)])
    monkeypatch.setattr(compact.Model, "load", lambda *_: Blank())
    trained = root.parent / "w.safetensors"
    trained.touch()
    rows = []
    for fold in (0, 1):
        rows += score_fold("compact-cine", cases, fold, trained, "cpu")
        trained.with_name("scores.json").unlink()
    assert [(row["case"], row["phase"], "RV dice" in row) for row in rows] == [
        ("x", "ED", True),
        ("x", "ES", True),
        ("y", "ED", False),
        ("y", "ES", False),
    ]
    counts = {(s["phase"], s["region"]): s["n"] for s in summarise(rows)}
    assert counts[("ED", "LV")] == 2
    assert counts[("ED", "RV")] == 1
    edv, esv = (row["LV true ml"] for row in rows[:2])
    assert edv > esv


@pytest.mark.parametrize(
    ("sets", "start", "terms"),
    [
        ({"own"}, None, "what the owners of own allow"),
        ({"own"}, "compact-cine", "not commercial"),
        ({"own", "acdc"}, None, "not commercial"),
    ],
)
def test_weights_from_own_data_alone_are_not_under_others_terms(sets: set[str], start: str | None, terms: str) -> None:
    assert terms in crossval._licence(sets, start)


def test_the_page_says_what_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Runs docs/own-data.md from its first line to its last, with a tiny network and hardly any time to train."""
    small = dataclasses.replace(compact.RECIPES["compact-cine"], widths=(4, 8), crop=32, batch=2, phantoms=0)
    monkeypatch.setitem(compact.RECIPES, "compact-cine", small)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text(), re.DOTALL)
    code = next(text for language, text in blocks if language == "python")
    exec(compile(code, str(DOCS), "exec"), {})
    csv = next(text for language, text in blocks if language == "csv")
    assert (tmp_path / "hearts" / "cases.csv").read_text().startswith(csv)
    commands = [
        shlex.split(line, comments=True) for language, text in blocks if language == "sh" for line in text.splitlines()
    ]
    assert {command[1] for command in commands} == {"train", "evaluate", "predict", "analyze"}
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "runs" / "all")  # as if installed: the large ones take longer
    monkeypatch.setattr(analysis, "_model", analysis._model.__wrapped__)
    for command in commands:
        brief = [
            "0.001" if before == "--minutes" else word for before, word in zip(["", *command], command, strict=False)
        ]
        monkeypatch.setattr(sys, "argv", brief)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert stopped.value.code == 0, (command, capsys.readouterr().err)
    for name in (f"phantom-{i}" for i in range(5)):
        image, labels = (nib.load(tmp_path / p) for p in (f"hearts/{name}/cine.nii.gz", f"out/{name}_seg.nii.gz"))
        assert labels.shape == image.shape
        assert np.allclose(labels.affine, image.affine, atol=1e-4)
    assert "| hearts | ED | LV | 5 |" in (tmp_path / "runs" / "results.md").read_text()
    assert (tmp_path / "report" / "report.html").is_file()
