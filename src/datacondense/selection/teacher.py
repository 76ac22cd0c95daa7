"""Teachers: networks that label small sets, from a file or trained on the full data set and kept."""

from pathlib import Path

from datacondense.data.data_source import DataSource, identified
from datacondense.evaluation.full_training import TrainedNetwork, load_network
from datacondense.selection.by_network import NETWORK_FILE, SelectionConfig, finished, selection_store
from datacondense.selection.full_tasks import TrainFull
from datacondense.tasks.scheduler import Observer
from datacondense.tasks.store import Workspace


def teacher_task(name: str, data: DataSource, epochs: int | None = None) -> TrainFull | None:
    """Return the task that trains a teacher like the network of a selection; None where its name is a file's."""
    if name.endswith(NETWORK_FILE):
        return None
    config = SelectionConfig(method="random", network=name, epochs=epochs or SelectionConfig.epochs)
    task = TrainFull(data=identified(data, needs_test=False), protocol=config.protocol(data.name), repeat=0)
    task.structure()
    return task


def trained_teacher(
    name: str,
    data: DataSource,
    *,
    epochs: int | None = None,
    cache: Path | str | None = None,
    device: str = "cpu",
    observer: Observer | None = None,
) -> TrainedNetwork:
    """Return a network that was trained on a data set, for `soft_labelled` and `condense`.

    Args:
        name: A network's name, which is trained on the full data set by the protocol of `select`, once and for all; or
            a file network.safetensors.
        data: The data set.
        epochs: Passes over the data set of that training. Default: that of `select`.
        cache: Folder of trained networks; None means `cache_folder`.
        device: The device to compute on.
        observer: Called regularly with the progress, from another thread.

    Returns:
        The network with its numbers, on the device.

    Raises:
        InputError: There is no such network or file, or training failed.
    """
    task = teacher_task(name, data, epochs)
    if task is None:
        network, *numbers = load_network(name)
        parameters, buffers = ({key: tensor.to(device) for key, tensor in each.items()} for each in numbers)
        return TrainedNetwork(network, parameters, buffers)
    store = selection_store(cache)
    finished(task, store, device, observer)
    return task.trained(Workspace(store, device))
