"""What the metadata of an image set's file must be: its entries, and what is read again of a provenance."""

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict, get_type_hints

WhiteningKind = Literal["zca", "kip", "frepo"]


@dataclass(frozen=True)
class Whitening:
    """How the pixels of a set were whitened; see `data.whitening`.

    Attributes:
        kind: "zca", as kornia does it; "kip" or "frepo", as these methods do.
        epsilon: What is added to the eigenvalues of the covariance.
        fitted_on: Fingerprint of the real training images that the matrix was fitted on.
    """

    kind: WhiteningKind
    epsilon: float
    fitted_on: str


class _Settings(TypedDict, total=False):
    """Those of a method that are read again."""

    ipc: int
    factor: int
    network: str
    siamese: str
    initial_values: str
    fixed_network: bool
    images_per_step: int
    inner_epochs: int


class _Source(TypedDict, total=False):
    name: str | None


class _Run(TypedDict, total=False):
    seed: int
    iterations: int | None


class _Learned(TypedDict, total=False):
    step_lrs: list[float]


class _SoftLabels(TypedDict, total=False):
    temperature: float


class _Provenance(TypedDict, total=False):
    """What is read again of a provenance, which may hold anything else."""

    method: str
    settings: _Settings
    source: _Source
    run: _Run
    learned: _Learned
    soft_labels: _SoftLabels
    iterations_done: float


class Metadata(TypedDict):
    """The entries of a file, each as JSON."""

    class_names: list[str]
    mean: list[float]
    std: list[float]
    record: _Provenance
    dataset: NotRequired[str | None]
    may_be_mirrored: NotRequired[bool]
    augmentation: NotRequired[str]
    factor: NotRequired[int]
    whitening: NotRequired[Whitening]


ENTRIES = get_type_hints(Metadata)
