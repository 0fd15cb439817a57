"""Agreement with readers: statistics against other ways to the same numbers, and a file of each contour format."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from cohort_world import small_case
from dicom_writer import tiny_study, write_dicom
from myoscope.analysis import judge
from myoscope.cohort.agree import agree, agreements
from myoscope.cohort.agree.compare import Compared
from myoscope.cohort.agree.cvi42 import read_cvi42
from myoscope.cohort.agree.polygons import fill
from myoscope.cohort.agree.reference import contours_below, labels_at, read_numbers
from myoscope.cohort.agree.rtstruct import RTSTRUCT_CLASS, read_rtstruct
from myoscope.cohort.agree.statistics import agreement, concordance, icc
from myoscope.datasets.own import write_dataset
from myoscope.errors import InputError
from myoscope.io.dicom import on_source_frames
from myoscope.io.dicom.write import dicom_results
from myoscope.io.read import read_study
from myoscope.io.save import write_series, write_study
from myoscope.labels import Structure
from myoscope.measure.calibration import read_calibration
from myoscope.study import Role, Study
from myoscope.volume import Volume

JUDGES = np.array([[9, 2], [6, 1], [8, 4], [7, 1], [10, 5], [6, 2]], float)
"""The first two of Shrout & Fleiss's judges (1979)."""


def test_icc_is_the_variance_components() -> None:
    """ICC(A,1) from expected mean squares, by hand."""
    a, b = JUDGES.T
    n, grand = len(a), JUDGES.mean()
    between = 2 * ((JUDGES.mean(1) - grand) ** 2).sum() / (n - 1)
    judges = n * ((JUDGES.mean(0) - grand) ** 2).sum()
    error = (((JUDGES - grand) ** 2).sum() - between * (n - 1) - judges) / (n - 1)
    patients, raters = (between - error) / 2, (judges - error) / n
    found = icc(a, b)
    assert found.value == pytest.approx(patients / (patients + raters + error))
    assert found.low < found.value < found.high <= 1


def test_the_intervals_cover() -> None:
    """Of 400 samples of 40 patients, about 95 of 100 intervals hold the true value."""
    rng = np.random.default_rng(5)
    covered = np.zeros(3)
    for _ in range(400):
        patient = rng.normal(0, 3, 40)
        a, b = patient + rng.normal(0, 1, 40), patient + rng.normal(0, 1, 40)
        found = agreement(a, b)
        assert found
        for i, (estimate, truth) in enumerate(
            ((found.icc, 0.9), (found.concordance, 0.9), (found.upper_limit, 1.96 * np.sqrt(2)))
        ):
            covered[i] += estimate.low <= truth <= estimate.high
    assert (covered / 400 > 0.92).all() and (covered / 400 < 0.985).all(), covered / 400


def test_bland_altman_by_hand() -> None:
    ours, theirs = np.array([3.0, 5, 8, 10]), np.array([1.0, 5, 7, 11])
    found = agreement(ours, theirs)
    assert found and found.n == 4
    sd = np.std([2, 0, 1, -1], ddof=1)
    assert (found.bias.value, found.sd) == (0.5, pytest.approx(sd))
    assert found.upper_limit.value == pytest.approx(0.5 + 1.96 * sd)
    assert agreement(ours[:2], theirs[:2]) is None
    assert concordance(ours, ours).value == 1


def test_groups_have_rows_of_their_own() -> None:
    ones = [
        Compared(str(i), {"lv.edv_ml": i + (i % 2)}, {"lv.edv_ml": float(i)}, {"class": "AB"[i % 2]}) for i in range(8)
    ]
    found = {(row.by, row.group): row.result for row in agreements(ones)}
    assert set(found) == {("all", "all"), ("class", "A"), ("class", "B")}
    assert (found["class", "A"].bias.value, found["class", "B"].bias.value, found["all", "all"].n) == (0, 1, 8)


def test_a_circle_is_filled_to_its_area() -> None:
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    for centre in ((30.0, 25.0), (30.4, 24.7)):
        mask = fill(np.column_stack([centre[0] + 12.3 * np.cos(angle), centre[1] + 12.3 * np.sin(angle)]), (50, 60))
        rows, columns = np.indices(mask.shape)
        assert (mask == (np.hypot(columns - centre[0], rows - centre[1]) < 12.299)).mean() > 0.999


