"""Gradient matching: the numerical core, pure functions from tensors to tensors."""
