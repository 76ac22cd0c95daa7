"""Settings of a coreset selection."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, ResolvedProtocol
from datacondense.facts import facts_of

SelectionMethod: TypeAlias = Literal["random", "herding", "k-center", "forgetting", "forgetting-learned"]

METHODS: tuple[SelectionMethod, ...] = get_args(SelectionMethod)
BY_FEATURES: tuple[SelectionMethod, ...] = ("herding", "k-center")


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How to select images; all methods but random selection use a network trained on the full training set.

    That network is trained by the protocol that scores condensed sets (see `EvaluationConfig`).

    Attributes:
        method: "random"; "herding" (the mean stays close to that of the class) and "k-center" (every image has a
            selected one nearby), which compare features; or "forgetting" (images that the network most often got
            right and then wrong again during training), where images that it never got right come first, or last with
            "forgetting-learned".
        ipc: Images per class.
        seed: Seed of the random selection, or of the network.
        network: Name of the network to train.
        epochs: Passes over the training set.
        augmentation: Augmentation of the training images, as in `evaluate`. Default: the paper's choice for the data
            set.
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

    def protocol(self, dataset: str | None) -> ResolvedProtocol:
        """Return the protocol that trains the network.

        Args:
            dataset: Name of the data set, as in `load`.

        Returns:
            The resolved protocol.

        Raises:
            InputError: A value is invalid for the protocol.
        """
        protocol = EvaluationConfig(
            network=self.network, epochs=self.epochs, augmentation=self.augmentation, seed=self.seed
        )
        return protocol.resolved(**facts_of(dataset)._asdict())