def square(column: float, row: float, half: float) -> np.ndarray:
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (half + 0.5) + [column, row]


SQUARES = {"endo": (15, 14, 4), "epi": (15, 14, 6), "rv": (6, 14, 2)}


def expected(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape)
    far = {name: np.maximum(abs(columns - x), abs(rows - y)) <= half for name, (x, y, half) in SQUARES.items()}
    return np.select(
        [far["endo"], far["epi"], far["rv"]], [Structure.LV, Structure.MYOCARDIUM, Structure.RV], Structure.BACKGROUND
    )


@pytest.fixture(scope="module")
def dicom_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("dicom")
    write_dicom(tiny_study(), folder)
    return read_study(folder)


def cvi42(path: Path, contours: dict[str, dict[str, np.ndarray]]) -> Path:
    """A workspace as UK Biobank's users have it: `{uid: {name: points (n, 2) in pixels}}`."""
    space = 'xmlns:Hash="http://www.circlecvi.com/cvi42/Workspace/Hash/" xmlns:Point="http://www.circlecvi.com/Point/"'
    images = ""
    for uid, lines in contours.items():
        items = ""
        for name, points in lines.items():
            dots = "".join(
                f"<List:item><Point:x>{4 * x:.0f}</Point:x><Point:y>{4 * y:.0f}</Point:y></List:item>"
                for x, y in points
            ).replace("List:item", "item")
            items += (
                f'<Hash:item Hash:key="{name}"><Hash:item Hash:key="Points">{dots}</Hash:item>'
                '<Hash:item Hash:key="SubpixelResolution">4</Hash:item></Hash:item>'
            )
        images += f'<Hash:item Hash:key="{uid}"><Hash:item Hash:key="Contours">{items}</Hash:item></Hash:item>'
    path.write_text(f'<Workspace {space}><Hash:item Hash:key="ImageStates">{images}</Hash:item></Workspace>')
    return path


def test_cvi42_contours_lie_on_their_pixels(dicom_study: Study, tmp_path: Path) -> None:
    series = dicom_study.get(Role.CINE)
    assert series and series.source
    uid = series.source.images[1][2].sop_instance_uid
    names = {"endo": "saendocardialContour", "epi": "saepicardialContour", "rv": "sarvendocardialContour0001"}
    lines = {names[kind]: square(*where) for kind, where in SQUARES.items()}
    path = cvi42(tmp_path / "x.xml", {uid: lines | {"lalaContour": square(3, 3, 1)}})
    labels = read_cvi42(path, dicom_study)
    assert list(labels) == [Role.CINE]
    drawn = on_source_frames(labels[Role.CINE].frames, series.files[0])
    assert (drawn[1, 2] == expected(drawn.shape[2:])).all()
    assert not drawn[0].any() and not np.delete(drawn[1], 2, axis=0).any()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("<x>", "as XML, found another"),
        ("<?xml version='1.0' encoding='x'?><x/>", "as XML"),
        ("<!DOCTYPE x []><x/>", "document type"),
        ("<x/>", "found none"),
    ],
)
def test_what_is_no_workspace_is_refused(dicom_study: Study, tmp_path: Path, text: str, found: str) -> None:
    (path := tmp_path / "x.xml").write_text(text)
    with pytest.raises(InputError, match=found):
        read_cvi42(path, dicom_study)


def rtstruct(path: Path, study: Study, names: dict[str, str]) -> Path:
    """A structure set with the squares on the third slice of LGE."""
    series = study.get(Role.LGE)
    assert series and series.source
    image = series.source.images[0][2]
    found = Dataset()
    found.SOPClassUID, found.SOPInstanceUID, found.Modality = RTSTRUCT_CLASS, "1.2.3.4", "RTSTRUCT"
    found.StudyInstanceUID = series.source.study_instance_uid
    found.StructureSetROISequence, found.ROIContourSequence = [], []
    for number, (kind, where) in enumerate(SQUARES.items(), 1):
        line = square(*where)
        at = np.column_stack([line, np.full(len(line), 2), np.ones(len(line))]) @ series.image.affine.T
        contour = Dataset()
        contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(line)
        contour.ContourData = [f"{value:.6g}" for value in (at[:, :3] * [-1, -1, 1]).ravel()]
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = (
            image.sop_class_uid,
            image.sop_instance_uid,
        )
        contour.ContourImageSequence = [reference]
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, names[kind]
        drawn.ReferencedROINumber, drawn.ContourSequence = number, [contour]
        found.StructureSetROISequence.append(roi)
        found.ROIContourSequence.append(drawn)
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.file_meta.MediaStorageSOPClassUID, found.file_meta.MediaStorageSOPInstanceUID = RTSTRUCT_CLASS, "1.2.3.4"
    found.save_as(path, enforce_file_format=True)
    return path


