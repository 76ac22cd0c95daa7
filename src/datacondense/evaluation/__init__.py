"""Evaluation: the paper's protocol, scores, and the training of fresh networks that they come from."""

from datacondense.evaluation.evaluate import accuracy, evaluate, train_one
from datacondense.evaluation.protocol import EvaluationConfig, Score

__all__ = ["EvaluationConfig", "Score", "accuracy", "evaluate", "train_one"]
