"""Clinic-NET and DOC-NET: normal or pathological, from 12 clinical values, the LGE stack and volumes of its labels.

Published as four networks: Clinic-NET (clinical values), DOC-NET (and the LGE stack), and both with "+" (and volumes
of label maps). What the paper leaves open is decided here:

- Values: troponin and NT-proBNP as decadic logarithms, volumes as log(1 + ml), tobacco as never, former, current (0 to
  2), yes as 1; all standardised; an unknown value is the training mean.
- Batch of one: at Adam 1e-5, 170 epochs of anything larger do not move the weights.
- The layer widths of the "+" networks are those of the networks without.
- The epoch kept is the one of the lowest validation loss; an eighth of the cases is set aside for it (70/10/20 where
  a fifth is the test).

Deviations, declared: stacks at 2 mm in plane, cropped to 64x64, so that a run takes minutes on two cores and neither
pixel size nor the border of the image, which give the class away in EMIDEC, can be seen; `published` and `published+`
are DOC-NET and DOC-NET+ on the paper's 10 slices of 128x128 pixels as acquired. No instance norm where one voxel is
left, as it cannot run: two of seven at 64x64, one at 128x128. The automatic maps are not all the paper's either, see
the head of `segmentation`. The slice distance and names are never an input.

`linear+` is ours: the inputs of Clinic-NET+ and no hidden layer, which is a logistic regression.
"""

from myoscope.systems.doc_net.model import Model
from myoscope.systems.doc_net.recipe import RECIPES, Recipe
from myoscope.systems.doc_net.training import train

__all__ = ["RECIPES", "Model", "Recipe", "train"]
