"""Validation, counterfactuals and Shapley values."""
