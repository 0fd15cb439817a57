"""Small BIDS data sets of phantoms."""

import json
from pathlib import Path
from typing import Any

from cohort_world import small_study
from myoscope.io.save import write_volume
from myoscope.study import Role


def data_set(root: Path, **said: Any) -> Path:
    """A folder that is a data set, without a subject."""
    root.mkdir(parents=True, exist_ok=True)
    description = {"Name": "phantoms", "BIDSVersion": "1.11.1", "DatasetType": "raw"} | said
    (root / "dataset_description.json").write_text(json.dumps(description))
    return root


def image(root: Path, name: str, role: Role = Role.LGE, seed: int = 7, folder: str = "anat", scale: float = 1) -> Path:
    """Draw an image where its name says that it lies, its values times `scale`."""
    subject, *rest = name.split("_")
    session = rest[0] if rest[0].startswith("ses-") else ""
    path = root / subject / session / folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = small_study(seed, role).series[0].image
    write_volume(volume.with_voxels(volume.voxels * scale), path)
    return path


def participants(root: Path, table: str, **units: str) -> None:
    """Write participants.tsv (cells between blanks, as "sub-01 54 F") and the units of its columns."""
    (root / "participants.tsv").write_text("\n".join("\t".join(line.split()) for line in table.splitlines()) + "\n")
    (root / "participants.json").write_text(json.dumps({name: {"Units": unit} for name, unit in units.items()}))
