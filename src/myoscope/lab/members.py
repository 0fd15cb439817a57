"""Install the fold models of a system as its members, whose answers `analyze` averages.

python -m myoscope.lab.members compact-cine RUNS [-o FOLDER]

Each member has been measured on the patients that it has not seen (the card's `cross_validation`); together they have
seen every patient, so their mean is never reported as out of fold. Trainings that start from the system start from the
first member.
"""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from myoscope.errors import InputError
from myoscope.files import write_whole
from myoscope.io.nifti import shown
from myoscope.lab.crossval import measured_in, weights_path
from myoscope.lab.folds import FOLDS
from myoscope.weights import FOLDER


def main(
    system: Annotated[str, typer.Argument(help="A system of one stage that analyze uses.")],
    runs: Annotated[Path, typer.Argument(help="Folder of `myoscope evaluate`, with all fold models.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to put them; default: into the package.")] = FOLDER,
) -> None:
    """Install fold models as members."""
    folds = [weights_path(system, k, runs) for k in range(FOLDS)]
    if missing := [path for path in folds if not path.with_suffix(".onnx").exists()]:
        raise InputError(f"{shown(missing[0])}: expected {FOLDS} fold models of {system}, found none here; train it")
    out.mkdir(parents=True, exist_ok=True)
    for k, path in enumerate(folds, 1):
        shutil.copy(path.with_suffix(".onnx"), out / f"{system}.{k}.onnx")
    shutil.copy(folds[0], out / f"{system}.safetensors")
    (out / f"{system}.onnx").unlink(missing_ok=True)
    card = card_of(folds, runs)
    write_whole(out / f"{system}.json", json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    typer.echo(f"{len(folds)} members of {system} in {out}")


def card_of(folds: list[Path], runs: Path) -> dict[str, Any]:
    """The card of all members: the first's, with the data, minutes and steps of all, and what RUNS measured."""
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in folds]
    sets = dict.fromkeys(name for card in cards for name in card["trained_on"])
    scored = [row for path in folds for row in json.loads(path.with_name("scores.json").read_text())]
    unseen = {name: len({row["case"] for row in scored if row["data"] == name}) for name in sets}
    return (
        cards[0]
        | {
            "members": len(folds),
            "trained_on": {name: unseen[name] or cards[0]["trained_on"][name] for name in sets},
            "split": f"each of {len(folds)} members all but its fold of {FOLDS}",
            "minutes": [card["minutes"] for card in cards],
            "steps": [card["steps"] for card in cards],
        }
        | measured_in(runs)
    )


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
