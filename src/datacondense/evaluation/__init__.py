"""Evaluation: the paper's protocol, scores, and the training of fresh networks that they come from."""
