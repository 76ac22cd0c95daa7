"""Representative real batches (Liu et al., ICCV 2023, "DREAM"): images near the centres of clusters of features."""

import warnings
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from datacondense.condensation.sampler import Sampler
from datacondense.condensation.state import Step
from datacondense.networks.backend import Backend, first_order_model
from datacondense.networks.features import embedding_network
from datacondense.networks.network import Network

_POOL = 8  # images of a class that are clustered, in batches
_LLOYD_STEPS = 10
_AT_ONCE = 500  # images per forward pass


def nearest_to_centres(features: Tensor, number: int) -> Tensor:
    """Return the positions of images that stand for all: for each centre of k-means, the nearest not taken before.

    Args:
        features: Features of images in random order `[M, D]`; clusters begin at the first of them.
        number: Clusters, B.

    Returns:
        Positions `[min(B, M)]` on the CPU, in the order of the clusters.
    """
    if len(features) <= number:
        return torch.arange(len(features))
    from sklearn.cluster import KMeans  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    features = features.cpu()
    kmeans = KMeans(number, init=features[:number].numpy(), n_init=1, max_iter=_LLOYD_STEPS)
    # Threads would add the members of a cluster in an order that changes from run to run.
    # Equal images make fewer clusters, which would be warned of.
    with threadpool_limits(1), warnings.catch_warnings(action="ignore"):
        centres = torch.from_numpy(kmeans.fit(features.numpy()).cluster_centers_)
    nearest: list[int] = []
    for distances in torch.cdist(centres, features):
        distances[nearest] = torch.inf
        nearest.append(int(distances.argmin()))
    return torch.tensor(nearest)


class Representatives:
    """Real batches that are representative of their class; a function of the seed and the step, as random ones are.

    Batches change every few steps of the run. Those of a step are of 8 times as many random images of the class, by
    the features of the untrained network of that iteration: what it learns between steps does not count.
    """

    def __init__(
        self,
        sampler: Sampler,
        network: Network,
        backend: Backend,
        *,
        size: int,
        every: int,
        per_iteration: int,
    ) -> None:
        self._sampler, self._network = sampler, embedding_network(network)
        self._model = first_order_model(self._network, backend)
        self._size, self._every, self._per_iteration = size, every, per_iteration
        self._latest: tuple[int, Callable[[int], Tensor]] | None = None

    def batch(self, label: int, step: Step) -> Tensor:
        """Return normalised real images `[B, C, H, W]` of a class, none twice: all where the class has fewer."""
        number = step.outer * self._per_iteration + step.inner
        number -= number % self._every
        if self._latest is None or self._latest[0] != number:
            self._latest = number, cache(self._positions(Step(*divmod(number, self._per_iteration))))
        return self._sampler.images(self._latest[1](label))

    def _positions(self, step: Step) -> Callable[[int], Tensor]:
        """Return the function from a class to its positions `[B]` in the training set, found anew at a step."""
        sampler = self._sampler
        parameters = sampler.network(self._network, "network", step.outer)
        buffers = sampler.frozen_buffers(self._network, parameters, *step)
        features = partial(self._model, parameters, buffers=buffers)

        @torch.no_grad()
        def positions(label: int) -> Tensor:
            pool = sampler.positions(label, _POOL * self._size, "representative", *step)
            parts = [features(sampler.images(part)).flatten(1) for part in pool.split(_AT_ONCE)]
            return pool[nearest_to_centres(torch.cat(parts), self._size).to(pool.device)]

        return positions
