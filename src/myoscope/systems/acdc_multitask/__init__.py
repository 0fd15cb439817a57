"""The multitask network of the ACDC thesis: five classes, ED and ES segmentation, thirteen features of the heart.

Four experiments, as published (`diagnosis`, `segmentation`, `double`, `triple`: 192x192 at 1 mm) and, for two cores, at
half the resolution and half the growth (`half-...`: 72x72 at 2 mm). What the thesis leaves open, or we do otherwise:

- The loss is 0.3 segmentation + 0.7 (0.6 features + 0.4 diagnosis), as far as its garbled formula tells. Without
  features, `double` gives the diagnosis their share, 0.7; `double-literal` leaves their term out, so it has 0.28.
- The published size is dealt into four folds (of the thesis' 100 cases, 75 to train on), the half into five.
- The difference is that of the normalised slices; ED and ES are normalised each by itself.
- Transposed convolutions have the kernel of their stride, 1x2x2; dropout follows every dense layer, of its values,
  where the thesis drops "parameters".
- The features are learned in standard deviations from their training mean: in ml they would drown the rest.
- Dice is each patient's, with a smoothing of 1; the mean of ED's and ES's is the loss.
- The last weights are kept, not those that the held-out cases like best.
- The half variants: AdamW with warm-up, a cosine schedule, clipped gradients and averaged weights instead of plain
  Adam; less dropout, a larger learning rate, batches of 8 for diagnosis alone and mild augmentation in plane (the
  thesis has none).
- The heart is found by compact-cine, not by an expert's labels.
"""

from myoscope.systems.acdc_multitask.model import Model
from myoscope.systems.acdc_multitask.recipe import RECIPES, Recipe
from myoscope.systems.acdc_multitask.training import train

__all__ = ["RECIPES", "Model", "Recipe", "train"]
