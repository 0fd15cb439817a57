"""compact-cine on patients of another vendor, drawn by other experts: Dice, volumes and EF of the LV's blood.

python benchmarks/external.py ../shared/data/scanner/scd docs/results/external.md [--models FOLDER]

Sunnybrook Cardiac Data (GE 1.5 T; CC0), ED and ES; never trained on. Only slices that the expert drew are compared,
since slices without contours have none drawn; papillary muscles count as blood.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from myoscope.analysis import _model
from myoscope.io.nifti import read_labels, read_nifti
from myoscope.labels import Structure
from myoscope.measure.intervals import Errors, doubt_of, interval
from myoscope.overlap import dice
from myoscope.prediction import Prediction
from myoscope.study import Role, Series

SYSTEM = "compact-cine"
CODES = {0: Structure.BACKGROUND, 1: Structure.LV, 2: Structure.MYOCARDIUM}
MEASURED = {"ED ml": "lv.edv_ml", "ES ml": "lv.esv_ml", "EF %": "lv.ejection_fraction_percent"}
PAGE = Path(__file__).with_suffix(".md.j2")


def one(folder: Path, models: Path | None) -> dict[str, Any]:
    """Dice and blood volumes, ours and the expert's, of a patient at ED and ES; our intervals by measurement."""
    row: dict[str, Any] = {"case": folder.name}
    predictions = []
    for phase in ("ED", "ES"):
        image, grid = read_nifti(folder / f"{folder.name}_{phase}.nii.gz")
        path = folder / f"{folder.name}_{phase}_contours.nii.gz"
        truth = read_labels(path, image, grid, CODES, True).frames[0] == Structure.LV
        predictions.append(_model(SYSTEM, models).segment(Series(Role.CINE, phase, image, (grid,))))
        found = predictions[-1].labels
        drawn = truth.any((1, 2))
        blood = (found.frames[0] == Structure.LV)[drawn]
        row |= between(image.frames[0][drawn], found.frames[0][drawn], truth[drawn], image.spacing_mm[1], phase)
        row |= {
            f"{phase} dice": dice(blood, truth[drawn]),
            f"{phase} ml": float(blood.sum() * image.voxel_ml),
            f"{phase} true ml": float(truth.sum() * image.voxel_ml),
        }
    for kind in ("ml", "true ml"):
        ed, es = row[f"ED {kind}"], row[f"ES {kind}"]
        row[f"EF {kind.replace('ml', '%')}"] = 100 * (ed - es) / ed
    return row | {f"{key} ends": ends(name, row[key], predictions) for key, name in MEASURED.items()}


def ends(name: str, value: float, predictions: Sequence[Prediction]) -> tuple[float, float]:
    """Our interval of a measurement, as of a patient in whom both phases are one prediction."""
    errors = Errors.of(predictions[0].intervals["errors"][name])
    return interval(name, value, max(doubt_of(name, p) for p in predictions), errors)


def holds(row: dict[str, Any], key: str) -> bool:
    """Whether the expert's value lies in our interval."""
    low, high = row[f"{key} ends"]
    return low <= row[key.replace(" ", " true ")] <= high


def between(image: np.ndarray, found: np.ndarray, truth: np.ndarray, pixel_mm: float, phase: str) -> dict[str, float]:
    """What lies between our border of the blood and the expert's, in slices (Z, Y, X) where both draw some.

    Returns:
        The expert's centre from ours, down and to the right, and his radius less ours (mm, means of slices); the median
        grey value of what he counts as blood and we as wall, 0 being that of our wall that he leaves, 1 our blood's.
    """
    blood, wall = found == Structure.LV, found == Structure.MYOCARDIUM
    both = [z for z in range(len(found)) if blood[z].any() and truth[z].any()]
    centre = np.mean([np.argwhere(truth[z]).mean(0) - np.argwhere(blood[z]).mean(0) for z in both], 0)
    radius = np.mean([np.sqrt(truth[z].sum() / np.pi) - np.sqrt(blood[z].sum() / np.pi) for z in both])
    dark, bright, ring = (np.median(image[mask]) for mask in (wall & ~truth, blood, wall & truth))
    return {
        f"{phase} down": centre[0] * pixel_mm,
        f"{phase} right": centre[1] * pixel_mm,
        f"{phase} wider": float(radius) * pixel_mm,
        f"{phase} grey": float((ring - dark) / (bright - dark)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("page", type=Path)
    parser.add_argument("--models", type=Path, help="network files and cards of one's own")
    options = parser.parse_args()
    rows = [one(folder, options.models) for folder in sorted(options.data.iterdir()) if folder.is_dir()]
    mean = {
        "ED": np.mean([row["ED dice"] for row in rows]),
        "ES": np.mean([row["ES dice"] for row in rows]),
        "EF": np.mean([abs(row["EF %"] - row["EF true %"]) for row in rows]),
    }
    held = {key: sum(holds(row, key) for row in rows) for key in MEASURED}
    card = _model(SYSTEM, options.models).card
    text = Environment(undefined=StrictUndefined, trim_blocks=True).from_string(PAGE.read_text())
    options.page.write_text(text.render(rows=rows, mean=mean, held=held, members=card.get("members", 1)))
    print(options.page.read_text())


if __name__ == "__main__":
    main()
