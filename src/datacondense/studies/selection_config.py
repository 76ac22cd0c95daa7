"""What a user may say about a selection of real images, checked before torch is loaded."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig

SelectionMethod: TypeAlias = Literal["random", "herding", "k-center", "forgetting", "forgetting-learned"]

METHODS: tuple[SelectionMethod, ...] = get_args(SelectionMethod)
BY_FEATURES: tuple[SelectionMethod, ...] = ("herding", "k-center")


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How images are chosen; all but random selection go by a network that is trained on the whole training set.

    That network is trained by the protocol that scores condensed sets (see `EvaluationConfig`).

    Attributes:
        method: "random"; "herding" (the mean stays that of the class) and "k-center" (no image is far from all that are
            chosen), which compare features; or "forgetting" (images that the network in training got right, and then
            wrong again, most often), where those that it never got right come first, or last in "forgetting-learned".
        ipc: Images per class.
        seed: Seed of the random choice, or of the network.
        network: Name of the network that is trained.
        epochs: Passes over the training set.
        augmentation: Of the training images, as in `evaluate`. Default: the paper's choice for the data set.
    """

    method: SelectionMethod
    ipc: int = 1
    seed: int = 0
    network: str = "convnet"
    epochs: int = 30
    augmentation: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method is {self.method!r}: choose one of {', '.join(METHODS)}.")
        if self.ipc < 1:
            raise InputError(f"ipc is {self.ipc}, but must be 1 or more.")
        self.protocol(None)

    def protocol(self, dataset: str | None) -> EvaluationConfig:
        """Give the protocol by which the network is trained.

        Args:
            dataset: Name of the data set, as in `load`.

        Returns:
            The protocol, without None.

        Raises:
            InputError: A value breaks a rule of the protocol.
        """
        protocol = EvaluationConfig(
            network=self.network, epochs=self.epochs, augmentation=self.augmentation, seed=self.seed
        )
        return protocol.resolved(None, dataset)
