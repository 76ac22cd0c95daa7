"""Selections against a library of other authors.

Greedy k-center after its first centre is farthest point sampling, for which `fpsample` stands. Of herding no small and
independent implementation is known: coreax herds by kernels, which is the same rule for rows of equal norm alone, and
stands on JAX; collections of continual learning herd inside buffers that belong to their own training loops. Herding is
therefore held against its definition in exact arithmetic alone, in test_herding.py.
"""

import pytest
import torch

from datacondense.selection.k_center import farthest_first


@pytest.mark.parametrize(("n", "width", "count"), [(40, 2, 40), (500, 16, 60), (300, 200, 25)])
def test_k_center_goes_on_as_farthest_point_sampling(n: int, width: int, count: int) -> None:
    fpsample = pytest.importorskip("fpsample", reason="has no wheel for every Python and platform")
    # Made in float32, the precision in which fpsample computes; random distances have no near ties.
    features = torch.randn(n, width, generator=torch.Generator().manual_seed(n))
    ours = farthest_first(features, count)
    theirs = fpsample.fps_sampling(features.numpy(), count, start_idx=int(ours[0]))
    assert ours.tolist() == theirs.tolist()
