"""How time and memory of a matching step grow with classes, images per class, their size, and stored images.

    python benchmarks/growth.py

Each point is measured in a fresh process: one step to warm up, then the median of --steps. --limit adds a large problem
that must stay within 4 GiB; its step also trains the network.
"""

import measure
from library import MatchingSteps, random_set

CURVES = {
    "classes": [10, 20, 50, 100, 200],
    "ipc": [1, 10, 20, 50],
    "side": [32, 64, 96, 128],
    "stored": [1_000, 10_000, 100_000, 1_000_000],
}
FIXED: dict[str, measure.Point] = {
    "classes": {"ipc": 1, "channels": 3, "side": 32, "real_batch": 64},
    "ipc": {"classes": 10, "channels": 3, "side": 32, "real_batch": 64},
    "side": {"classes": 2, "ipc": 1, "channels": 3, "real_batch": 16},
    "stored": {"classes": 10, "ipc": 1, "channels": 1, "side": 28, "real_batch": 16},
}
LIMIT = {"classes": 200, "ipc": 10, "channels": 3, "side": 64, "real_batch": 16}


def points(options: measure.Options) -> list[measure.Point]:
    """Return every point."""
    wanted = [
        {"curve": name, **FIXED[name], name: value} for name, values in CURVES.items() for value in values
    ]
    return wanted + [{"curve": "limit", **LIMIT}] * options.limit


def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    """Measure one point in this process."""
    shape, batch = (point["channels"], point["side"], point["side"]), point["real_batch"]
    # Twice the batch, so that no class is drawn with replacement, unless the point sets the number of stored images.
    per_class = max(1, point.get("stored", 2 * batch * point["classes"]) // point["classes"])
    train = random_set(shape, point["classes"], per_class)
    before, given = measure.peak_megabytes(), {"ipc": point["ipc"], "real_batch": batch, "network_epochs": 1}
    step = MatchingSteps(options, train, matching_steps=2 if point["curve"] == "limit" else 1, **given)
    sets = (train.images.nbytes + 4 * 4 * point["classes"] * point["ipc"] * train.images[0].numel()) / 2**20
    memory = {"megabytes_before": before, "megabytes_sets": sets}
    return {**measure.timed(step, options.steps), **step.backend, **memory}


if __name__ == "__main__":
    measure.benchmark(
        "growth", one_process, points=points, lengths=("limit",), limit=False, steps=3, set=[str], precision="bfloat16"
    )  # fmt: skip
