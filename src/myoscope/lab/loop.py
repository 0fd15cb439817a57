"""A training loop with a budget. It receives functions and does not know the task."""

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from myoscope.errors import InputError
from myoscope.files import write_whole

WARM_UP = 0.05
"""Share of the budget in which the learning rate rises."""


LOG_STEPS = 50
"""The curve has a point for the mean loss of as many steps."""


@dataclass(frozen=True)
class Budget:
    """How long to train: minutes on a clock, or steps or epochs where a run must be the same everywhere.

    `clock` gives seconds. The training thread's own are minutes as an idle machine has them: neither a pause nor what
    else runs counts; `time.process_time` adds up all threads.
    """

    minutes: float | None = None
    steps: int | None = None
    epochs: float | None = None
    """Passes through the training data: `in_steps` makes steps of them."""
    clock: Callable[[], float] = time.thread_time

    def __post_init__(self) -> None:
        given = [amount for amount in (self.minutes, self.steps, self.epochs) if amount is not None]
        if len(given) != 1:
            raise InputError("expected either minutes or steps or epochs as the training budget")
        if given[0] <= 0:
            raise InputError(f"expected a positive training budget, found {given[0]}")

    def in_steps(self, items: int, batch: int) -> "Budget":
        """The same with epochs as steps, each of a batch out of so many items; others stay as they are.

        >>> Budget(epochs=3).in_steps(items=10, batch=4).steps
        9
        """
        if self.epochs is None:
            return self
        return replace(self, epochs=None, steps=math.ceil(self.epochs * math.ceil(items / batch)))

    def spent(self, step: int, seconds: float) -> float:
        """Share of the budget that is spent, 0 to 1."""
        if self.epochs:
            raise InputError("expected minutes or steps: this system does not say what an epoch is")
        return min(1.0, step / self.steps if self.steps else seconds / 60 / (self.minutes or 1))


@dataclass(frozen=True)
class Optimisation:
    """AdamW with a warm-up and a cosine schedule over the budget; an exponential moving average is what is kept.

    A rate that is held for a share of the budget before the cosine begins lets a longer budget go on from there, as if
    it had been meant from the start: `held.safetensors` keeps the state.

    `plain` is what papers mean by Adam: L2 decay (not AdamW's), the rate as it is from first to last (or `fall`), no
    clipping, and the last weights.
    """

    learning_rate: float = 2e-3
    hold: float = 0.0
    weight_decay: float = 0.02
    ema_decay: float = 0.995
    clip_norm: float = 3.0
    checkpoint_seconds: float = 60.0
    plain: bool = False
    fall: float = 0.0
    """A plain rate falls as nnU-Net's, with (1 - share of the budget) to this power; 0: it stays."""


def learning_rate_factor(spent: float, hold: float = 0.0) -> float:
    """Factor on the learning rate after a share of the budget, of which a share is held at its height.

    >>> learning_rate_factor(WARM_UP), round(learning_rate_factor(1.0), 6), learning_rate_factor(0.5, hold=0.6)
    (1.0, 0.001, 1.0)
    """
    if spent < WARM_UP:
        return max(spent / WARM_UP, 1e-3)
    begin = max(WARM_UP, hold)
    angle = torch.pi * max(0.0, spent - begin) / (1 - begin)
    return max(0.5 * (1 + float(torch.cos(torch.tensor(angle)))), 1e-3)


