"""cascade: a 2-D network on slices, then a 3-D one that sees the image and what the first said of it, on LGE.

After the winner of the EMIDEC challenge (Zhang 2020, Cascaded convolutional neural network for automatic myocardial
infarction segmentation from delayed-enhancement cardiac MRI, doi:10.1007/978-3-030-68107-4_33). The second stage must
be trained on what fold models of the first say of cases they have not seen, or it learns to repeat it.

`cascade.small`, which is shipped, refines compact-lge around the heart; `cascade.published` is the paper's own, after
nnU-Net's conventions, with `cascade.published-2d` for a first stage: on two cores out of reach, so bring a GPU.

`predict cascade --weights RUNS/VARIANT`, a folder of fold models, is their majority vote, as the paper predicts.

Where `published` departs from the paper: a canvas of 256 pixels of 1.4 mm around the heart (around the middle where the
first stage predicts), narrower than the whole slice of 61 of the 80 EMIDEC cases, and at most 12 slices, for whole
slices and volumes; each slice is scaled by itself. Augmentation is of nnU-Net's kinds, with this house's ranges of
noise, blur, brightness, contrast and resolution, a shift of up to 10 mm and a stretch along one axis, and it comes
before a slice is brought to mean 0 and variance 1, which takes changes of contrast, and mostly of brightness, back.
Three lower levels are supervised, brought up to the labels. Adam's rate is 1e-2 at first, as in the paper; how it falls
from there the text does not say: with the power of 0.9 of what is left, as nnU-Net's. L2 decay of 3e-5 is nnU-Net's
too; no warm-up, no clipping, the last weights.
"""

from myoscope.systems.cascade.model import Trained
from myoscope.systems.cascade.recipe import RECIPES, Recipe
from myoscope.systems.cascade.training import train
from myoscope.systems.cascade.vote import Model

__all__ = ["RECIPES", "Model", "Recipe", "Trained", "train"]
