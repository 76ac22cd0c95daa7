"""The standard evaluation of a set: kinds of labels × augmentations × networks, beside real images of the same storage.

DD-Ranking's two scores (Li et al. 2024) follow from the table, with weight ½. Both map a difference of accuracies from
-1..1 to 0..1 by (eˣ - e⁻¹) / (e - e⁻¹):

- LRS, label-robust: x = w · (set - random images, each by the set's own protocol) - (1 - w) · (full data set with hard
  labels - set with hard labels);
- ARS, augmentation-robust: x = w · (set - random images, with augmentation) + (1 - w) · (the same without).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from math import ceil, e, exp, nan
from pathlib import Path
from typing import Any, Self

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.data.data_source import DataSource, identified
from datacondense.errors import InputError
from datacondense.evaluation.protocol import EvaluationConfig, own_protocol
from datacondense.evaluation.scoring import resolved
from datacondense.image_set import ImageSet
from datacondense.networks.names import evaluation_name
from datacondense.selection.by_network import SelectionMethod
from datacondense.selection.full_tasks import TrainFull
from datacondense.selection.teacher import teacher_task
from datacondense.settings import check_at_least
from datacondense.studies.config import StudyConfig
from datacondense.studies.factory import Source, TaskFactory
from datacondense.studies.read_set import set_in_file
from datacondense.studies.results import StudyResult
from datacondense.studies.study import Study
from datacondense.studies.variants import subject

SET = "set"
OWN = "own protocol"
_RANDOM: SelectionMethod = "random"
_WITHOUT, _WITH = "none", "dsa"
_WEIGHT = 0.5
_FULL_EPOCHS, _FULL_UPDATES = 30, 3000
_OF_THE_STUDY = {"repeats", "seed", "precision", "engine"}


@dataclass(frozen=True, kw_only=True)
class StandardConfig:
    """What a set is scored with.

    Attributes:
        networks: Networks to train; DD-Ranking's scores are of the first one. Default: the set's own, and an MLP.
        augmentations: Augmentations to train with; its scores need "none" and "dsa".
        coresets: Selections of real images to score beside: herding, k-center, forgetting, forgetting-learned, rded.
        random_sets: Sets of random images to score beside.
        repeats: Networks trained on each set.
        epochs: Passes over a set.
        full_epochs: Passes over the full data set in full training, for coresets and the label-robust score. Default:
            30, or more on a small data set, for 3000 updates.
    """

    networks: tuple[str, ...] = ()
    augmentations: tuple[str, ...] = (_WITHOUT, "crop-scale-rotate", _WITH)
    coresets: tuple[SelectionMethod, ...] = ("herding", "k-center")
    random_sets: int = 3
    repeats: int = 5
    epochs: int = 300
    full_epochs: int | None = None

    def __post_init__(self) -> None:
        check_at_least(self, 1, "random_sets", "repeats", "epochs", "full_epochs")
        if not self.augmentations:
            raise InputError("augmentations is empty, but the table needs one at least.")

    def resolved(self, images: ImageSet, train: ImageSet) -> Self:
        """Return the settings with the defaults filled in that depend on the images.

        Args:
            images: The set.
            train: The real training images.

        Returns:
            The settings with networks and epochs.
        """
        own = images.provenance.get("settings", {}).get("network") or "convnet"
        own = "convnet" if ":" in own else evaluation_name(own)
        networks = self.networks or (own, "convnet" if own == "mlp" else "mlp")
        steps = ceil(len(train) / EvaluationConfig().batch_size)
        return replace(
            self,
            networks=networks,
            full_epochs=self.full_epochs or max(_FULL_EPOCHS, ceil(_FULL_UPDATES / steps)),
        )


def standard(data: DataSource, files: Sequence[Path | str], config: StandardConfig | None = None) -> Study:
    """Declare the standard evaluation of a set; `run_study` runs it.

    Args:
        data: The data set that it stands for; it is read.
        files: Files of one set, or of several that one method made: intervals are over these.
        config: Networks, augmentations, lengths.

    Returns:
        The study: rows are the set, random images and coresets, columns are protocols.

    Raises:
        InputError: There is no file, a file or the data set cannot be read, or the sets have different storage or
            labels.
    """
    if not files:
        raise InputError("No set is given: name at least one.")
    data = data if data.content else identified(data)
    sets = [set_in_file(data, file) for file in files]
    first = _checked([ImageSet.load(each.path) for each in sets], files)
    config = (config or StandardConfig()).resolved(first, data.read().train)
    factory = partial(_factory, data, config, first)
    given = factory(len(sets))
    columns = _columns(first, given, config)
    teacher = _teacher(first, given.data)
    rows: dict[str, tuple[TaskFactory, Source]] = {SET: (given, lambda seed: sets[seed])}
    rows[_RANDOM] = (factory(config.random_sets), given.selected(_RANDOM, given.config.method.ipc))
    for name in config.coresets:
        rows.setdefault(name, (factory(1), given.selected(name, given.config.method.ipc)))
    entries = {}
    for row, (tasks, source) in rows.items():
        for column, changes in columns.items():
            is_soft = changes["labels"] == "soft"
            labelled = _labelled(source, teacher, first) if is_soft and row != SET else source
            if labelled is not None:
                entries[row, column] = tasks.scored(labelled, **changes)
    return Study(
        name="standard",
        title="Standard evaluation",
        subject=subject(given, config.networks[0]),
        rows=tuple(rows),
        columns=tuple(columns),
        row_axis="images",
        column_axis="labels, augmentation, network",
        entries=entries,
        full=given.full(),
    )


def standard_scores(result: StudyResult) -> dict[str, float]:
    """Compute DD-Ranking's scores from a standard evaluation.

    Args:
        result: What `run_study` returned of it.

    Returns:
        "lrs" and "ars", 0 to 1, of the first network; NaN where the table lacks what they are made of.
    """

    def mean(row: str, column: str) -> float:
        return float(result.table["mean"].get((row, column), nan))

    def lead(column: str) -> float:
        return mean(SET, column) - mean(_RANDOM, column)

    # The first network's columns come before those of others.
    without, augmented = (
        next((column for column in result.study.columns if column.startswith(_column("hard", each, ""))), "")
        for each in (_WITHOUT, _WITH)
    )
    full = nan if result.full is None else float(result.full["mean"])
    label = _WEIGHT * lead(OWN) - (1 - _WEIGHT) * (full - mean(SET, augmented))
    augmentation = _WEIGHT * lead(augmented) + (1 - _WEIGHT) * lead(without)
    return {"lrs": _mapped(label), "ars": _mapped(augmentation)}


def _mapped(difference: float) -> float:
    return (exp(difference) - exp(-1)) / (e - exp(-1))


def _checked(images: Sequence[ImageSet], files: Sequence[Path | str]) -> ImageSet:
    """Return the first set; refuse others that differ in more than their pixels."""

    def kind(found: ImageSet) -> tuple[object, ...]:
        return (
            found.class_sizes,
            found.factor,
            found.soft_labels is None,
            found.whitening,
            found.provenance.get("method"),
        )

    for found, file in zip(images, files, strict=True):
        if kind(found) != kind(images[0]):
            raise InputError(
                f"{file} is a set of another kind than {files[0]} (images per class, factor, labels, whitening or "
                "method): score each kind for itself."
            )
    return images[0]


def _factory(data: DataSource, config: StandardConfig, images: ImageSet, seeds: int) -> TaskFactory:
    """Return the factory of tasks on so many sets, with the storage of a set."""
    ipc = Counter(images.class_sizes).most_common(1)[0][0]
    sizes = zip(images.class_names, images.class_sizes, strict=True)
    others = {name: size for name, size in sizes if size != ipc}
    study = StudyConfig(
        seeds=seeds,
        repeats=config.repeats,
        epochs=config.epochs,
        full_epochs=config.full_epochs or _FULL_EPOCHS,
        method=GradientMatchingConfig(
            ipc=ipc, ipc_of=others or None, factor=images.factor, network=config.networks[0]
        ),
    )
    return TaskFactory(data=data, config=study)


def _columns(images: ImageSet, tasks: TaskFactory, config: StandardConfig) -> dict[str, Mapping[str, Any]]:
    """Return the protocols: fields of `EvaluationConfig` by the names of the columns."""
    own = resolved(own_protocol(images), images, tasks.data.read().test)
    usual = EvaluationConfig()
    changed = {
        known.name: getattr(own, known.name)
        for known in fields(EvaluationConfig)
        if known.name not in _OF_THE_STUDY and getattr(own, known.name) != getattr(usual, known.name)
    }
    columns: dict[str, Mapping[str, Any]] = {OWN: changed}
    for labels in ("hard", *(["soft"] if images.soft_labels is not None else [])):
        for augmentation in config.augmentations:
            for network in config.networks:
                columns[_column(labels, augmentation, network)] = {
                    "labels": labels,
                    "augmentation": augmentation,
                    "network": evaluation_name(network),
                }
    return columns


def _column(labels: str, augmentation: str, network: str) -> str:
    return f"{labels}, {augmentation}, {network}"


def _teacher(images: ImageSet, data: DataSource) -> TrainFull | None:
    """Return the training of the network that labelled a set, as far as its name tells; None where it does not."""
    name = images.provenance.get("soft_labels", {}).get("teacher")
    return teacher_task(name, data) if isinstance(name, str) and ":" not in name else None


def _labelled(source: Source, teacher: TrainFull | None, images: ImageSet) -> Source | None:
    """Return selections with labels of the teacher of a set; None where there is none."""
    if teacher is None:
        return None
    temperature = images.provenance["soft_labels"]["temperature"]
    return lambda seed: replace(source(seed), teacher=teacher, temperature=temperature)  # type: ignore[type-var]
