"""Network files (ONNX) for the clinic, from weights: `python -m myoscope.lab.export` for the installed ones.

`train` calls it at its end. Weights are stored in float16, as in the safetensors beside, and calculated with in
float32; initialisers keep the names of the network's own tensors. The card beside gets what the clinic must know.
"""

import warnings
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from myoscope.files import write_whole
from myoscope.weights import add_to_card, read_card, weights_of

OPSET = 17


class Seen(nn.Module):
    """A U-Net with what the clinic asks of it: logits, and each slice's distance from those of training.

    Args:
        network: With `encode`, `decode` and `multiple` (`lab.unet.UNet`).
        mean: Of the deepest features over the hearts of training slices (C,).
        whitening: What makes them white, (C, C).
    """

    def __init__(self, network: nn.Module, mean: Tensor, whitening: Tensor) -> None:
        super().__init__()
        self.network = network
        self.mean: Tensor
        self.whitening: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C, H, W) and distances (N,), NaN where no heart is seen, of slices (N, channels, H, W)."""
        network: Any = self.network
        levels = network.encode(x)
        logits = network.decode(levels)
        heart = (logits[:, 1:].amax(1, keepdim=True) > logits[:, :1]).float()
        weight = F.avg_pool2d(heart, network.multiple)
        features = (levels[-1] * weight).sum((2, 3)) / weight.sum((2, 3))
        return logits, ((features - self.mean) @ self.whitening).square().mean(1).sqrt()


class Plain(nn.Module):
    """A network alone; its tensors are named as in the others."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network gives."""
        return self.network(x)


class OneStack(nn.Module):
    """A second stage (`StackUNet`) on the slices of one stack."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C, H, W) of the slices (N, 1 + C, H, W) of one stack, in order."""
        return self.network(x, torch.zeros_like(x[:, 0, 0, 0]))[0]


def write_network(path: Path, network: nn.Module, example: Tensor) -> None:
    """Write a network as an ONNX file that takes any number of slices.

    Args:
        path: NAME.onnx.
        network: From slices `x` (N, channels, H, W) to logits, and perhaps distances.
        example: Slices of the right number of channels; where it is square, H and W are free.
    """
    import io

    import onnx

    file = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, which is old, but keeps names and takes a second
        torch.onnx.export(
            network.eval().cpu().float().to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            (example,),
            file,  # type: ignore[arg-type]
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["logits", "distance"][: 2 if isinstance(network, Seen) else 1],
            dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}, "logits": {0: "n", 2: "h", 3: "w"}},
        )
    model = onnx.load_from_string(file.getvalue())
    _halve(model.graph)
    onnx.checker.check_model(model)
    write_whole(path, model.SerializeToString())


def _halve(graph: Any) -> None:
    """Store the network's tensors in float16; those of the distance stay as they are."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name.startswith("network."):
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), name))
            casts.append(helper.make_node("Cast", [name], [name + ".float32"], to=TensorProto.FLOAT))
            for node in graph.node:
                for i, used in enumerate(node.input):
                    if used == name:
                        node.input[i] = name + ".float32"
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def export_slices(path: Path, network: nn.Module, recipe: Any, multiple: int, channels: int) -> None:
    """Write the network file of a network on slices of any size beside its weights, and what it must say on their card.

    Args:
        path: NAME.safetensors.
        network: What the file computes.
        recipe: With what `clinic_facts` reads.
        multiple: What the sides of its input must be divisible by.
        channels: Of its input.
    """
    side = 8 * multiple
    write_network(path.with_suffix(".onnx"), network, torch.zeros(2, channels, side, side))
    add_to_card(path, clinic_facts(recipe, multiple))


def clinic_facts(recipe: Any, multiple: int) -> dict[str, Any]:
    """What a card must tell the clinic of a network, beside the name of the system."""
    return {
        "roles": [str(role) for role in recipe.roles],
        "classes": [structure.name.lower() for structure in recipe.classes],
        "spacing_mm": recipe.spacing_mm,
        "multiple": multiple,
        "smallest_ml": {structure.name.lower(): ml for structure, ml in recipe.smallest_ml.items()},
    }


def main(
    weights: Annotated[
        list[Path] | None, typer.Argument(help="Weights (safetensors) of a system that analyze uses.")
    ] = None,
) -> None:
    """Write the network file (ONNX) beside weights, and what the clinic must know into their card."""
    from myoscope.analysis import USED
    from myoscope.systems import system_module

    for path in weights or [weights_of(system) for system in USED]:
        card = read_card(path)
        system = card["system"]
        if card.get("members", 1) > 1:
            typer.echo(f"{system}: {card['members']} members, written by python -m myoscope.lab.members")
            continue
        module = system_module(system)
        getattr(module, "Trained", module.Model).load(path).export(path)
        typer.echo(f"network file: {path.with_suffix('.onnx')}")


if __name__ == "__main__":
    from myoscope.console import run_alone

    run_alone(main)
