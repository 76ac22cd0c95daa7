"""Greedy k-center against its definition, its ties and its ends."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.k_center import farthest_first, select_k_center


def by_definition(features: Tensor, count: int) -> list[int]:
    """Choose by the formula, in exact arithmetic and with no shared work."""
    rows = [[Fraction(value) for value in row] for row in features.double().tolist()]
    mean = [sum(column, Fraction(0)) / len(rows) for column in zip(*rows, strict=True)]
    to_mean = [square(row, mean) for row in rows]
    selected = [to_mean.index(min(to_mean))]
    while len(selected) < count:
        best, largest = -1, Fraction(-1)
        for candidate, row in enumerate(rows):
            nearest = min(square(row, rows[centre]) for centre in selected)
            if candidate not in selected and nearest > largest:
                best, largest = candidate, nearest
        selected.append(best)
    return selected


def square(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return sum(((x - y) ** 2 for x, y in zip(a, b, strict=True)), Fraction(0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "width", "offset"), [(1, 3, 0.0), (7, 1, 0.0), (20, 5, 0.0), (30, 17, 1e9)])
def test_k_center_equals_its_definition(n: int, width: int, offset: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(n)
    features = (torch.randn(n, width, generator=generator, dtype=torch.float64) + offset).to(dtype)
    expected = by_definition(features, n)
    for count in {1, (n + 1) // 2, n}:
        assert farthest_first(features, count).tolist() == expected[:count]


def test_every_cluster_gets_a_centre() -> None:
    generator = torch.Generator().manual_seed(0)
    centres = 100 * torch.eye(6)
    features = centres.repeat_interleave(10, 0) + torch.randn(60, 6, generator=generator)
    assert sorted((farthest_first(features, 6) // 10).tolist()) == [0, 1, 2, 3, 4, 5]


def test_small_distances_far_from_the_mean_are_not_lost() -> None:
    # Squares near 1e18 have no room for the squared distances 1, 4 and 9 in |a|² - 2ab + |b|².
    features = torch.tensor([[0.0], [1e9], [1e9 + 1], [1e9 + 3]], dtype=torch.float64)
    assert farthest_first(features, 4).tolist() == [1, 0, 3, 2]


def test_one_image_is_the_nearest_to_the_mean_of_its_class(tiny: ImageSet) -> None:
    features = tiny.normalised().flatten(1)
    for label, index in enumerate(select_k_center(tiny, 1, features).provenance["indices"]):
        members = tiny.class_indices[label]
        distances = [float(torch.dist(features[members].mean(0), features[i])) for i in members]
        assert index == int(members[distances.index(min(distances))])


def test_of_equally_good_rows_the_lowest_is_selected() -> None:
    # Mean 0: first the two ends are equally far from the centre, then 1 and -1 from theirs.
    assert farthest_first(torch.tensor([[1.0], [-2.0], [2.0], [-1.0], [0.0]]), 5).tolist() == [4, 1, 2, 0, 3]
    assert farthest_first(torch.tensor([[-1.0], [2.0], [-2.0], [1.0], [0.0]]), 5).tolist() == [4, 1, 2, 0, 3]


def test_ties_of_whole_numbers_are_seen_around_a_mean_that_no_float_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    for n in [3, 5, 6, 7] * 20:
        features = torch.randint(0, 3, (n, 3), generator=generator).float()
        assert farthest_first(features, n).tolist() == by_definition(features, n)


@pytest.mark.parametrize(("n", "width"), [(7, 64), (103, 63), (50, 300)])
def test_copies_are_selected_in_order(n: int, width: int) -> None:
    copies = torch.randn(1, width, generator=torch.Generator().manual_seed(0)).expand(n, width)
    assert farthest_first(copies, n).tolist() == list(range(n))


@pytest.mark.parametrize("count", [0, 4])
def test_more_rows_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"count is {count}, but there are 3 rows .* give 1 to 3"):
        farthest_first(torch.zeros(3, 2), count)
