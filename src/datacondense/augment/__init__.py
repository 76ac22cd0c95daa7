"""Augmentation of whole batches from an explicit draw."""
