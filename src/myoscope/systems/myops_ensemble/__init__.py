"""myops-ensemble: scar and edema from bSSFP, LGE and T2 by three networks, between a linear encoder and decoder.

Five blocks each have one input image and a nested target. A shallow U-Net is trained on all five, Mask R-CNN and a
U-Net++ on the two of the pathology; their mean is cut at 0.5. `published` has the paper's sizes; it weighs about
340 MB and wants a GPU. `small` is for CPUs: 96x96 pixels of 2 mm, a Mask R-CNN of 1.9 and a U-Net++ of 0.15 million
weights, learning rate and averaging retuned for few steps. Both as the ablation has them (`-unet`: U-Net alone,
`-direct`: without encoder and decoder), and `small` in two ways of our own: `-swapped` (LGE for scar and T2 for edema;
the paper feeds them the other way round), `-both` (both sequences to both; the best of the wholes, it ships).

Where this departs from the paper: warps and rotations are drawn for every batch and not 40 times beforehand (an epoch
of `--epochs` counts 40 copies of each slice all the same), labels by the nearest pixel; the last weights are kept
instead of the best on warped copies of training slices, all of which are trained on; Mask R-CNN has GroupNorm and
smaller anchors. `small` also: warps of up to 2 pixels of 2 mm, slices normalised only before them, a U-Net with two
convolutions and BatchNorm a level, learning rates that warm up and fall along a cosine over the budget, gradients
clipped to a norm of 3, a moving average of the weights. Where the paper is silent: no network starts from ImageNet's
weights; Mask R-CNN's objects are connected pieces, those with a score of 0.5 or more count; networks without encoder
see all three sequences.

Source: papers/systems.md, `myops-ensemble` (MyoPS 2020 challenge, STACOM).
"""

from myoscope.systems.myops_ensemble.model import Model
from myoscope.systems.myops_ensemble.recipe import RECIPES, Recipe
from myoscope.systems.myops_ensemble.training import train

__all__ = ["RECIPES", "Model", "Recipe", "train"]
