"""Training: `fit`, the one visible loop over Lightning Fabric, and what is pure about it."""

from trifocal.training.group import Group
from trifocal.training.loop import Fitted, fit
from trifocal.training.plan import Plan, learning_rate_at, sample_order
from trifocal.training.state import best_weights

__all__ = ["Fitted", "Group", "Plan", "best_weights", "fit", "learning_rate_at", "sample_order"]
