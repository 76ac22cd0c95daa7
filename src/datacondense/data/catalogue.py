"""The one table of data sets known by name: where they lie, how to read them and their published normalisation.

A row is all that there is to say about a data set: reading it takes the same path as any other Hub id.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from datacondense.data.config import DataConfig
from datacondense.errors import InputError

COLUMNS = ("image_column", "label_column")
DIGITS = "digits"
_HUB = DataConfig(image_column="image", label_column="label", train_split="train", test_split="test")


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """One data set known by name.

    Attributes:
        hub_id: Owner and name on the Hugging Face Hub; None for the digits that come with scikit-learn.
        config: Configuration, columns and splits on the Hub.
        hub_files: For each split, the files to download, by the configuration; None for all of it.
        revision: The branch of the repository that has these files, in which configurations are folders alone.
        normalisation: Published mean and standard deviation per channel, in pixel scale (0 to 1); None where none is
            published, and the training images' own are computed.
        licence: Identifier on the Hub, as far as it is known; "unknown" where it is not.
        terms: Who says so, as a sentence.
    """

    hub_id: str | None
    config: DataConfig = _HUB
    hub_files: Mapping[str, str] | None = None
    revision: str | None = None
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    licence: str = "unknown"
    terms: str = "No licence of its authors is known here."

    def files(self, config: DataConfig) -> dict[str, Any] | None:
        """Return what to download, as `data_files` and their `revision`; None for all of the configuration."""
        if self.hub_files is None or not {config.train_split, config.test_split} <= self.hub_files.keys():
            return None
        if self.revision is None and config.config != self.config.config:
            return None
        found = {split: pattern.format(config=config.config) for split, pattern in self.hub_files.items()}
        return {"data_files": found, "revision": self.revision}

    def filled(self, config: DataConfig) -> DataConfig:
        """Return the user's settings with this data set's defaults."""
        given = {field.name: getattr(config, field.name) for field in fields(config)}
        return replace(self.config, **{name: value for name, value in given.items() if value})


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_IMAGENET_TERMS = (
    "No licence of its own is known here; ImageNet, from which it is taken, allows non-commercial research."
)


def _of_fastai(hub_id: str) -> CatalogueEntry:
    """Return a subset of ImageNet of ten classes, in the size with a shorter side of 160 pixels."""
    return CatalogueEntry(
        hub_id=hub_id,
        config=replace(_HUB, config="160px", test_split="validation"),
        # The main branch may hold a script, which is not run.
        hub_files={split: f"{{config}}/{split}/*.parquet" for split in ("train", "validation")},
        revision="refs/convert/parquet",
        normalisation=_IMAGENET,
        licence="apache-2.0",
        terms="Its page gives it under Apache 2.0; ImageNet, from which it is taken, allows non-commercial research.",
    )


CATALOGUE: dict[str, CatalogueEntry] = {
    "cifar10": CatalogueEntry(
        hub_id="uoft-cs/cifar10",
        config=replace(_HUB, config="plain_text", image_column="img"),
        normalisation=((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ),
    "cifar100": CatalogueEntry(
        hub_id="uoft-cs/cifar100",
        config=replace(_HUB, config="cifar100", image_column="img", label_column="fine_label"),
        normalisation=((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    ),
    DIGITS: CatalogueEntry(
        hub_id=None,
        licence="cc-by-4.0",
        terms="The UCI repository gives it (Optical Recognition of Handwritten Digits) under CC BY 4.0.",
    ),
    "fashion-mnist": CatalogueEntry(
        hub_id="zalando-datasets/fashion_mnist",
        config=replace(_HUB, config="fashion_mnist"),
        normalisation=((0.2861,), (0.3530,)),
        licence="mit",
        terms="Its repository (zalandoresearch/fashion-mnist) gives it under the MIT licence.",
    ),
    "imagenet-100": CatalogueEntry(
        hub_id="clane9/imagenet-100",
        config=replace(_HUB, config="default", test_split="validation"),
        normalisation=_IMAGENET,
        terms=_IMAGENET_TERMS,
    ),
    "imagenette": _of_fastai("frgfm/imagenette"),
    "imagewoof": _of_fastai("frgfm/imagewoof"),
    "mnist": CatalogueEntry(
        hub_id="ylecun/mnist",
        config=replace(_HUB, config="mnist"),
        normalisation=((0.1307,), (0.3081,)),
        licence="cc-by-sa-3.0",
        terms="Keras documents CC BY-SA 3.0, held by Yann LeCun and Corinna Cortes; other sources name other licences.",
    ),
    "svhn": CatalogueEntry(
        hub_id="ufldl-stanford/svhn",
        config=replace(_HUB, config="cropped_digits"),
        # Not the 1 GB of the split "extra".
        hub_files={split: f"cropped_digits/{split}-*" for split in ("train", "test")},
        normalisation=((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        licence="other",
        terms="Its page says: for non-commercial use only.",
    ),
    "tiny-imagenet": CatalogueEntry(
        hub_id="zh-plus/tiny-imagenet",
        config=replace(_HUB, config="default", test_split="valid"),
        normalisation=_IMAGENET,
        terms=_IMAGENET_TERMS,
    ),
    "usps": CatalogueEntry(hub_id="flwrlabs/usps", config=replace(_HUB, config="default")),
}


def data_options(provenance: Mapping[str, Any]) -> tuple[str, DataConfig] | None:
    """Return the data set of a set and how it was read, as far as that is recorded; None where it is not."""
    source = provenance.get("source")
    if not isinstance(source, Mapping) or not isinstance(source.get("name"), str):
        return None
    form: dict[str, Any] = {name: source.get(name) for name in ("resize", "channels")}
    words = {
        name: source[name] for name in ("config", *COLUMNS, "split") if isinstance(source.get(name), str)
    }
    entry = CATALOGUE.get(source["name"])
    if entry is not None and words.get("config") == entry.config.config:
        words.pop("config", None)
    split = words.pop("split", "train")
    try:
        return source["name"], DataConfig(**form, **words, train_split=None if split == "train" else split)
    except (InputError, TypeError):  # what another program wrote
        return None