def test_a_structure_set_lies_on_its_slice(dicom_study: Study, tmp_path: Path) -> None:
    path = rtstruct(tmp_path / "rt.dcm", dicom_study, {"endo": "LV endo", "epi": "Epicardium", "rv": "RV"})
    labels = read_rtstruct(path, dicom_study)
    (volume,) = labels.values()
    assert list(labels) == [Role.LGE]
    assert (volume.frames[0, 2] == expected(volume.voxels.shape[-2:])).all()
    assert not np.delete(volume.frames[0], 2, axis=0).any()
    places = contours_below(tmp_path)
    assert list(places) == [dicom_study.id]
    assert (labels_at(places[dicom_study.id], dicom_study)[Role.LGE].voxels == volume.voxels).all()
    for odd, found in ((path.read_bytes()[200:], "it cannot be read"), (b"", "it cannot be read")):
        (tmp_path / "no.dcm").write_bytes(odd)
        with pytest.raises(InputError, match=found):
            read_rtstruct(tmp_path / "no.dcm", dicom_study)
    cut = dcmread(path)
    cut.ROIContourSequence[0].ContourSequence[0].ContourData = ["1", "2"]
    cut.save_as(tmp_path / "no.dcm")
    with pytest.raises(InputError, match="expected contours of points in mm"):
        read_rtstruct(tmp_path / "no.dcm", dicom_study)
    with pytest.raises(InputError, match="expected regions called"):
        read_rtstruct(rtstruct(tmp_path / "no.dcm", dicom_study, dict.fromkeys(SQUARES, "liver")), dicom_study)


def test_a_dicom_segmentation_lies_on_its_frames(dicom_study: Study, tmp_path: Path) -> None:
    """What `analyze` writes for the archive, corrected there by a reader and exported again."""
    series = dicom_study.get(Role.LGE)
    assert series
    drawn = np.zeros(series.image.voxels.shape[-3:], np.uint8)
    drawn[2] = expected(drawn.shape[1:])
    labels = {Role.LGE: series.image.with_voxels(drawn)}
    written, _ = dicom_results(dicom_study, labels, judge(dicom_study, labels, {}).measurements)
    (name,) = [name for name in written if name.endswith("_seg.dcm")]
    (tmp_path / "reader.dcm").write_bytes(written[name])
    places = contours_below(tmp_path)
    assert list(places) == [dicom_study.id]
    found = labels_at(places[dicom_study.id], dicom_study)
    assert list(found) == [Role.LGE]
    assert np.array_equal(found[Role.LGE].frames[0], drawn)


def test_a_table_of_numbers(tmp_path: Path) -> None:
    (path := tmp_path / "reader.csv").write_text("study;lv.edv_ml;remark\na;100.5;x\nb;;y\n")
    assert read_numbers(path) == {"a": {"lv.edv_ml": 100.5}, "b": {}}
    path.write_text("study,lv.edv_ml\na,high\n")
    with pytest.raises(InputError, match="line 2: expected numbers"):
        read_numbers(path)
    path.write_text("study,lv.edv_ml\na,nan\n")  # it would be the quantile of a calibration
    with pytest.raises(InputError, match="line 2: expected numbers"):
        read_numbers(path)
    path.write_text("study,lv.ejection_fraction_percent,lv.edv_ml\na,55,3,120\n")  # an EDV of 3 ml, unsaid
    with pytest.raises(InputError, match="line 2: expected 3 cells"):
        read_numbers(path)
    path.write_text("case,edv\na,1\n")
    with pytest.raises(InputError, match="expected a column study"):
        read_numbers(path)
    path.write_text("study , lv.edv_ml\n a,100\n")  # as people write tables
    assert read_numbers(path) == {"a": {"lv.edv_ml": 100}}


