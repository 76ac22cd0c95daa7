"""Evaluation: the paper's protocol, scores, and the training of fresh networks that they come from."""

from typing import TYPE_CHECKING

from datacondense.lazy import lazy_names

if TYPE_CHECKING:
    from datacondense.evaluation.protocol import EvaluationConfig, Score
    from datacondense.evaluation.scoring import (
        accuracy,
        computation,
        evaluate,
        evaluate_one,
        resolved,
        train_one,
    )
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "protocol": ["EvaluationConfig", "Score"],
            "scoring": ["accuracy", "computation", "evaluate", "evaluate_one", "resolved", "train_one"],
        },
    )

__all__ = [
    "EvaluationConfig",
    "Score",
    "accuracy",
    "computation",
    "evaluate",
    "evaluate_one",
    "resolved",
    "train_one",
]
