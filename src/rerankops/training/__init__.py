"""Judgments to a trained cross-encoder: groups with hard negatives, losses, and a trainer in its own process.

Importing this package loads no torch: `losses`, `trainer` and `formats` do, and only the training process needs them.
"""
