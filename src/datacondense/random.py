"""Independent random generators from (seed, purpose, index); nothing else creates seeds.

A generator has no history: the one for iteration 17 of a run is a function of the seed and the number 17, not of what
was drawn before. A checkpoint therefore holds counters instead of generator states, and a resumed run draws what the
uninterrupted run would have drawn. Generators live on the CPU, so every device sees the same numbers.
"""

import hashlib

import torch

from datacondense.errors import InputError


def seeded_generator(seed: int, purpose: str, *index: int) -> torch.Generator:
    """Return a fresh CPU generator, independent of that of every other (seed, purpose, index)."""
    if seed < 0:
        raise InputError(f"seed is {seed}, but seeds are whole numbers from 0: choose one such as --seed 0.")
    key = "/".join([str(seed), purpose, *map(str, index)])
    digest = hashlib.sha256(key.encode()).digest()
    # 63 bits, because torch versions agree on seeds that are non-negative signed integers.
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
