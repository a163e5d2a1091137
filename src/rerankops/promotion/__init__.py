"""Promotion: a pure gate that decides on evidence, and the MLflow registry that remembers and serves the decision.

Everything is imported from its module (`promotion.gate`, `promotion.registry`), so that rolling back does not wait for
what only deciding needs.
"""
