"""cascade: a 2-D network on slices, then a 3-D one that sees the image and what the first said of it, on LGE.

After the winner of the EMIDEC challenge (Zhang 2020, Cascaded convolutional neural network for automatic myocardial
infarction segmentation from delayed-enhancement cardiac MRI, doi:10.1007/978-3-030-68107-4_33). The second stage must
be trained on what fold models of the first say of cases they have not seen, or it learns to repeat it.

`cascade.small`, which is shipped, refines compact-lge around the heart; `cascade.published` is the paper's own, after
nnU-Net's conventions, with `cascade.published-2d` for a first stage: on two cores out of reach, so bring a GPU.

Where `published` departs from the paper: AdamW, whose rate warms up to 1e-2 and falls along a cosine, gradients clipped
to a norm of 12 and averaged weights, for Adam from 1e-2; a canvas of 256 pixels of 1.4 mm, at most 12 slices, for whole
slices and volumes; augmentation of brightness is this house's, not nnU-Net's. The vote over five folds is not built.
"""

from myoscope.segment.lge import CascadeModel as Model
from myoscope.systems.cascade.model import Trained
from myoscope.systems.cascade.recipe import RECIPES, Recipe
from myoscope.systems.cascade.training import train

__all__ = ["RECIPES", "Model", "Recipe", "Trained", "train"]
