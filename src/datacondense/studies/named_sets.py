"""Sets by the name of what makes them: a method, a selection, or a function of the user's own."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from datacondense.condensation.method import MethodConfig
from datacondense.condensation.registry import ABBREVIATIONS, METHODS, method_name
from datacondense.data.data_source import DataSource
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.by_network import METHODS as SELECTIONS
from datacondense.settings import Named
from datacondense.studies.config import parse_override
from datacondense.studies.factory import Source, TaskFactory, refuse_parameters
from datacondense.tasks.store import Workspace
from datacondense.tasks.task import TRAINING, Task, images_of
from datacondense.user_code import imported, name_of, user_callable

KNOWN = (*SELECTIONS, *METHODS)

# Settings of gradient matching that mean the same for all methods, and are passed on to them.
_SHARED = ("network", "precision", "engine")
_STORAGE = ("factor", "ipc_of")  # of every set, selected ones too
_SHARED_BATCH = ("siamese-matching", "distribution-matching")
_MADE = "made.safetensors"


@dataclass(frozen=True, kw_only=True)
class MakeSet(Task):
    """Make a set of training images by a function of the user's own; the result has fingerprint and seconds.

    Attributes:
        data: The data set.
        function: "package.module:function", or the function: from the training images, the images per class and a seed
            to an `ImageSet` of the same classes.
        ipc: Images per class.
        seed: Seed of the function.
    """

    tag: ClassVar[str] = "MakeSet"
    data: DataSource = images_of(*TRAINING)
    function: Named
    ipc: int
    seed: int

    @property
    def label(self) -> str:
        """The function."""
        return f"{name_of(self.function)}, ipc {self.ipc}"

    @property
    def network(self) -> str | None:
        """None: a function does not tell."""
        return None

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Call the function, and check and save what it returns."""
        train = self.data.read().train
        make = user_callable(self.function, "function", "(images, ipc, seed)")
        began = time.perf_counter()
        made = make(train, self.ipc, self.seed)
        seconds = time.perf_counter() - began
        check_made(made, train, name_of(self.function))
        made.save(workspace.folder(self) / _MADE)
        return {"fingerprint": made.fingerprint, "condensing_seconds": seconds}

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Return the set."""
        return ImageSet.load(workspace.folder(self) / _MADE)


def check_made(made: object, train: ImageSet, name: str) -> None:
    """Check that a function of the user's own has returned a set that can stand for the training images."""
    if not isinstance(made, ImageSet):
        raise InputError(f"{name} returned {type(made).__name__}, but must return an ImageSet.")
    if (made.class_names, made.image_shape) != (train.class_names, train.image_shape):
        raise InputError(
            f"{name} returned images of shape {made.image_shape} and {made.num_classes} classes, but must return the "
            f"shape {train.image_shape} and the {train.num_classes} classes of the images that it was given."
        )
    missing = [label for label, size in zip(made.class_names, made.class_sizes, strict=True) if not size]
    if missing:
        raise InputError(f"{name} returned no image of the class {missing[0]!r}: return some of every class.")


def full_name(name: str) -> str:
    """Return the full name of a method or selection; names of the user's own and unknown ones as they are."""
    return ABBREVIATIONS.get(name, name)


def named_set(tasks: TaskFactory, name: str, ipc: int, **changes: Any) -> Source:
    """Return the sets that a method or selection makes, with the shared settings and the overrides for it.

    Args:
        tasks: The factory of the study.
        name: A built-in name, "package.module:Class" of a method of one's own, or "package.module:function" of a
            function that `MakeSet` calls.
        ipc: Images per class.
        **changes: Settings of the method.

    Returns:
        For each seed the task that makes the set.

    Raises:
        InputError: There is no such name, or a setting does not fit.
    """
    name = full_name(name)
    for method in SELECTIONS:
        if name == method:
            return tasks.selected(method, ipc)
    given = tasks.config.method
    storage = {each: getattr(given, each) for each in _STORAGE if getattr(given, each) not in (None, 1)}
    if ":" in name:
        found = imported(name, "method")
        if not (isinstance(found, type) and issubclass(found, MethodConfig)):
            return lambda seed: MakeSet(data=tasks.data, function=name, ipc=ipc, seed=seed)
        config: type[MethodConfig] = found
    elif name in METHODS:
        config = METHODS[name]
    else:
        raise InputError(
            f"There is no method {name!r}: choose from {', '.join(KNOWN)}, or give package.module:name of your own."
        )
    shared = {each: getattr(given, each) for each in _SHARED} | storage
    if name in _SHARED_BATCH:
        shared["real_batch"] = given.real_batch
    base: MethodConfig = given if name == "gradient-matching" else config(**shared)
    overrides = overrides_for(tasks, name)
    refuse_parameters(overrides)
    return tasks.condensed(method=base, **{"ipc": ipc, **changes, **overrides})


def overrides_for(tasks: TaskFactory, name: str) -> dict[str, Any]:
    """Return the overrides of one method's settings."""
    return {
        setting: value
        for owner, setting, value in map(parse_override, tasks.config.override)
        if method_name(owner) == name
    }


def refuse_overrides(
    overrides: Sequence[str], names: Collection[str], ipc: str = "are the columns of the table: give --ipcs"
) -> None:
    """Refuse settings of methods that are not compared, and images per class, which are given as `ipc` says."""
    for text in overrides:
        owner, setting, _ = parse_override(text)
        method = method_name(owner)
        if setting == "ipc":
            raise InputError(f"override is {text!r}, but images per class {ipc}.")
        if method not in names:
            raise InputError(
                f"override is {text!r}, but {method} is not compared here: leave it out, or compare {method} too."
            )
