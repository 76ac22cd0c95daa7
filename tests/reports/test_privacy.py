"""Distances to training images, and the attack by them."""

import pytest
import torch
from torch import Tensor

from datacondense.reports import privacy
from datacondense.reports.privacy import auc, measure_privacy, nearest


def random(number: int, seed: int = 0, *, level: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return level + torch.rand(number, 2, 3, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("chunk", [3, 100])
def test_nearest_images_are_those_of_loops(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy, "_CHUNK", chunk)
    queries, images = random(4), random(10, 1)
    found = nearest(queries, images, 2)
    for query, distances, positions in zip(queries, *found, strict=True):
        known = sorted((float((query - other).square().mean().sqrt()), at) for at, other in enumerate(images))
        assert positions.tolist() == [at for _, at in known[:2]]
        assert distances.tolist() == pytest.approx([distance for distance, _ in known[:2]], rel=1e-12)


def test_an_image_can_be_left_out() -> None:
    images = random(7)
    alone = torch.tensor([2, 5])
    found = nearest(images[alone], images, 1, skipped=alone)
    assert nearest(images[alone], images, 1).distances.tolist() == [[0.0], [0.0]]
    assert (found.distances > 0).all()
    assert not (found.positions.flatten() == alone).any()


def test_area_under_the_curve_and_interval_by_hand() -> None:
    # Of four pairs three are in order and one is tied. V10 is (1, 3/4), as is V01; each has the variance 1/32.
    found = auc(torch.tensor([3.0, 2.0]), torch.tensor([1.0, 2.0]))
    reach = 1.96 * (2 * (1 / 32) / 2) ** 0.5
    assert found == pytest.approx((0.875, 0.875 - reach, 1.0, 2, 2))
    assert auc(torch.tensor([1.0]), torch.tensor([2.0])).auc == 0


def test_a_copied_training_image_is_found_in_bytes_too() -> None:
    train = (random(20) * 255).to(torch.uint8)
    synthetic = torch.cat([random(3, 1), train[7:8].double() / 255])
    found = measure_privacy(synthetic, train)
    assert found.nearest.distances.shape == (4, 3)
    assert found.nearest.positions[3, 0] == 7
    assert found.nearest.distances[3, 0] == 0
    assert (found.nearest.distances[:3] > 0.01).all()
    assert found.attack is None
    assert found.quantiles(0.0, 1.0)[0] == (0.0, float(found.among_real[0]))


def test_copies_betray_the_training_images_and_strangers_nothing() -> None:
    train, test = random(60), random(60, 1)
    betrayed = measure_privacy(train, train, test).attack
    assert betrayed is not None
    assert betrayed.auc == 1
    assert (betrayed.n, betrayed.others) == (60, 60)
    guessed = measure_privacy(random(5, 2), train, test).attack
    assert guessed is not None
    assert guessed.low < 0.5 < guessed.high


def test_large_sets_are_sampled_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("_MOST_SYNTHETIC", 4), ("_MOST_REAL", 5), ("_MOST_ATTACKED", 6)):
        monkeypatch.setattr(privacy, name, number)
    found = measure_privacy(random(9), random(30, 1), random(7, 2))
    assert (len(found.nearest.distances), len(found.among_real)) == (4, 5)
    assert found.attack is not None
    assert (found.attack.n, found.attack.others) == (6, 6)
    again = measure_privacy(random(9), random(30, 1), random(7, 2))
    assert torch.equal(found.among_real, again.among_real)
    assert torch.equal(found.synthetic, found.synthetic.sort().values)
