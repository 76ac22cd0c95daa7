"""Streams are functions of (seed, purpose, index), and of nothing else."""

import pytest
import torch

from datacondense.errors import InputError
from datacondense.random import seeded_generator


def draw(generator: torch.Generator) -> list[float]:
    return torch.rand(4, generator=generator).tolist()


def test_equal_arguments_give_equal_numbers() -> None:
    assert draw(seeded_generator(3, "network", 1, 2)) == draw(seeded_generator(3, "network", 1, 2))


def test_any_other_argument_gives_other_numbers() -> None:
    streams = [
        seeded_generator(0, "network"),
        seeded_generator(1, "network"),
        seeded_generator(0, "real"),
        seeded_generator(0, "network", 0),
        seeded_generator(0, "network", 1),
        seeded_generator(0, "network", 0, 1),
        seeded_generator(0, "network", 1, 0),
        seeded_generator(0, "network", 10),
        seeded_generator(10, "network"),
        seeded_generator(2**70, "network"),
    ]
    assert len({tuple(draw(generator)) for generator in streams}) == len(streams)


def test_history_does_not_matter() -> None:
    expected = draw(seeded_generator(0, "real", 5))
    for index in range(5):
        draw(seeded_generator(0, "real", index))
    assert draw(seeded_generator(0, "real", 5)) == expected


def test_derivation_is_pinned() -> None:
    # Saved runs are only resumed and repeated alike while these values stay. SHA-256 of "0/start", first 8 bytes.
    assert seeded_generator(0, "start").initial_seed() == 2908242607033940253
    assert seeded_generator(7, "real", 2, 13).initial_seed() == 239875366668436558


def test_numbers_of_a_generator_are_pinned() -> None:
    expected = [0.643190, 0.658365, 0.248182, 0.501274]
    assert draw(seeded_generator(0, "start")) == pytest.approx(expected, abs=1e-6)


def test_seeds_spread_over_the_full_range() -> None:
    seeds = [seeded_generator(seed, "network").initial_seed() for seed in range(200)]
    assert len(set(seeds)) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62


def test_generators_look_independent() -> None:
    columns = torch.stack([
        torch.rand(2000, generator=seeded_generator(0, "real", index)) for index in range(4)
    ])
    correlations = torch.corrcoef(columns) - torch.eye(4)
    assert correlations.abs().max().item() < 0.1


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    draw(seeded_generator(0, "start"))
    assert torch.equal(torch.get_rng_state(), before)


def test_generator_lives_on_the_cpu() -> None:
    assert seeded_generator(0, "start").device == torch.device("cpu")


def test_negative_seed_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"seed is -1, but seeds are whole numbers from 0: choose one such as --seed 0"
    ):
        seeded_generator(-1, "start")
