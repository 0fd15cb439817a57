"""Seconds that nnU-Net v2 needs for the cases of a held-out fold on this CPU, beside myoscope's on the same cases.

python benchmarks/nnunet.py prepare ../shared/data/acdc WORK   (in myoscope's environment)
python benchmarks/nnunet.py run WORK                           (in nnU-Net's own: pip install torch nnunetv2)
python benchmarks/nnunet.py page WORK docs/results/nnunet.md   (in myoscope's)

Without a GPU nnU-Net is planned and its networks are built as planned, but not trained: its times are right, its labels
mean nothing, and no Dice is given.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

NAME = "Dataset027_ACDC"
CASES = 1
"""Patients of the held-out fold, ED and ES each."""


def prepare(data: Path, work: Path) -> None:
    """Lay fold 1's training cases out as nnU-Net wants them, and time myoscope on held-out ones."""
    import torch

    from myoscope.lab.crossval import read_cases
    from myoscope.lab.folds import fold_of
    from myoscope.segment.cine import SliceModel
    from myoscope.systems.compact.model import Trained
    from myoscope.weights import weights_of

    cases = read_cases([data])
    raw = work / "raw" / NAME
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    held_out = [case for case, fold in zip(cases, fold_of(cases), strict=True) if fold == 0][:CASES]
    for case, fold in zip(cases, fold_of(cases), strict=True):
        for file in case.study.series[0].files:
            if fold:
                shutil.copy(file.path, raw / "imagesTr" / f"{file.stem}_0000.nii.gz")
                shutil.copy(file.path.with_name(f"{file.stem}_gt.nii.gz"), raw / "labelsTr" / f"{file.stem}.nii.gz")
            elif case in held_out:
                shutil.copy(file.path, raw / "imagesTs" / f"{file.stem}_0000.nii.gz")
    facts = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "RV": 1, "myocardium": 2, "LV": 3},
        "numTraining": len(list((raw / "labelsTr").iterdir())),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(facts))
    model = SliceModel.load(weights_of("compact-cine"))
    model.segment(held_out[0].study.series[0])
    begun = time.perf_counter()
    for case in held_out:
        model.segment(case.study.series[0])
    seconds = (time.perf_counter() - begun) / (2 * len(held_out))
    weights = sum(p.numel() for p in Trained.load(weights_of("compact-cine")).network.parameters())
    _note(work, {"myoscope compact-cine": {"seconds": seconds, "threads": torch.get_num_threads(), "weights": weights}})


def run(work: Path) -> None:
    """Plan, build and time nnU-Net's two configurations."""
    os.environ |= {f"nnUNet_{k}": str(work / k) for k in ("raw", "preprocessed", "results")}
    command = ["nnUNetv2_plan_and_preprocess", "-d", "27", "-c", "2d", "3d_fullres", "-npfp", "2", "-np", "2", "2"]
    if not (work / "preprocessed" / NAME / "nnUNetPlans_3d_fullres").exists():
        subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True)
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.run.run_training import get_trainer_from_args

    images = sorted((work / "raw" / NAME / "imagesTs").iterdir())
    for configuration in ("2d", "3d_fullres"):
        trainer = get_trainer_from_args(NAME, configuration, 0, device=torch.device("cpu"))
        trainer.initialize()
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
        for file in ("dataset.json", "plans.json"):
            source = work / "preprocessed" / NAME / ("nnUNetPlans.json" if file == "plans.json" else file)
            shutil.copy(source, Path(trainer.output_folder_base) / file)
        predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), perform_everything_on_device=False)
        predictor.initialize_from_trained_model_folder(trainer.output_folder_base, (0,), "checkpoint_final.pth")
        out = work / "predicted" / configuration
        out.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        predictor.predict_from_files_sequential([[str(f)] for f in images], [str(out / f.name) for f in images])
        seconds = (time.perf_counter() - begun) / len(images)
        weights = sum(p.numel() for p in trainer.network.parameters())
        row = {"seconds": seconds, "threads": torch.get_num_threads(), "weights": weights}
        _note(work, {f"nnU-Net v2 {configuration}, one fold, without mirroring": row})


def _note(work: Path, found: dict) -> None:
    path = work / "times.json"
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | found, indent=1))


def page(work: Path, path: Path) -> None:
    """The table, in Markdown."""
    lines = ["# Beside nnU-Net v2: seconds a volume on this CPU", "", "Written by `python benchmarks/nnunet.py`:"]
    lines[-1] += f" {2 * CASES} volumes of fold 1 of ACDC, files already read for myoscope and not for nnU-Net."
    lines += [
        "No GPU was there to train nnU-Net, so there is no Dice here. Its default mirrors every image 4 (2-D) or 8",
        "times and averages five folds, which multiplies its time; here it does neither.",
        "",
        "| | weights | seconds a volume |",
        "|---|---|---|",
    ]
    for name, row in json.loads((work / "times.json").read_text()).items():
        lines.append(f"| {name} | {row['weights'] / 1e6:.1f} M | {row['seconds']:.2f} ({row['threads']} threads) |")
    path.write_text("\n".join(lines) + "\n")
    print(path.read_text())


if __name__ == "__main__":
    {"prepare": prepare, "run": run, "page": page}[sys.argv[1]](*map(Path, sys.argv[2:]))
