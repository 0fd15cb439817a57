"""compact-myops: scar and edema from any of LGE, T2 and bSSFP, by one 2-D U-Net with a channel for each.

In training sequences are left out at random and shifted a little against each other, so that any that are there will
do. EMIDEC (LGE alone), ACDC (cine alone) and phantoms (LGE and T2 on one grid) help: what a case does not draw (edema
without T2, scar without LGE) is added to the normal myocardium before the loss is taken. The Dice part of the loss is
taken over the regions that the MyoPS challenge scores: scar, and scar with edema. Not from a paper; trained from
scratch, so that what a fold is tested on was never seen.

Where there is LGE, a network of LGE alone (compact-lge, trained on more of it) has a say in what of the wall is
scar, and tells no-reflow: `scar_from_lge`, `without_scar`.
"""

from myoscope.segment.joint import JointModel as Model
from myoscope.systems.compact.myops.model import Trained
from myoscope.systems.compact.myops.recipe import RECIPES, Recipe
from myoscope.systems.compact.myops.training import train

__all__ = ["RECIPES", "Model", "Recipe", "Trained", "train"]
