"""jdl: myocardium and scar on LGE, learned together; the scar network sees image x probability of myocardium.

After Xing et al. 2022, Joint deep learning for improved myocardial scar detection from cardiac MRI, arXiv:2211.06247,
with the three methods that it is compared with (`network`), each on one of four backbones; a variant is
BACKBONE-METHOD:

- `unet`: the compact U-Net. `small`: with a transformer on its deepest level. Both start from compact-cine, which has
  seen no LGE, as the paper starts from ImageNet (the wall's network with the output for myocardium, the scar's without
  any), and see 96x96 pixels of 1.4 mm and the neighbouring slices.
- `published`: TransUNet on 224x224 pixels with the paper's numbers, from scratch; wants a GPU. A fold is a sixth of the
  patients, as 28 of 168 in the paper, whose 500 epochs (of 510 slices in batches of 40: 6,500 steps) are
  `--epochs 500`; Adam with L2 decay at a constant rate, without warm-up or clipping, the last weights kept.
- `pretrained`: the same, from timm's ImageNet-21k weights, where its hub can be reached.

Where `unet` and `small` depart from the paper: weight decay is AdamW's, the learning rate warms up and follows a cosine
over the budget, gradients are clipped to a norm of 3 (two-step's of both networks together), a moving average is kept.
Where `published` does too: it starts without ImageNet's weights; its squares are cut from the middle 384 mm of a slice
(35 of the 80 EMIDEC cases are wider), around the heart but for one in seven. Dice is taken over the batch, so that
slices without scar teach too; cross-entropy, of the background too, is its mean over pixels; the Dice term's printed
sign is turned round. The weight of the Dice term, pixel size, what becomes of larger slices, ranges of augmentation and
where dropout is are not given there: 1, 1.5 mm, overlapping squares, `recipe._AFFINE`, the transformer. All methods
have the settings that the paper tuned for its own.

Slices are read whole, in overlapping squares of the training size. Scar is what the scar network finds inside the
myocardium found; `direct` has none, so there scar is all that is found. Both are asked for less than a half where there
may be scar (`SCAR_ABOVE`, chosen on an inner split), and less than 1 ml of scar is dropped; the results page also has
the paper's reading, above 0.5 and nothing dropped. The LV's blood pool is not segmented, and no-reflow counts as
infarct.
"""

from myoscope.systems.jdl.model import Model
from myoscope.systems.jdl.recipe import RECIPES, Recipe
from myoscope.systems.jdl.training import train

__all__ = ["RECIPES", "Model", "Recipe", "train"]
