"""The same network under several engines: seconds for a stack, and whether the labels agree with eager float32.

python benchmarks/inference.py docs/results/inference.md     (needs: pip install onnx onnxruntime openvino)
"""

import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from myoscope.datasets.phantom import KEPT_ASIDE, draw, sample
from myoscope.lab.slices import normalise, resample_slices
from myoscope.study import Role
from myoscope.systems.compact.model import Trained
from myoscope.weights import weights_of

REPEATS = 10
STUDIES = 4
ONNX = "/tmp/myoscope-inference.onnx"

Engine = Callable[[torch.Tensor], np.ndarray]


def stacks(model: Trained, role: Role) -> list[torch.Tensor]:
    """Inputs (Z, 3, Y, X) of kept-aside phantoms, as `SliceModel.segment` makes them, cropped to a common size."""
    found = []
    for seed in range(STUDIES):
        image = draw(sample(seed, KEPT_ASIDE, "MINF"), (role,), frames=1).study.get(role).image
        slices = normalise(torch.from_numpy(image.frames[0][:8].astype(np.float32)))
        slices = resample_slices(slices, image.spacing_mm[1:], model.recipe.spacing_mm)
        slices = torch.nn.functional.pad(slices, (0, 256, 0, 256))[:, :192, :192]
        found.append(torch.stack([slices.roll(1, 0), slices, slices.roll(-1, 0)], 1))
    return found


def eager(model: Trained) -> Engine:
    """PyTorch, float32, channels last."""
    return lambda x: model.network(x.contiguous(memory_format=torch.channels_last)).numpy()


def bf16(model: Trained) -> Engine:
    """PyTorch, bfloat16 autocast, channels last."""

    def run(x: torch.Tensor) -> np.ndarray:
        with torch.autocast("cpu", torch.bfloat16):
            return model.network(x.contiguous(memory_format=torch.channels_last)).float().numpy()

    return run


def traced(model: Trained) -> Engine:
    """TorchScript, frozen."""
    network = torch.jit.freeze(torch.jit.trace(model.network, torch.zeros(8, 3, 192, 192)))
    return lambda x: network(x).numpy()


def _export(model: Trained) -> None:
    torch.onnx.export(model.network, (torch.zeros(8, 3, 192, 192),), ONNX, dynamo=False, opset_version=17)


def onnx_runtime(model: Trained) -> Engine:
    """ONNX Runtime, float32."""
    import onnxruntime

    _export(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(ONNX, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x.numpy()})[0]


def openvino_(model: Trained) -> Engine:
    """OpenVINO, latency hint, its own choice of precision."""
    import openvino

    _export(model)
    compiled = openvino.compile_model(ONNX, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    return lambda x: compiled(x.numpy())[0]


ENGINES = {
    "PyTorch eager": (eager, "torch"),
    "PyTorch bf16": (bf16, "torch"),
    "TorchScript": (traced, "torch"),
    "ONNX Runtime": (onnx_runtime, "onnxruntime"),
    "OpenVINO": (openvino_, "openvino"),
}


def main() -> None:
    torch.set_grad_enabled(False)
    lines = ["# One network, several engines", "", "Written by `python benchmarks/inference.py`: 8 slices of 192 x 192"]
    lines[-1] += f" on {torch.get_num_threads()} threads, median of {REPEATS}; start is loading and the first run."
    for system, role in (("compact-cine", Role.CINE), ("compact-lge", Role.LGE)):
        model = Trained.load(weights_of(system))
        inputs = stacks(model, role)
        truth = [eager(model)(x).argmax(1) for x in inputs]
        lines += ["", f"## {system}", "", "| engine | start | a stack | labels agree |", "|---|---|---|---|"]
        for name, (engine, package) in ENGINES.items():
            begun = time.perf_counter()
            run = engine(model)
            run(inputs[0])
            start = time.perf_counter() - begun
            seconds = []
            for _ in range(REPEATS):
                begun = time.perf_counter()
                run(inputs[0])
                seconds.append(time.perf_counter() - begun)
            agree = np.mean([(run(x).argmax(1) == t).mean() for x, t in zip(inputs, truth, strict=True)])
            row = (
                f"{name} {version(package)} | {start:.2f} s | {1000 * np.median(seconds):.0f} ms | {100 * agree:.3f} %"
            )
            lines.append(f"| {row} |")
    Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