def keep_recipe(recipe: Any, folder: Path) -> None:
    """Make a training's folder, with its recipe in it as JSON: what goes on there, and its card, must know it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(asdict(recipe), indent=2))


def seed_of(recipe: Any, step: int) -> int:
    """The seed of a step (or epoch): another for every step, and for every seed of a recipe."""
    return recipe.seed * 1_000_003 + step


def mixed(device: str) -> torch.autocast:
    """bfloat16 where the machine multiplies in it; a CPU that only emulates it is faster in float32.

    Args:
        device: Kind of device, "cpu" or "cuda".
    """
    native = device != "cpu" or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device, torch.bfloat16, enabled=native)


def train(
    network: nn.Module,
    loss_of: Callable[[nn.Module, int], Tensor],
    budget: Budget,
    folder: Path,
    optimisation: Optimisation,
    title: str,
) -> nn.Module:
    """Train until the budget is spent; killed, it goes on from `folder` when called again.

    Args:
        network: What to train, on its device.
        loss_of: Loss of the network on the batch of a step; must depend on nothing but these two.
        budget: When to stop.
        folder: Where checkpoint (`state.safetensors`) and curve (`curve.csv`) are kept.
        optimisation: Settings.
        title: Shown beside the progress bar.

    Returns:
        The moving average of the network (plain: its last weights), in evaluation mode.

    Raises:
        InputError: the loss is no longer a number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plain = optimisation.plain
    optimiser = (torch.optim.Adam if plain else torch.optim.AdamW)(
        network.parameters(), optimisation.learning_rate, weight_decay=optimisation.weight_decay, fused=True
    )
    mean_of = torch.optim.swa_utils.get_ema_multi_avg_fn(0.0 if plain else optimisation.ema_decay)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=mean_of, use_buffers=True)
    _back_to_held(folder, budget, optimisation.hold)
    step, seconds = load_state(folder, network, average, optimiser)
    _forget_after(folder / "curve.csv", step)
    last_saved, begun = time.monotonic(), budget.clock() - seconds
    losses: list[float] = []
    columns = (TextColumn(title), BarColumn(), TextColumn("{task.percentage:3.0f} %  loss {task.fields[loss]:.3f}"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(title, total=1.0, loss=float("nan"))
        while (spent := budget.spent(step, seconds)) < 1:
            factor = (1 - spent) ** optimisation.fall if plain else learning_rate_factor(spent, optimisation.hold)
            rate = optimisation.learning_rate * factor
            clip_norm = math.inf if plain else optimisation.clip_norm
            losses.append(_step(network, average, optimiser, loss_of, step, rate, clip_norm))
            if not math.isfinite(losses[-1]):
                raise InputError(f"{title}: expected a finite loss, found {losses[-1]} at step {step}; train anew")
            step, seconds = step + 1, budget.clock() - begun
            if spent < optimisation.hold <= budget.spent(step, seconds):
                save_state(folder, network, average, optimiser, step, seconds, "held.safetensors")
            progress.update(task, completed=spent, loss=losses[-1])
            if step % LOG_STEPS == 0:
                _log(folder / "curve.csv", step, seconds, sum(losses) / len(losses), rate)
                losses = []
            if time.monotonic() - last_saved > optimisation.checkpoint_seconds:
                save_state(folder, network, average, optimiser, step, seconds)
                last_saved = time.monotonic()
    save_state(folder, network, average, optimiser, step, seconds)
    _draw(folder / "curve.csv", title)
    return average.module.eval()


def _step(
    network: nn.Module,
    average: torch.optim.swa_utils.AveragedModel,
    optimiser: torch.optim.Optimizer,
    loss_of: Callable[[nn.Module, int], Tensor],
    step: int,
    rate: float,
    clip_norm: float,
) -> float:
    network.train()
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = loss_of(network, step)
    optimiser.zero_grad()
    loss.backward()
    if clip_norm < math.inf:
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    optimiser.step()
    average.update_parameters(network)
    return float(loss.detach())


def save_state(
    folder: Path,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    seconds: float,
    name: str = "state.safetensors",
) -> None:
    """Write everything that the next step depends on, as plain tensors; rename when whole."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items()}
    for i, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
    progress = {"progress": json.dumps({"step": step, "seconds": seconds})}
    write_whole(folder / name, save(tensors, progress))


def _back_to_held(folder: Path, budget: Budget, hold: float) -> None:
    """Under a longer budget than before, take back the steps whose rate fell towards the end of the shorter one."""
    held = folder / "held.safetensors"
    if held.exists() and budget.spent(*progress_of(folder, held.name)) < hold:
        held.replace(folder / "state.safetensors")


def load_state(
    folder: Path, network: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, float]:
    """Load what `save_state` wrote; (0, 0.0) where nothing is there."""
    path = folder / "state.safetensors"
    if not path.exists():
        return 0, 0.0
    tensors = load_file(path)
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
    for key, tensor in tensors.items():
        part, name = key.split(".", 1)
        parts[part][name] = tensor
    network.load_state_dict(parts["network"])
    average.load_state_dict(parts["average"])
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in parts["optimiser"].items():
        i, name = key.split(".")
        state.setdefault(int(i), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    for weight, kept in optimiser.state.items():  # a fused step wants both to lie alike
        kept |= {k: torch.empty_like(weight).copy_(v) for k, v in kept.items() if v.shape == weight.shape}
    return progress_of(folder)


def progress_of(folder: Path, name: str = "state.safetensors") -> tuple[int, float]:
    """Steps and seconds that the run in a folder has made, as of its last checkpoint."""
    with safe_open(folder / name, "pt") as file:
        progress = json.loads(file.metadata()["progress"])
    return progress["step"], progress["seconds"]


def _log(path: Path, step: int, seconds: float, loss: float, rate: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "minutes", "loss", "learning_rate"])
        writer.writerow([step, f"{seconds / 60:.3f}", f"{loss:.5f}", f"{rate:.6f}"])


def _forget_after(path: Path, step: int) -> None:
    """Drop the rows of steps that a killed run made after its last checkpoint: they are made again."""
    if path.exists():
        head, *rows = path.read_text().splitlines()
        write_whole(path, "\n".join([head, *(row for row in rows if int(row.split(",")[0]) <= step)]) + "\n")


def _draw(path: Path, title: str) -> None:
    """The curve as a picture beside it."""
    if not path.exists():
        return
    from matplotlib.figure import Figure

    with path.open(newline="") as file:
        rows = [(float(row["minutes"]), float(row["loss"])) for row in csv.DictReader(file)]
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*rows, strict=True))
    axes.set(title=title, xlabel="minutes", ylabel="training loss")
    figure.savefig(path.with_suffix(".png"), dpi=120)
