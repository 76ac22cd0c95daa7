"""The one table of data sets known by name: where they lie, their columns, and their published treatment.

A row is all that there is to say about a data set: reading it takes the same path as any other Hub id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from datacondense.data.config import DataConfig

DIGITS = "digits"


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One data set known by name.

    Attributes:
        hub_id: Owner and name on the Hugging Face Hub; None for the digits that come with scikit-learn.
        config: Configuration name on the Hub.
        image_column: Column of the images.
        label_column: Column of the labels.
        train_split: Split to learn from.
        test_split: Split to test on.
        hub_files: For each split, the files to download; None for all of the configuration.
        mean: Published normalisation mean per channel, in pixel scale (0 to 1); None where none is published, and
            the training images' own is computed.
        std: Published normalisation standard deviation per channel, likewise.
        augmentation: Augmentation when a network is trained to score a condensed set; the published rule of
            gradient matching (Zhao et al. 2021) augments MNIST alone.
        may_be_mirrored: Whether a mirrored image keeps its class, which digits do not.
    """

    hub_id: str | None
    config: str | None = None
    image_column: str = "image"
    label_column: str = "label"
    train_split: str = "train"
    test_split: str = "test"
    hub_files: Mapping[str, str] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augmentation: str = "none"
    may_be_mirrored: bool = True

    def filled(self, config: DataConfig) -> DataConfig:
        """Fill in what the user left unset.

        Args:
            config: What the user said.

        Returns:
            The same with this data set's configuration, columns and splits.
        """
        return replace(
            config,
            config=config.config or self.config,
            image_column=config.image_column or self.image_column,
            label_column=config.label_column or self.label_column,
            train_split=config.train_split or self.train_split,
            test_split=config.test_split or self.test_split,
        )


CATALOGUE: dict[str, CatalogueEntry] = {
    "cifar10": CatalogueEntry(
        hub_id="uoft-cs/cifar10",
        config="plain_text",
        image_column="img",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    ),
    "cifar100": CatalogueEntry(
        hub_id="uoft-cs/cifar100",
        config="cifar100",
        image_column="img",
        label_column="fine_label",
        mean=(0.5071, 0.4866, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    ),
    DIGITS: CatalogueEntry(hub_id=None, may_be_mirrored=False),
    "fashion-mnist": CatalogueEntry(
        hub_id="zalando-datasets/fashion_mnist", config="fashion_mnist", mean=(0.2861,), std=(0.3530,)
    ),
    "mnist": CatalogueEntry(
        hub_id="ylecun/mnist",
        config="mnist",
        mean=(0.1307,),
        std=(0.3081,),
        augmentation="crop-scale-rotate",
        may_be_mirrored=False,
    ),
    "svhn": CatalogueEntry(
        hub_id="ufldl-stanford/svhn",
        config="cropped_digits",
        # Not the 1 GB of the split "extra".
        hub_files={split: f"cropped_digits/{split}-*" for split in ("train", "test")},
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
        may_be_mirrored=False,
    ),
    "tiny-imagenet": CatalogueEntry(
        hub_id="zh-plus/tiny-imagenet",
        config="default",
        test_split="valid",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    ),
    "usps": CatalogueEntry(hub_id="flwrlabs/usps", config="default", may_be_mirrored=False),
}


def default_augmentation(dataset_name: str | None) -> str:
    """Name the augmentation that the published evaluation uses on a data set (Zhao et al. 2021, appendix).

    Args:
        dataset_name: A name of the catalogue, or any other source, or None.

    Returns:
        "crop-scale-rotate" for MNIST, "none" for everything else.
    """
    entry = _entry(dataset_name)
    return entry.augmentation if entry is not None else "none"


def may_be_mirrored(dataset_name: str | None) -> bool:
    """Tell whether the images of a data set keep their classes when left and right are exchanged.

    Args:
        dataset_name: A name of the catalogue, or any other source, or None.

    Returns:
        False for the catalogue's data sets of digits, True for everything else.
    """
    entry = _entry(dataset_name)
    return entry is None or entry.may_be_mirrored


def _entry(dataset_name: str | None) -> CatalogueEntry | None:
    """Look up a name; None where the catalogue does not have it."""
    return CATALOGUE.get(dataset_name) if dataset_name is not None else None
