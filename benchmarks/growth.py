"""How time and memory of a matching step grow with classes, images per class, their size, and stored images.

    python benchmarks/growth.py

Each point is measured in a fresh process: one step to warm up, then the median of three. The point "limit" is a large
problem that must stay within 4 GiB; its step also trains the network.
"""

import argparse
from typing import Any

import measure
from library import MatchingSteps, add_settings, random_set, settings

from datacondense import GradientMatchingConfig

CURVES: dict[str, list[int]] = {
    "classes": [10, 20, 50, 100, 200],
    "ipc": [1, 10, 20, 50],
    "side": [32, 64, 96, 128],
    "stored": [1_000, 10_000, 100_000, 1_000_000],
}
FIXED: dict[str, dict[str, int]] = {
    "classes": {"ipc": 1, "channels": 3, "side": 32, "real_batch": 64},
    "ipc": {"classes": 10, "channels": 3, "side": 32, "real_batch": 64},
    "side": {"classes": 2, "ipc": 1, "channels": 3, "real_batch": 16},
    "stored": {"classes": 10, "ipc": 1, "channels": 1, "side": 28, "real_batch": 16},
}
LIMIT = {"classes": 200, "ipc": 10, "channels": 3, "side": 64, "real_batch": 16}
LIMIT_MEGABYTES = 4096


def points(options: argparse.Namespace) -> list[measure.Point]:
    """Return every point of the requested curves."""
    wanted = [
        {"curve": curve, **FIXED[curve], curve: value}
        for curve in options.curves
        for value in CURVES[curve]
        if options.largest is None or value <= options.largest
    ]
    return wanted + ([{"curve": "limit", **LIMIT}] if options.limit else [])


def one_process(options: argparse.Namespace, point: measure.Point) -> measure.Row:
    """Measure one point in this process."""
    shape = (point["channels"], point["side"], point["side"])
    # Twice the batch, so that no class is drawn with replacement, unless the point sets the number of stored images.
    per_class = max(1, point.get("stored", 2 * point["real_batch"] * point["classes"]) // point["classes"])
    train = random_set(shape, point["classes"], per_class)
    config = GradientMatchingConfig(
        ipc=point["ipc"],
        real_batch=point["real_batch"],
        precision=options.precision,
        matching_steps=2 if point["curve"] == "limit" else 1,
        network_epochs=1,
        **settings(options.set),
    )
    before = measure.peak_megabytes()
    step = MatchingSteps(train, config)
    measured = {**measure.timed(step, options.steps), "engine": step.engine, "precision": step.precision}
    sets = (train.images.nbytes + 4 * 4 * point["classes"] * point["ipc"] * train.images[0].numel()) / 2**20
    return {**measured, "megabytes_before": before, "megabytes_sets": sets}


def summarise(options: argparse.Namespace, record: measure.Row) -> measure.Row:
    """Return seconds and memory along each curve, also relative to its first point."""
    summary: dict[str, Any] = {}
    for curve in CURVES:
        rows = [row for row in record["rows"] if row["curve"] == curve]
        summary |= {curve: [_entry(row, rows[0], curve) for row in rows]} if rows else {}
    for row in record["rows"]:
        if row["curve"] == "limit":
            within = row["megabytes_peak"] < LIMIT_MEGABYTES
            summary["limit"] = {"megabytes_peak": row["megabytes_peak"], "within_4_gib": within}
    return summary


def _entry(row: measure.Row, first: measure.Row, curve: str) -> measure.Row:
    """Return one point of a curve."""
    return {
        curve: row[curve],
        "seconds": row["seconds"],
        "megabytes_peak": row["megabytes_peak"],
        "times_first": {
            "value": row[curve] / first[curve],
            "seconds": row["seconds"] / first["seconds"],
            "megabytes_peak": row["megabytes_peak"] / first["megabytes_peak"],
        },
    }


def main() -> None:
    """Run or continue the measurement."""
    parser = measure.parser(__doc__, "growth")
    parser.add_argument("--curves", nargs="*", choices=CURVES, default=list(CURVES))
    parser.add_argument("--limit", action="store_true", help="also measure the large problem")
    parser.add_argument("--largest", type=int, default=None, help="leave out points above this value")
    parser.add_argument("--steps", type=int, default=3, help="timed steps per point")
    add_settings(parser, "--set", GradientMatchingConfig)
    parser.add_argument("--precision", default="bfloat16")
    options = parser.parse_args()
    measure.benchmark(
        options, points(options), one_process, summarise, lengths=("curves", "limit", "largest")
    )


if __name__ == "__main__":
    main()
