"""The card of a published set, a README.md: what it is, how it was made, what it reaches, under which licence."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from datacondense.data.catalogue import CATALOGUE
from datacondense.data.hub import CONDENSED
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.reports.layout import accuracy, joined, plain, table

PICTURE = "images.png"
_SIZES = {1000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}


def dataset_card(
    images: ImageSet,
    hub_id: str,
    *,
    scores: Sequence[Mapping[str, Any]] = (),
    licence: str | None = None,
    command: str | None = None,
) -> str:
    """Return the card of a set.

    Args:
        images: The set, as it is stored.
        hub_id: Owner and name on the Hub.
        scores: Its scores, as `Score.as_dict()` gives them.
        licence: Identifier of its licence on the Hub. Default: that of the source data, as far as it is known.
        command: What makes the set.

    Returns:
        Markdown below a header of YAML.

    Raises:
        InputError: A score is that of another set.
    """
    for score in scores:
        if score.get("trained_on") != images.fingerprint:
            raise InputError(
                f"A score is that of the set {score.get('trained_on')}, but this is {images.fingerprint}: give the "
                "JSON that `datacondense evaluate SET --on DATASET --json` prints for this set."
            )
    kind = "synthetic" if images.images.is_floating_point() else "real"
    title = f"{len(images)} {kind} images that stand for {images.dataset or 'a data set without a name'}"
    return (
        joined([
            _header(images, licence, title),
            f"# {plain(title)}",
            "Networks are trained on them in the place of the full data set.",
            f"![The images]({PICTURE})",
            "## What it is",
            table(("", ""), _facts(images), words=2),
            "The classes, in the order of the labels:",
            _code("json", json.dumps(images.class_names, ensure_ascii=False)),
            "## Use",
            _use(images, hub_id),
            "## How it was made",
            _making(images, command),
            "## Scores",
            _scores(images, scores),
            "## Licence",
            _licence(images),
        ])
        + "\n"
    )


def _header(images: ImageSet, licence: str | None, title: str) -> str:
    """Return the front matter, which the Hub reads."""
    from huggingface_hub import DatasetCardData  # noqa: PLC0415

    entry, count = CATALOGUE.get(images.dataset or ""), len(images) * images.factor**2
    data = DatasetCardData(
        license=licence or (entry.licence if entry else "unknown"),
        pretty_name=title,
        size_categories=next((size for limit, size in _SIZES.items() if count < limit), "n>1M"),
        source_datasets=[f"extended|{entry.hub_id}" if entry and entry.hub_id else "extended|other"],
        task_categories=["image-classification"],
        tags=["dataset-condensation", "dataset-distillation", "datacondense"],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}],
    )
    return f"---\n{data.to_yaml()}\n---"


def _facts(images: ImageSet) -> list[tuple[str, str]]:
    """Return what the set holds."""
    low, high = map(float, images.pixels().aminmax())
    fewest, most = min(images.class_sizes), max(images.class_sizes)
    each = f"{most}" if fewest == most else f"{fewest} to {most}"
    mean, std = (", ".join(map(str, each)) for each in (images.mean, images.std))
    facts = [
        ("images", f"{len(images)}: {each} for each of {images.num_classes} classes"),
        ("channels × height × width", " × ".join(map(str, images.image_shape))),
        ("labels", "class numbers" if images.soft_labels is None else "distributions over the classes"),
        ("range of the numbers", f"{low:.3f} to {high:.3f}"),
        ("normalisation", f"(x - mean) / std, with mean {mean} and std {std}"),
    ]
    if images.factor > 1:
        facts.append((
            "factor",
            f"{images.factor}: {images.factor**2} images are decoded from each stored one",
        ))
    if (known := images.whitening) is not None:
        facts.append((
            "whitening",
            f"{known.kind}, ε = {known.epsilon:g}, fitted on the training images {known.fitted_on}; test images must "
            "be whitened alike, as `datacondense evaluate` does",
        ))
    facts.append(("fingerprint", images.fingerprint))
    return facts


def _use(images: ImageSet, hub_id: str) -> str:
    """Return how the set is read, with this library and without it."""
    shown = "stretched from the least number to the greatest" if images.whitening else "8 bits"
    soft = "" if images.soft_labels is None else ", `soft_label`"
    return joined([
        _code("python", f'from datacondense import load\n\ncondensed = load("{hub_id}").train'),
        _code("bash", _scoring(images, hub_id)),
        f"`load` gives exactly the set in `{CONDENSED}`. Without datacondense, "
        f'`datasets.load_dataset("{hub_id}", split="train")` has the images that networks see: `image` (to look at, '
        f"{shown}), `label`{soft} and `pixels` (exact, float32, channels × height × width, before normalisation).",
    ])


def _scoring(images: ImageSet, hub_id: str) -> str:
    """Return the command that scores the set."""
    return (
        f"datacondense evaluate {hub_id} --on {images.dataset if images.dataset in CATALOGUE else 'DATASET'}"
    )


def _making(images: ImageSet, command: str | None) -> str:
    """Return method, command, and all that is recorded."""
    provenance = images.provenance
    found = {"method": provenance.get("method"), "data set": images.dataset}
    said = ", ".join(f"{name}: {plain(str(value))}" for name, value in found.items() if value)
    record = json.dumps(dict(provenance), indent=1, sort_keys=True, ensure_ascii=False)
    return joined([
        said[:1].upper() + said[1:],
        _code("bash", command) if command else "",
        f"All settings, seeds and versions:\n\n{_code('json', record)}",
    ])


def _scores(images: ImageSet, scores: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the scores, and those that came with an imported set."""
    header = ("tested on", "network", "protocol", "accuracy, %", "networks (n)")
    rows = [
        (
            plain(str(score["tested_on"].get("name"))),
            plain(str(score["protocol"].get("network"))),
            plain(_protocol(score["protocol"])),
            f"**{_percent(score)}**",
            str(score["n"]),
        )
        for score in scores
    ]
    printed = [
        f"- {plain(network)}: {_percent(known)} (n = {known['n']})"
        for network, known in images.provenance.get("imported", {}).get("accuracies", {}).items()
    ]
    return joined([
        f"{table(header, rows, words=3)}\n\nMean ± standard deviation over networks trained on this one set."
        if rows
        else "No score was published with the set; the command above measures it.",
        "The imported file says:\n\n" + "\n".join(printed) if printed else "",
    ])


def _percent(score: Mapping[str, Any]) -> str:
    """Return mean±standard deviation in percent."""
    return accuracy(100 * score["mean"], 100 * score["std"] if score["n"] > 1 else None)


def _protocol(protocol: Mapping[str, Any]) -> str:
    """Return the protocol in words."""
    names = ("epochs", "lr", "batch_size", "augmentation", "labels", "seed")
    return ", ".join(f"{name.replace('_', ' ')} {protocol[name]}" for name in names if name in protocol)


def _licence(images: ImageSet) -> str:
    """Return what is known of the licence of the source data."""
    entry = CATALOGUE.get(images.dataset or "")
    terms = entry.terms if entry else "Nothing is known here of the licence of the source data."
    return (
        f"{terms} The set was made from these data: check their terms before you use or pass it on. This is no legal "
        "advice."
    )


def _code(language: str, text: str) -> str:
    """Return a block of code."""
    return f"```{language}\n{text}\n```"
