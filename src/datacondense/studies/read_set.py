"""Sets in files, as tasks: what others score beside the sets that a study makes."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from datacondense.data.data_source import DataSource
from datacondense.files import expanded
from datacondense.image_set import ImageSet
from datacondense.studies.named_sets import check_made
from datacondense.tasks.store import Workspace
from datacondense.tasks.task import TRAINING, Task, images_of

_SET = "set.safetensors"


@dataclass(frozen=True, kw_only=True)
class ReadSet(Task):
    """Read a set of the user's own from its file; the result has its fingerprint.

    Attributes:
        data: The data set that it stands for.
        path: The file, by an absolute path.
        fingerprint: Of the set when it was named.
    """

    tag: ClassVar[str] = "ReadSet"
    runs_here: ClassVar[bool] = True
    data: DataSource = images_of(*TRAINING)
    path: str
    fingerprint: str

    @cached_property
    def ipc(self) -> int:
        """Images of the largest class."""
        return max(ImageSet.load(self.path).class_sizes)

    @property
    def network(self) -> str | None:
        """None: protocols name their networks."""
        return None

    def run(self, workspace: Workspace) -> Mapping[str, Any]:
        """Copy the set, so that later tasks go on with the same images whatever becomes of the file."""
        images = ImageSet.load(self.path)
        check_made(images, self.data.read().train, self.path)
        images.save(workspace.folder(self) / _SET)
        return {"fingerprint": images.fingerprint}

    def image_set(self, workspace: Workspace) -> ImageSet:
        """Return the set."""
        return ImageSet.load(workspace.folder(self) / _SET)


def set_in_file(data: DataSource, file: Path | str) -> ReadSet:
    """Return the task that reads a set from a file, after a look at it."""
    path = expanded(file).resolve()
    images = ImageSet.load(path)
    check_made(images, data.read().train, str(file))
    return ReadSet(data=data, path=str(path), fingerprint=images.fingerprint)
