"""Published accuracies and orderings, from published.toml."""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from datacondense.studies.study import Claim, Entry, Published

TITLES = {
    "cross-architecture": "Accuracy by condensing and training network",
    "activation": "Accuracy by activation",
    "pooling": "Accuracy by pooling",
    "norm": "Accuracy by normalisation",
    "depth": "Accuracy by depth",
    "width": "Accuracy by width",
    "distance": "Accuracy by distance between gradients",
    "ipc": "Accuracy by images per class",
    "teacher": "Accuracy by condensing network",
    "representatives": "Difference to plain matching by what is matched",
    "masks": "Accuracy by share of the gradient",
    "noise-aware": "Difference to plain matching by noise-aware variant",
    "comparison": "Accuracy by images per class",
    "continual": "Accuracy after each stage",
    "distillation": "Accuracy of Dataset Distillation and gradient matching",
}
# Their tables were once recalled and not checked, and records made then still have them.
_RECALLED = {"activation", "pooling", "norm", "depth", "width", "distance"}
_SHOWN = {
    "mnist": "MNIST",
    "fashion-mnist": "Fashion-MNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "usps": "USPS",
    "tiny-imagenet": "TinyImageNet",
}


def shown(dataset: str) -> str:
    """Return the name of a data set as papers print it."""
    return _SHOWN.get(dataset, dataset)


def published_table(
    study: str, dataset: str, protocol: str | None = None
) -> tuple[dict[Entry, Published], str]:
    """Return the published accuracies of a study by row and column, and their source; both empty if there are none."""
    for table in _facts()["table"]:
        if (table["study"], table["dataset"], table.get("protocol")) == (study, dataset, protocol):
            entries = {
                (row, column): Published(*value)
                for row, values in table["rows"].items()
                for column, value in zip(table["columns"], values, strict=True)
                if value
            }
            return entries, table["source"]
    return {}, ""


def orderings(study: str, labels: Sequence[str]) -> tuple[Claim, ...]:
    """Return the published orderings of one factor of the network, condensed with and trained with each label."""
    ways: Mapping[str, Callable[[str], tuple[Entry, ...]]] = {
        "condensed and trained with": lambda value: ((value, value),),
        "condensed with (mean over columns)": lambda value: tuple((value, other) for other in labels),
        "trained with (mean over rows)": lambda value: tuple((other, value) for other in labels),
    }
    return tuple(
        Claim(
            text=f"{better} {'>' if strict else '≥'} {worse}, {way}",
            better=entries(better),
            worse=entries(worse),
            strict=strict,
        )
        for each in _facts()["ordering"]
        if each["study"] == study
        for better, strict in [(each["better"], each.get("strict", True))]
        for worse in each["worse"]
        for way, entries in ways.items()
        if each.get("condensing", True) or not way.startswith("condensed with")
    )


@cache
def _facts() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("published.toml").read_text(encoding="utf-8"))


# What is left of what records of these studies say is published: the texts of orderings, and no numbers.
ORDERINGS: Mapping[str, frozenset[str]] = {
    study: frozenset(claim.text for claim in orderings(study, ())) for study in _RECALLED
}
