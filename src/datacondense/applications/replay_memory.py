"""A memory for a training loop of one's own: a few images per class of each stage."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from torch.utils.data import TensorDataset

from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.condensation.method import MethodConfig
from datacondense.data.joining import joined
from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.settings import check_number
from datacondense.studies.named_sets import check_made
from datacondense.user_code import name_of

Fill: TypeAlias = Callable[[ImageSet, int, int], ImageSet]
"""From images, images per class and a seed to a small set of the same classes, such as `select_random`."""


class ReplayMemory:
    """A memory that grows with each stage by `ipc` images per class, made of the new images alone.

    Attributes:
        ipc: Images per class of each stage.
        sets: What is kept of each stage, in order.
    """

    def __init__(
        self,
        ipc: int,
        fill: Fill | MethodConfig | None = None,
        *,
        run: RunConfig | None = None,
        seed: int = 0,
        sets: Sequence[ImageSet] = (),
    ) -> None:
        """Create a memory.

        Args:
            ipc: Images per class of each stage.
            fill: What makes the images: the settings of a method, or a function `(images, ipc, seed) -> ImageSet`, such
                as `select_random`; gradient matching where None.
            run: How long a method runs.
            seed: Seed of the first stage; each stage adds one.
            sets: What an earlier memory has kept, to go on with it.

        Raises:
            InputError: `ipc` is below 1, or `run` is given with a function.
        """
        check_number("ipc", ipc, 1)
        fill = fill or GradientMatchingConfig()
        if run is not None and not isinstance(fill, MethodConfig):
            raise InputError("run says how long a method runs, but fill is a function: leave run out.")
        self.ipc = ipc
        self.sets = list(sets)
        self._fill, self._run, self._seed = fill, run or RunConfig(), seed

    def __len__(self) -> int:
        """Return the number of images."""
        return sum(map(len, self.sets))

    def add(self, stage: ImageSet) -> ImageSet:
        """Make the images of a new stage, and keep them.

        Args:
            stage: The new images; classes that the memory knows are recognised by their names.

        Returns:
            What is kept of the stage.

        Raises:
            InputError: The method or function refuses the images, or returns no set that can stand for them.
        """
        seed = self._seed + len(self.sets)
        if isinstance(self._fill, MethodConfig):
            made = condense(stage, replace(self._fill, ipc=self.ipc), replace(self._run, seed=seed))
        else:
            made = self._fill(stage, self.ipc, seed)
            check_made(made, stage, name_of(self._fill))
        joined([*self.sets, made])  # refuses images of another shape, before they are kept
        self.sets.append(made)
        return made

    @property
    def images(self) -> ImageSet:
        """All images, in the pixel scale of the first stage; classes that came later follow.

        `InputError` is raised while the memory is empty.
        """
        if not self.sets:
            raise InputError("The memory is empty: add a stage first.")
        return joined(self.sets)

    def torch_dataset(self, *, normalised: bool = True) -> TensorDataset:
        """Return all images as a torch data set of (image, label) pairs.

        Args:
            normalised: Whether images are normalised, or in pixel scale.

        Returns:
            The data set, in memory.

        Raises:
            InputError: The memory is empty.
        """
        return self.images.torch_dataset(normalised=normalised)
