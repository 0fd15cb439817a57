"""myops-ensemble: scar and edema from bSSFP, LGE and T2 by three networks, between a linear encoder and decoder.

Five blocks each have one input image and a nested target. A shallow U-Net is trained on all five, Mask R-CNN and a
U-Net++ on the two of the pathology; their mean is cut at 0.5. `published` has the paper's sizes; it weighs about
250 MB and wants a GPU. `small` is for CPUs: 96x96 pixels of 2 mm, a Mask R-CNN of 1.9 and a U-Net++ of 0.15 million
weights, learning rate and averaging retuned for few steps. Both as the ablation has them (`-unet`: U-Net alone,
`-direct`: without encoder and decoder), and `small` in two ways of our own: `-swapped` (LGE for scar and T2 for edema;
the paper feeds them the other way round), `-both` (both sequences to both; the best of the wholes, it ships).

Where this departs from the paper: warps and rotations are drawn for every batch and not 40 times beforehand; the
learning rate falls along a cosine over the budget, and a moving average of the weights is kept instead of the best on
warped copies of training slices; Mask R-CNN has GroupNorm. Where the paper is silent: the U-Net has two convolutions
a level with BatchNorm; Mask R-CNN's objects are connected pieces, and those with a score of 0.5 or more count.

Source: papers/systems.md, `myops-ensemble` (MyoPS 2020 challenge, STACOM).
"""

from myoscope.systems.myops_ensemble.model import Model
from myoscope.systems.myops_ensemble.recipe import RECIPES, Recipe
from myoscope.systems.myops_ensemble.training import train

__all__ = ["RECIPES", "Model", "Recipe", "train"]
