"""How one student is trained: from groups of texts to a saved folder."""

from understudy.training.encode import Group, Progress
from understudy.training.run import train

__all__ = ["Group", "Progress", "train"]