@pytest.mark.parametrize(
    ("table", "found"),
    [
        (b"study,lv.edv_ml,lv.edv_ml\na,100,140\n", "every column once, found lv.edv_ml again"),  # the last counted
        (b"study,lv.edv\na,100\n", "expected columns of measurements.csv, found lv.edv"),
        ("study,lv.edv_ml\nä,100\n".encode("latin-1"), "in UTF-8, found other text"),
        (b'study,lv.edv_ml\n"' + b"x" * 200_000, "no line of a table"),
        (None, "cannot read it"),
    ],
)
def test_a_table_that_is_none_is_refused_in_words(table: bytes | None, found: str, tmp_path: Path) -> None:
    path = tmp_path / "reader.csv"
    if table is not None:
        path.write_bytes(table)
    with pytest.raises(InputError, match=found) as refused:
        read_numbers(path)
    assert "Error" not in str(refused.value)


def cohort_of(root: Path, studies: dict[str, float], with_intervals: bool = False) -> Path:
    """A cohort's folder as far as a table of numbers needs it."""
    for name, edv in studies.items():
        (folder := root / "studies" / name).mkdir(parents=True)
        (folder / "run.json").write_text('{"class": "NOR"}')
        lv = {"edv_ml": edv, "ed_frame": 0, "edv_ml_interval": [edv - 4, edv + 2] if with_intervals else None}
        origin = {"role": "cine", "labels_from": "compact-cine", "weights_sha256": "ab" * 32}
        part = {"lv": lv, "rv": {}, "lge": {}, "t2": {}, "provenance": {"series": [origin]}}
        (folder / "measurements.json").write_text(json.dumps(part))
    return root


def test_a_result_that_was_damaged_is_named(tmp_path: Path) -> None:
    out = cohort_of(tmp_path, {"a": 100.0, "b": 120.0, "c": 90.0, "d": 95.0})
    (tmp_path / "t.csv").write_text("study,lv.edv_ml\na,1\nb,2\nc,3\nd,4\n")
    path = out / "studies" / "b" / "measurements.json"
    for damage in (lambda: path.write_text(path.read_text()[:40]), path.unlink):
        damage()
        lines = " ".join(agree(out, tmp_path / "t.csv", tmp_path / "page.html"))
        assert "3 studies compared, 1 could not be" in lines
        assert "b/measurements.json: expected what analyze wrote, found none that can be read" in lines


def test_coverage_is_counted_and_a_calibration_written(tmp_path: Path) -> None:
    """Readers lie 3 ml below ours, give or take 2: an interval from 4 below to 2 above holds less than it says."""
    rng = np.random.default_rng(0)
    ours = {f"p{i:03}": 100.0 + i for i in range(200)}
    out = cohort_of(tmp_path / "out", ours, with_intervals=True)
    theirs = {name: edv - 3 + rng.normal(0, 2) for name, edv in ours.items()}
    lines = [f"{name},{edv}" for name, edv in theirs.items()]
    (table := tmp_path / "reader.csv").write_text("\n".join(["study,lv.edv_ml", *lines]) + "\n")
    said = agree(out, table, tmp_path / "page.html")
    row = json.loads((tmp_path / "page.json").read_text())["intervals"][0]
    by_hand = np.mean([ours[n] - 4 <= t <= ours[n] + 2 for n, t in theirs.items()])
    assert row["name"] == "lv.edv_ml" and row["n"] == 200 and row["held_percent"] == pytest.approx(100 * by_hand)
    assert "calibration of 1 intervals" in said[-1]
    found = read_calibration(tmp_path / "page.calibration.json")
    low, high = found.factors["lv.edv_ml"]
    held = np.mean([-low * 4 <= difference <= high * 2 for difference in rng.normal(-3, 2, 2000)])
    assert 0.85 < held < 0.98
    assert by_hand < 0.8


