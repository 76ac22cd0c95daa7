"""Augmentation of batches from explicit random numbers."""
