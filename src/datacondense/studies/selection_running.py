"""Coreset selection from settings to images; trained networks and features are kept for the next selection."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from datacondense.cache import cache_folder
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.random import select_random
from datacondense.studies.config import TASKS
from datacondense.studies.data_source import DataSource, identified
from datacondense.studies.features import ComputeFeatures
from datacondense.studies.full_training import TrainFull
from datacondense.studies.runner import StoreWorkspace, StudyProgress, run_tasks
from datacondense.studies.selection_config import SelectionConfig
from datacondense.studies.selections import SelectByFeatures, SelectForgetting, SelectRandom
from datacondense.studies.store import FAILURE, Store
from datacondense.studies.task import by_depth, plain_settings
from datacondense.studies.workers import Workers

SelectionTask = SelectRandom | SelectByFeatures | SelectForgetting


def select(
    data: DataSource,
    config: SelectionConfig,
    *,
    cache: Path | str | None = None,
    device: str = "cpu",
    observer: Callable[[StudyProgress], None] | None = None,
) -> ImageSet:
    """Select real images; networks and features are computed once for each data set and network.

    Interrupted training continues where it was.

    Args:
        data: The data set; test images are not needed.
        config: How to select.
        cache: Folder of trained networks and features; None means `cache_folder`.
        device: The device to compute on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The selected images, class by class; their provenance has their indices among the training images as "indices",
        and the protocol of the network as "trained".

    Raises:
        InputError: The data set cannot be read, a class has fewer than `ipc` images, the network does not fit the
            images, or a computation failed.
    """
    task = selection_task(data, config)
    store = selection_store(cache)
    threads = torch.get_num_threads()
    outcome = run_tasks([task], store, Workers("inline", 1, threads), device=device, observer=observer)
    for key, error in outcome.failed.items():
        raise InputError(f"{error.rstrip('.')} ({store.folder(key) / FAILURE} tells more).")
    images = task.image_set(StoreWorkspace(store, device))
    if isinstance(task, SelectRandom):
        return images
    protocol = plain_settings(config.protocol(data.name), without="repeats")
    return replace(images, provenance={**images.provenance, "trained": protocol})


def selection_task(data: DataSource, config: SelectionConfig) -> SelectionTask:
    """Build the selection task, and check at once what would otherwise fail at its end.

    Args:
        data: The data set; it is read.
        config: How to select.

    Returns:
        The task.

    Raises:
        InputError: The data set cannot be read, a class has fewer than `ipc` images, or the network does not fit the
            images.
    """
    source = identified(data, needs_test=False)
    # All selections check classes and `ipc` alike; this one takes no time.
    select_random(source.read().train, config.ipc, config.seed)
    if config.method == "random":
        return SelectRandom(data=source, ipc=config.ipc, seed=config.seed)
    trained = TrainFull(data=source, protocol=config.protocol(data.name), repeat=0)
    trained.structure()
    if config.method == "forgetting":
        return SelectForgetting(ipc=config.ipc, trained=trained)
    if config.method == "forgetting-learned":
        return SelectForgetting(ipc=config.ipc, trained=trained, never_learned="last")
    return SelectByFeatures(method=config.method, ipc=config.ipc, features=ComputeFeatures(trained=trained))


def training_to_do(task: SelectionTask, store: Store) -> TrainFull | None:
    """Return the training that a selection still has to wait for.

    Args:
        task: The selection.
        store: The recorded tasks.

    Returns:
        The task that trains; None if it is finished or not needed.
    """
    to_do = {key: each for group in by_depth([task], store.finished) for key, each in group.items()}
    return next(
        (each for key, each in to_do.items() if isinstance(each, TrainFull) and not store.finished(key)), None
    )


def selection_store(cache: Path | str | None = None) -> Store:
    """Return the folder of recorded selections; with the folder of a study, both share their common tasks.

    Args:
        cache: Folder of trained networks and features; None means `cache_folder`.

    Returns:
        The folder of tasks.
    """
    return Store((cache_folder() if cache is None else Path(cache)).expanduser().resolve() / TASKS)
