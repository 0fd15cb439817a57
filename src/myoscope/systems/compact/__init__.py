"""compact-cine and compact-lge: one 2.5-D U-Net each, small enough to train and to run on two cores.

Each slice is segmented with its two neighbours as further input channels. What a data set does not draw (the RV in
EMIDEC, no-reflow in MyoPS) is learned from the sets that draw it: on the others its probability is added to the class
that stands in its place before the loss is taken.
"""

from myoscope.segment.cine import SliceModel as Model
from myoscope.systems.compact.model import Trained
from myoscope.systems.compact.recipe import RECIPES, Recipe
from myoscope.systems.compact.training import train

__all__ = ["RECIPES", "Model", "Recipe", "Trained", "train"]
