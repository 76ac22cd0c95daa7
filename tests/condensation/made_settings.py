"""Settings of every method and of each of its options that take milliseconds a step."""

from typing import Any

from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import METHODS

NETWORKS = ("convnet-w4-d1", "convnet-w4-d1-bn")
RECORDED = {name: name for name in METHODS} | dict.fromkeys(("siamese-matching", "idc"), "gradient-matching")
"""These are gradient matching with other defaults: one run, whichever way it was named."""
OWN = [name for name in METHODS if RECORDED[name] == name]
_SHORT: dict[str, dict[str, Any]] = {
    "idc": {"factor": 1, "matching_steps": 2, "train_on_real": 12, "network_batch": 4, "compare": "weights"}
}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "class-collective": ("gradient-matching", {"class_collective": True}),
    # All that a transform can need: sub-batches, noise on images, a ranking of everything.
    "transform": (
        "gradient-matching",
        {"transform": ("wiener:4", "max-pool-2", "keep-sensitive-global:0.5")},
    ),
    **{
        f"iterate-averaging-{name}": (name, {"iterate_averaging": True})
        for name in OWN
        if name != "dataset-distillation"
    },
    "shrink-pixels": ("gradient-matching", {"shrink_pixels": True}),
    "small-network-batch": ("gradient-matching", {"network_batch": 4}),
    "fixed-network": ("dataset-distillation", {"fixed_network": True}),
    "distilled-labels": ("dataset-distillation", {"learn_labels": True, "label_lr": 0.1}),
    "step-by-step": ("parameter-matching", {"constant_memory": True, "inner_batch": 3, "inner_steps": 3}),
    "experts": (
        "parameter-matching",
        {
            **{"experts": 2, "expert_epochs": 3, "start_epochs": 1, "inner_batch": 4, "inner_steps": 3},
            **{"learn_rate": True, "learn_labels": True},
        },
    ),
    "two-images-per-step": ("dataset-distillation", {"images_per_step": 2}),
    "no-augmentation": ("distribution-matching", {"siamese": "none"}),
    "pool": (
        "distribution-matching",
        {"pool": 2, "pool_images": 12, "pool_turns": 2, "network_batch": 4, "cutmix": 0.5},
    ),
    "attention": ("distribution-matching", {"match": "attention"}),
    "characteristic": ("distribution-matching", {"match": "characteristic", "frequencies": 16}),
    "train-on-real": ("gradient-matching", {"train_on_real": 12, "network_batch": 4, "cutmix": 0.5}),
    "convolutions": ("gradient-matching", {"compare": "convolutions", "distance": "absolute"}),
    **{
        f"representative-{name}": (name, {"real_sampling": "representative", "real_batch": 2})
        for name in OWN
        if name != "dataset-distillation"
    },
    "idc": ("gradient-matching", {"siamese": "idc:color-crop-cutout"}),
    **{f"factor-{name}": (name, {"factor": 2}) for name in OWN},
    **{
        f"ipc-of-{name}": (name, {"ipc_of": {"class 1": 3}}) for name in OWN if name != "dataset-distillation"
    },
}


def small(name: str, **change: Any) -> MethodConfig:
    """Return settings of a method that take milliseconds a step."""
    plain = {"ipc": 2, "network": NETWORKS[0], "real_batch": 4, "image_lr": 0.5}
    return METHODS[name](**{**plain, **_SHORT.get(name, {}), **change})


SETTINGS = {name: small(name) for name in METHODS} | {
    option: small(name, **change) for option, (name, change) in OPTIONS.items()
}