def test_agree_with_a_table_says_that_there_are_no_intervals(tmp_path: Path) -> None:
    out = cohort_of(tmp_path / "out", {"a-0123abcd": 100.0, "b": 120.0, "c": 90.0, "d": 80.0})
    (table := tmp_path / "reader.csv").write_text("study,lv.edv_ml\na,90\nb,118\nc,92\nnobody,3\n")
    lines = agree(out, table, tmp_path / "page.html")
    assert lines[0] == "3 studies compared" and "n 3, bias 3.3" in lines[1]
    found = json.loads((tmp_path / "page.json").read_text())
    page = (tmp_path / "page.html").read_text()
    assert found["intervals"] == [] and "has both an interval" in found["why_no_calibration"]
    assert found["why_no_calibration"] in page.replace("&#39;", "'") and "<script" not in page
    assert "1 of 4 lines of the reference name no study here." in lines and "1 of 4 lines" in page
    table.write_text("study,lv.edv_ml\nnobody,3\n")
    with pytest.raises(InputError, match="named after studies"):
        agree(out, table, tmp_path / "page.html")


def test_a_reference_is_of_one_study_alone(tmp_path: Path) -> None:
    """Two patients in folders of one name, or one patient whose folder was moved: either would count a reader twice."""
    out = cohort_of(tmp_path / "out", {"a-0123abcd": 100.0, "a-4567abcd": 60.0, "b": 120.0, "c": 90.0})
    (table := tmp_path / "reader.csv").write_text("study,lv.edv_ml\na,90\nb,118\nc,92\n")
    with pytest.raises(InputError, match="a: expected the reference of one study, found a-0123abcd and a-4567abcd"):
        agree(out, table, tmp_path / "page.html")
    table.write_text("study,lv.edv_ml\na-0123abcd,99\na-4567abcd,61\nb,118\nc,92\n")
    assert "n 4, bias 0.0" in agree(out, table, tmp_path / "page.html")[1]


def test_label_maps_named_after_studies(tmp_path: Path) -> None:
    """A folder of each study's maps, and a file beside it."""
    study = read_study(write_study(Study("x", tiny_study().patient, tiny_study().series[1:2]), tmp_path / "in"))
    (tmp_path / "ref" / "in").mkdir(parents=True)
    codes = np.zeros(study.series[0].image.voxels.shape, np.uint8)
    codes[2] = expected(codes.shape[1:])
    write_series(study.series[0], study.series[0].image.with_voxels(codes), tmp_path / "ref" / "in")
    labels = labels_at(contours_below(tmp_path / "ref")["in"], study)
    assert (labels[Role.LGE].voxels == codes).all()


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    """A data set's case of the study's name that holds another patient's images, or these of another spacing."""
    first, second = (small_case(seed) for seed in (7, 8))
    study = read_study(write_study(first.study, tmp_path / "first"))
    root = write_dataset([first, second], tmp_path / "ref")
    assert labels_at([root / first.id], study)[Role.LGE].voxels.any()
    with pytest.raises(
        InputError, match=f"first: expected lge labels of the images .* found other images .*{second.id}"
    ):
        labels_at([root / second.id], study)
    series = first.study.series[0]
    wide = Volume(series.image.voxels, series.image.affine * [1.1, 1.1, 1.1, 1])
    other = replace(first, study=replace(first.study, series=(replace(series, image=wide),)))
    other = replace(other, labels={Role.LGE: wide.with_voxels(first.labels[Role.LGE].voxels)})
    with pytest.raises(InputError, match="found another place or spacing"):
        labels_at([write_dataset([other], tmp_path / "wide") / first.id], study)


def test_images_that_were_replaced_since_are_not_compared(tmp_path: Path) -> None:
    case = small_case(7)
    study = read_study(write_study(case.study, tmp_path / "a"))
    judge(study, {}, {}).save(folder := tmp_path / "out" / "studies" / "a")
    (folder / "run.json").write_text('{"class": null}')
    (tmp_path / "ref" / "a").mkdir(parents=True)
    write_series(
        study.series[0], study.series[0].image.with_voxels(case.labels[Role.LGE].voxels), tmp_path / "ref" / "a"
    )
    with pytest.raises(InputError, match="expected at least 3 studies"):  # this one was compared
        agree(tmp_path / "out", tmp_path / "ref", tmp_path / "page.html")
    write_study(small_case(8).study, tmp_path / "a")
    with pytest.raises(InputError, match="expected the lge images that it was made from, found others"):
        agree(tmp_path / "out", tmp_path / "ref", tmp_path / "page.html")
