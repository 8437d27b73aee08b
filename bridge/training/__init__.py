"""What a fine-tuning decides before it begins, and what its scores mean: recipes, held-out images, intervals."""

from bridge.training.recipe import WARM_UP, recipe_of
from bridge.training.split import FEW, Split, difference_interval, split

__all__ = ["FEW", "WARM_UP", "Split", "difference_interval", "recipe_of", "split"]
