"""How time and memory of a matching step grow with classes, images per class, their size, and stored images.

    python benchmarks/growth.py

--limit adds a large problem that must stay within 4 GiB; its step also trains the network.
"""

import measure
from library import MatchingSteps, random_set

# By curve: its values, and what is fixed along it.
CURVES: dict[str, tuple[list[int], measure.Point]] = {
    "classes": ([10, 20, 50, 100, 200], {"ipc": 1, "channels": 3, "side": 32, "real_batch": 64}),
    "ipc": ([1, 10, 20, 50], {"classes": 10, "channels": 3, "side": 32, "real_batch": 64}),
    "side": ([32, 64, 96, 128], {"classes": 2, "ipc": 1, "channels": 3, "real_batch": 16}),
    "stored": ([10**n for n in range(3, 7)], {"classes": 10, "ipc": 1, "channels": 1, "side": 28, "real_batch": 16}),
}  # fmt: skip
LIMIT = {"classes": 200, "ipc": 10, "channels": 3, "side": 64, "real_batch": 16}


def points(options: measure.Options) -> list[measure.Point]:
    """Return every point."""
    curves = [{"curve": k, **fixed, k: value} for k, (values, fixed) in CURVES.items() for value in values]
    return curves + [{"curve": "limit", **LIMIT}] * options.limit


@measure.benchmark(
    "growth", points, lengths=("limit",), limit=False, steps=3, set=[str], precision="bfloat16"
)
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    shape, batch = (point["channels"], point["side"], point["side"]), point["real_batch"]
    # Twice the batch, so that no class is drawn with replacement, unless the point sets the number of stored images.
    per_class = max(1, point.get("stored", 2 * batch * point["classes"]) // point["classes"])
    train = random_set(shape, point["classes"], per_class)
    before, given = measure.peak_megabytes(), {"ipc": point["ipc"], "real_batch": batch, "network_epochs": 1}
    step = MatchingSteps(options, train, matching_steps=2 if point["curve"] == "limit" else 1, **given)
    sets = (train.images.nbytes + 4 * 4 * point["classes"] * point["ipc"] * train.images[0].numel()) / 2**20
    memory = {"megabytes_before": before, "megabytes_sets": sets}
    return {**measure.timed(step, options.steps), **step.backend, **memory}
