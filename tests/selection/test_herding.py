"""Herding against its definition, its ties and its ends."""

from fractions import Fraction

import pytest
import torch
from torch import Tensor

from datacondense.errors import InputError
from datacondense.image_set import ImageSet
from datacondense.selection.herding import herding_order, select_herding


def by_definition(features: Tensor, count: int) -> list[int]:
    """Choose by the formula, in exact arithmetic and with no shared work."""
    rows = [[Fraction(value) for value in row] for row in features.double().tolist()]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    selected: list[int] = []
    for step in range(count):
        target = [(step + 1) * m - sum(rows[i][d] for i in selected) for d, m in enumerate(mean)]
        best, smallest = -1, Fraction(0)
        for candidate, row in enumerate(rows):
            square = sum(((t - f) ** 2 for t, f in zip(target, row, strict=True)), Fraction(0))
            if candidate not in selected and (best < 0 or square < smallest):
                best, smallest = candidate, square
        selected.append(best)
    return selected


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n", "width", "offset"), [(1, 3, 0.0), (7, 1, 0.0), (20, 5, 0.0), (30, 17, 1e9)])
def test_herding_equals_its_definition(n: int, width: int, offset: float, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(n)
    features = (torch.randn(n, width, generator=generator, dtype=torch.float64) + offset).to(dtype)
    expected = by_definition(features, n)
    for count in {1, (n + 1) // 2, n}:
        assert herding_order(features, count).tolist() == expected[:count]


def test_the_mean_of_the_selected_rows_comes_near_the_mean_of_all() -> None:
    features = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    selected = features[herding_order(features, 20)].mean(0)
    first = features[:20].mean(0)
    mean = features.mean(0)
    assert torch.dist(selected, mean) < 0.2 * torch.dist(first, mean)


def test_the_next_row_makes_up_for_the_rows_before() -> None:
    # Mean 2; the first choice is 3, so that 2·2 - 3 = 1 is wanted next, and 3·2 - 3 - 0 = 3 after it.
    assert herding_order(torch.tensor([[-2.0], [7.0], [3.0], [0.0]]), 4).tolist() == [2, 3, 1, 0]


def test_one_image_is_the_nearest_to_the_mean_of_its_class(tiny: ImageSet) -> None:
    features = tiny.normalised().flatten(1)
    for label, index in enumerate(select_herding(tiny, 1, features).provenance["indices"]):
        members = tiny.class_indices[label]
        distances = [float(torch.dist(features[members].mean(0), features[i])) for i in members]
        assert index == int(members[distances.index(min(distances))])


def test_of_equally_good_rows_the_lowest_is_selected() -> None:
    # Mean 0, then 0 is wanted again and again: -1 and 1 are equally good, then the other one is the better.
    assert herding_order(torch.tensor([[2.0], [1.0], [-1.0], [-2.0], [0.0]]), 5).tolist() == [4, 1, 2, 0, 3]
    assert herding_order(torch.tensor([[2.0], [-1.0], [1.0], [-2.0], [0.0]]), 5).tolist() == [4, 1, 2, 0, 3]


def test_ties_of_whole_numbers_are_seen_around_a_mean_that_no_float_holds() -> None:
    generator = torch.Generator().manual_seed(0)
    for n in [3, 5, 6, 7] * 20:
        features = torch.randint(0, 3, (n, 3), generator=generator).float()
        assert herding_order(features, n).tolist() == by_definition(features, n)


@pytest.mark.parametrize(("n", "width"), [(7, 64), (103, 63), (50, 300)])
def test_copies_are_selected_in_order(n: int, width: int) -> None:
    copies = torch.randn(1, width, generator=torch.Generator().manual_seed(0)).expand(n, width)
    assert herding_order(copies, n).tolist() == list(range(n))


@pytest.mark.parametrize("count", [0, 4])
def test_more_rows_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(InputError, match=f"count is {count}, but there are 3 rows .* give 1 to 3"):
        herding_order(torch.zeros(3, 2), count)
