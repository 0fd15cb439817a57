"""Read and measure cases that have no fault, from the experts' labels and without a network, and compare two commits.

    PYTHONPATH=OLD/src python benchmarks/no_false_alarms.py write ../shared/data old.json --phantoms 100
    PYTHONPATH=src python benchmarks/no_false_alarms.py write ../shared/data new.json --phantoms 100
    python benchmarks/no_false_alarms.py compare old.json new.json

`compare` prints how many refusals, nulls and warnings (errors) came and went, by code, and how many numbers changed.
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path


def write(data: Path, out: Path, phantoms: int) -> None:
    """What every case gives: its refusal, or its flags, its nulls and its numbers."""
    from myoscope.datasets import case_folders, read_case

    found = {}
    for name in ("acdc", "emidec", "myops"):
        for folder in case_folders(data / name):
            found[f"{name}/{folder.name}"] = _outcome(lambda folder=folder: _measured(read_case(folder), folder))
    for seed in range(phantoms):
        found[f"phantom/{seed}"] = _outcome(lambda seed=seed: _phantom(seed))
    out.write_text(json.dumps(found))


def _phantom(seed: int) -> dict:
    """A phantom's images through files, its labels carried along on their grid."""
    from myoscope.datasets.phantom import draw, sample
    from myoscope.io.read import read_study
    from myoscope.io.save import write_study
    from myoscope.study import Case, Role

    roles = ((Role.CINE, Role.LGE), (Role.LGE, Role.T2))[seed % 2]
    case = draw(sample(seed), roles, frames=(2, 8)[seed % 4 == 0])
    with tempfile.TemporaryDirectory() as folder:
        study = read_study(write_study(case.study, Path(folder)))
        labels = {
            series.role: series.image.with_voxels(_on_grid(case, series, Path(folder)))
            for series in study.series
            if series.role in case.labels
        }
    return _measured(Case(study, labels), None)


def _on_grid(case, series, folder):
    from myoscope.io.nifti import read_labels
    from myoscope.io.save import write_volume
    from myoscope.labels import OWN_CODES

    path = folder / "labels.nii.gz"
    write_volume(case.labels[series.role], path)
    return read_labels(path, series.image, series.files[0], OWN_CODES, True).voxels


def _measured(case, folder) -> dict:
    from myoscope.analysis import judge
    from myoscope.io.read import read_study

    if folder is not None:
        read_study(folder)  # as `analyze` opens it
    measured = judge(case.study, case.labels, {role: {"labels_from": "experts"} for role in case.labels}).measurements
    values = {}
    for part in ("lv", "rv", "lge", "t2"):
        for key, value in getattr(measured, part).model_dump().items():
            values[f"{part}.{key}"] = value
    quality = measured.quality
    flags = sorted((flag.code, str(flag.series)) for flag in quality.flags if flag.level != "info")
    return {"flags": flags, "missing": sorted(quality.missing), "values": values}


def _outcome(make) -> dict:
    try:
        return make()
    except ValueError as error:  # InputError of either commit
        return {"refused": str(error)}


def compare(old: Path, new: Path) -> None:
    """Print the differences."""
    before, after = (json.loads(path.read_text()) for path in (old, new))
    came, went = Counter(), Counter()
    changed = []
    for case in before:
        a, b = before[case], after[case]
        kind = case.split("/")[0]
        for kind_of in ("flags", "missing"):
            x, y = (Counter(map(str, one.get(kind_of, []))) for one in (a, b))
            came.update((kind, kind_of, what) for what in (y - x).elements())
            went.update((kind, kind_of, what) for what in (x - y).elements())
        if "refused" in b and "refused" not in a:
            came[kind, "refused", b["refused"]] += 1
        if "refused" in a and "refused" not in b:
            went[kind, "refused", a["refused"]] += 1
        for key, value in a.get("values", {}).items():
            other = b.get("values", {}).get(key)
            if isinstance(value, float) and isinstance(other, float) and abs(other - value) > 1e-6 * abs(value) + 1e-9:
                changed.append((case, key, value, other))
    print(f"{len(before)} cases: {Counter(case.split('/')[0] for case in before)}")
    print(f"numbers changed: {len(changed)}", changed[:5])
    for title, found in (("came", came), ("went", went)):
        print(f"{title}: {sum(found.values())}")
        for what, count in found.most_common():
            print(f"  {count} x {what}")


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[5]) if len(sys.argv) > 5 else 0)
    else:
        compare(Path(sys.argv[2]), Path(sys.argv[3]))
