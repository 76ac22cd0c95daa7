"""Made measurements of gradient noise, for the tests of pages and plots."""

from datacondense.matching.decomposition import Component, Decomposition
from datacondense.studies.noise_running import NoiseEntry, NoiseResult, Variant

ENVIRONMENT = {"engine": "fused", "threads": 1}


def parts(*shares: float, half: float | None = 0.05) -> Decomposition:
    """Return four parts of a squared length of 2, with intervals of share ± half."""
    found = [
        Component(
            squared_length=2 * share,
            share=share,
            interval=None if half is None else (share - half, share + half),
        )
        for share in shares
    ]
    return Decomposition(data=found[0], network=found[1], batch=found[2], interaction=found[3])


def made(
    entries: dict[Variant, NoiseEntry], networks: tuple[str, ...], variants: tuple[str, ...] = ("none",)
) -> NoiseResult:
    """Return a measurement."""
    return NoiseResult(networks=networks, variants=variants, entries=entries, environments=[ENVIRONMENT])


ONE = NoiseEntry(
    parts(0.1, 0.6, -0.0004, 0.3),
    (("cat", parts(0.2, 0.5, 0.1, 0.2)), ("do*g", None)),
)
TWO = NoiseEntry(parts(0.5, 0.25, 0.125, 0.125, half=0.7), (("cat", parts(0.5, 0.25, 0.125, 0.125)),))
RESULT = made(
    {("convnet", "none"): ONE, ("mlp", "max-pool-1"): TWO}, ("convnet", "mlp"), ("none", "max-pool-1")
)
