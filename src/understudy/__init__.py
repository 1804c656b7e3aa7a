"""Understudy teaches a small language model to reason the way a large one does, and proves whether it did."""

__version__ = "0.1.0"
