"""Files of encoded images, which can be read some at a time."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from datacondense.data.image_store import Batch


class ImageFiles:
    """Images in files of their own.

    Args:
        root: The folder that they lie in.
        paths: Their paths.
    """

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self._root, self._paths = root, paths

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._paths)

    def described(self) -> str:
        """Return a hash of their paths in the folder, their sizes and when they were modified."""
        digest, start = hashlib.sha256(), len(str(self._root))
        for path in self._paths:
            digest.update(os.fsencode(f"{str(path)[start:]}\0{facts_of_file(path)}\0"))
        return digest.hexdigest()

    def batches(self, size: int, start: int) -> Iterator[Callable[[], Batch]]:
        """Yield what reads so many files each, from the batch of a number on."""
        for first in range(start * size, self.total, size):
            yield partial(_batch, list(map(str, self._paths[first : first + size])))


def facts_of_file(path: Path) -> tuple[int, int]:
    """Return the size of a file and when it was modified; zeros where there is none, which reading reports."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _batch(paths: Sequence[str]) -> Batch:
    return Batch(list(map(Path, paths)), paths)
