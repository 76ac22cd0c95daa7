"""Processor time of this source and of another one, such as the commit before, in interleaved pairs of processes.

    git worktree add ../before COMMIT
    python benchmarks/before_after.py --before ../before/src --pairs 8

Four quantities: a matching step, a step with the network's training, one network of an evaluation, and the demo at
reduced length. Each process uses one thread and counts processor time, which other programs disturb least.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from datacondense import (
    EvaluationConfig,
    GradientMatchingConfig,
    ImageSet,
    RunConfig,
    condense,
    evaluate,
    load,
)
from datacondense.allocator import keep_freed_memory

QUANTITIES = ("matching step", "inner training", "evaluation", "demo")


def random_set(per_class: int) -> ImageSet:
    """Build ten classes of noise, 3x32x32."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(10).repeat_interleave(per_class)
    images = torch.randint(0, 256, (len(labels), 3, 32, 32), generator=generator, dtype=torch.uint8)
    half, names = (0.5,) * 3, tuple(map(str, range(10)))
    return ImageSet(images=images, labels=labels, class_names=names, mean=half, std=half)


def run_config(number: int) -> RunConfig:
    """Set the length of a run, whatever the release calls it."""
    known = RunConfig.__dataclass_fields__
    length: dict[str, Any] = {"iterations" if "iterations" in known else "draws": number}
    return RunConfig(**length)


def prepared(quantity: str) -> Callable[[], Any]:
    """Return what is timed; what is set up before is not."""
    if quantity in {"matching step", "inner training"}:
        trained = quantity == "inner training"
        settings = GradientMatchingConfig(
            ipc=10 if trained else 1,
            network="convnet-w32-d3" if trained else "convnet",
            real_batch=4 if trained else 16,
            matching_steps=2 if trained else 1,
            network_epochs=10 if trained else 0,
        )
        return partial(condense, random_set(50), settings, run_config(1 if trained else 2))
    if quantity == "evaluation":
        protocol = EvaluationConfig(network="convnet-w32-d3", repeats=1, epochs=30, augmentation="none")
        return partial(evaluate, random_set(10), random_set(50), protocol)
    digits = load("digits")
    test = digits.test
    assert test is not None
    settings = GradientMatchingConfig(network="convnet-w32-d2", image_lr=1.0, real_batch=64)
    protocol = EvaluationConfig(network="convnet-w32-d2", repeats=1, epochs=100, augmentation="none")

    def demo() -> None:
        evaluate(condense(digits.train, settings, run_config(20)), test, protocol)

    return demo


def one_process(quantity: str) -> dict[str, Any]:
    """Time a quantity twice after a warm-up; the shorter time counts."""
    torch.set_num_threads(1)
    keep_freed_memory()
    call = prepared(quantity)
    times = []
    for _ in range(3):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return {"seconds": min(times[1:])}


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the medians, and the pairs one by one."""
    found = {}
    for quantity in QUANTITIES:
        times = {
            side: [row["seconds"] for row in rows if (row["quantity"], row["side"]) == (quantity, side)]
            for side in ("before", "after")
        }
        ratios = sorted(after / before for before, after in zip(times["before"], times["after"], strict=True))
        found[quantity] = {
            "before_seconds": median(times["before"]),
            "after_seconds": median(times["after"]),
            "ratio_of_medians": median(times["after"]) / median(times["before"]),
            "median_ratio": median(ratios),
            "ratios": ratios,
        }
    return found


def main() -> None:
    """Measure, or continue."""
    if "--child" in sys.argv:
        print(json.dumps(one_process(json.loads(sys.argv[-1])["quantity"])))
        return
    import measure  # noqa: PLC0415 — the other source may lack what it imports

    parser = measure.parser(__doc__, "before-after")
    parser.add_argument("--before", type=Path, help="the other source folder")
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    record = measure.Record(options.out, {"before": measure.code_version(options.before)}, 1)
    sources = {"before": options.before.resolve(), "after": measure.RESULTS.parents[1] / "src"}
    for pair in range(options.pairs):
        for quantity in QUANTITIES:
            for side in ("before", "after") if pair % 2 else ("after", "before"):
                point = {"pair": pair, "quantity": quantity, "side": side}
                child = (sys.argv[0], "--child", json.dumps(point))
                record.add(point, partial(measure.run_child, *child, PYTHONPATH=str(sources[side])))
    record.write(summary=summarise(record.rows))
    print(json.dumps(record.content["summary"], indent=1))


if __name__ == "__main__":
    main()
