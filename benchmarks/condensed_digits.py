"""The sets of digits that come with the library, and how they score beside random images.

    python benchmarks/condensed_digits.py --threads 1

Each is what `datacondense condense digits --method dm --ipc N --network convnet-w32-d2 --real-batch 64 --iterations
1000 --threads 1 --out RUN` writes, and is saved to `src/datacondense/condensed`.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace

import measure
from tables import mean_std, record, table

from datacondense import (
    DistributionMatchingConfig,
    EvaluationConfig,
    ImageSet,
    RunConfig,
    condense,
    evaluate,
    load,
    select_random,
)

NETWORK = "convnet-w32-d2"
FOLDER = measure.RESULTS.parents[1] / "src" / "datacondense" / "condensed"


@measure.benchmark(
    "condensed-digits", lambda options: measure.grid(ipc=options.ipcs),
    ipcs=[1, 10], iterations=1000, repeats=5, epochs=300,
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    splits, found = load("digits"), dict[str, ImageSet]()
    assert splits.test is not None
    method = DistributionMatchingConfig(ipc=point["ipc"], network=NETWORK, real_batch=64)
    run = RunConfig(iterations=options.iterations)
    seconds = measure.seconds_of(lambda: found.update(made=condense(splits.train, method, run)))
    found["made"].save(FOLDER / f"digits-{point['ipc']}.safetensors")
    protocol: measure.Row = {"network": NETWORK, "epochs": options.epochs, "augmentation": "dsa"}  # for both
    config = EvaluationConfig(repeats=options.repeats, **protocol)
    score = evaluate(found["made"], splits.test, config).as_dict()
    random = [
        evaluate(
            select_random(splits.train, point["ipc"], seed),
            splits.test,
            replace(config, repeats=1, seed=seed),
        ).mean
        for seed in range(options.repeats)
    ]
    settings = {"method": asdict(method), "iterations": run.iterations, "seed": run.seed}
    facts = {"seconds": seconds, "fingerprint": found["made"].fingerprint, "random_accuracies": random}
    return {**settings, **facts, "score": score}


@table("set | images | accuracy | as many random real images | networks")
def sets() -> Iterator[str]:
    for row in record("condensed-digits")["rows"]:
        condensed, random = row["score"]["accuracies"], row["random_accuracies"]
        yield " | ".join([
            f"`digits-{row['ipc']}`",
            str(10 * row["ipc"]),
            f"**{mean_std(condensed)}**",
            mean_std(random),
            str(len(condensed)),
        ])
