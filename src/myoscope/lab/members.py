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
    system: Annotated[str, typer.Argument(help="A system that analyze uses.")],
    runs: Annotated[Path, typer.Argument(help="Folder of `myoscope evaluate`, with all fold models.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to put them; default: into the package.")] = FOLDER,
) -> None:
    """Install fold models as members."""
    folds = [weights_path(system, k, runs) for k in range(FOLDS)]
    if missing := [path for path in folds if not path.with_suffix(".onnx").exists()]:
        raise InputError(f"{shown(missing[0])}: expected {FOLDS} fold models of {system}, found none here; train it")
    out.mkdir(parents=True, exist_ok=True)
    for k, path in enumerate(folds, 1):
        for stage in ("", ".first"):  # of a cascade, the first stage that the fold model goes on from
            if (file := path.with_suffix(f"{stage}.onnx")).exists():
                shutil.copy(file, out / f"{system}{stage}.{k}.onnx")
    shutil.copy(folds[0], out / f"{system}.safetensors")
    for stage in ("", ".first"):
        (out / f"{system}{stage}.onnx").unlink(missing_ok=True)
    card = card_of(folds)
    write_whole(out / f"{system}.json", json.dumps(card, indent=2, ensure_ascii=False) + "\n")
    typer.echo(f"{len(folds)} members of {system} in {out}")


def card_of(folds: list[Path]) -> dict[str, Any]:
    """The card of all members: the first's, with the data, minutes and steps of all, and what their RUNS measured."""
    cards = [json.loads(path.with_suffix(".json").read_text()) for path in folds]
    sets = dict.fromkeys(name for card in cards for name in card["trained_on"])
    share = {name: len(cards) - 1 for name in sets if name != "phantom"}  # each patient is left out by one
    of_all = {
        name: sum(card["trained_on"].get(name, 0) for card in cards) // share.get(name, len(cards)) for name in sets
    }
    return (
        cards[0]
        | {
            "members": len(folds),
            "trained_on": of_all,
            "split": f"each of {len(folds)} members all but its fold of {FOLDS}",
            "minutes": [card["minutes"] for card in cards],
            "steps": [card.get("steps") for card in cards],
        }
        | measured_in(folds[0].parent.parent)
        | _chosen(folds[0].parent.parent)
    )


def _chosen(runs: Path) -> dict[str, Any]:
    """What a cascade's evaluation chose on all patients out of fold: it holds for the members as for a refit."""
    path = runs / "chosen.json"
    return {"chosen": json.loads(path.read_text())} if path.exists() else {}


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
