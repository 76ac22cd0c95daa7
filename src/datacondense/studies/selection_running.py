"""From a selection that a user asks for to its images; trained networks and features are kept for the next one."""

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
from datacondense.studies.full_training import TrainFull
from datacondense.studies.runner import StoreWorkspace, StudyProgress, run_tasks
from datacondense.studies.selection_config import SelectionConfig
from datacondense.studies.selections import ComputeFeatures, SelectByFeatures, SelectForgetting, SelectRandom
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
    """Choose real images; what the choice goes by is computed once for each data set and network.

    Training that was stopped goes on where it was.

    Args:
        data: The data set; test images are not needed.
        config: How to choose.
        cache: Folder where trained networks and features are kept; `cache_folder` where None.
        device: Where to compute.
        observer: Called now and then, from another thread.

    Returns:
        The chosen images, class by class; the record keeps their positions among the training images as "indices",
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
    """Make the cell that chooses, and refuse at once what its end would refuse.

    Args:
        data: The data set; it is read.
        config: How to choose.

    Returns:
        The cell.

    Raises:
        InputError: The data set cannot be read, a class has fewer than `ipc` images, or the network does not fit the
            images.
    """
    source = identified(data, needs_test=False)
    # Every selection has the same rules for classes and `ipc`; this one takes no time.
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
    """Find the training that a selection has to wait for.

    Args:
        task: The cell that chooses.
        store: Where finished cells are.

    Returns:
        The cell that trains; None where it is finished or not needed.
    """
    to_do = {key: each for wave in by_depth([task], store.finished) for key, each in wave.items()}
    return next(
        (each for key, each in to_do.items() if isinstance(each, TrainFull) and not store.finished(key)), None
    )


def selection_store(cache: Path | str | None = None) -> Store:
    """Give the folder of the cells of selections; given the folder of a study, both share what they have in common.

    Args:
        cache: Folder where trained networks and features are kept; `cache_folder` where None.

    Returns:
        The folder of cells.
    """
    return Store((cache_folder() if cache is None else Path(cache)).expanduser().resolve() / TASKS)
