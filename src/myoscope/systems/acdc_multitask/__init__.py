"""The multitask network of the ACDC thesis: five classes, ED and ES segmentation, thirteen features of the heart.

Four experiments, as published (`diagnosis`, `segmentation`, `double`, `triple`: 192x192 at 1 mm) and, for two cores, at
half the resolution and half the growth (`half-...`: 72x72 at 2 mm). What the thesis leaves open, or we do otherwise:

- The difference is that of the normalised slices; ED and ES are normalised each by itself.
- Transposed convolutions have the kernel of their stride, 1x2x2; dropout follows every dense layer.
- The features are learned in standard deviations from their training mean: in ml they would drown the rest.
- AdamW without decay, a warm-up, a cosine schedule and a moving average of the weights instead of plain Adam; the last
  weights are kept, not those that the held-out cases like best.
- The half variants: less dropout, a larger learning rate and mild augmentation in plane (the thesis has none).
- The heart is found by compact-cine, not by an expert's labels.
"""

from myoscope.systems.acdc_multitask.model import Model
from myoscope.systems.acdc_multitask.recipe import RECIPES, Recipe
from myoscope.systems.acdc_multitask.training import train

__all__ = ["RECIPES", "Model", "Recipe", "train"]
