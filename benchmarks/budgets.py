"""The best set in a time: a row of `budgets.toml` and a seed at a time, all of a data set scored by one protocol.

    python benchmarks/budgets.py --rows cifar10-1-distribution-matching-factor-4 cifar10-1-random --runs runs

Runs continue from their checkpoints in --runs, and finished ones are scored; scoring has no clock, so that several such
commands may share it, each with --scoring-threads 1. --protocol scores all rows by another protocol, into a record of
its own; --repeats trains fewer networks on each set than the protocol says. With --fraction, sets are made without that
share of the training images and scored on it: that is how settings are found, and the test images are not touched.
"""

import tomllib
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import measure
import torch
from library import loaded

from datacondense import (
    EvaluationConfig,
    ImageSet,
    RunConfig,
    SelectionConfig,
    condense,
    evaluate,
    hold_out,
    select,
    soft_labelled,
    trained_teacher,
)
from datacondense.condensation.registry import method_named
from datacondense.data.data_source import DataSource
from datacondense.run_folder import RunFolder

TABLE = tomllib.loads(Path(__file__).with_name("budgets.toml").read_text(encoding="utf-8"))


def made(
    row: dict[str, Any], options: measure.Options, seed: int, train: ImageSet
) -> tuple[ImageSet, measure.Row]:
    """Condense for the time of a row, or select; with the seconds that it took."""
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in row["settings"].items()
    }
    if "budget" not in row:
        began = perf_counter()
        source = DataSource(name=row["dataset"], validation_fraction=options.fraction)
        config = SelectionConfig(method=row["method"], ipc=row["ipc"], seed=seed, **settings)
        return select(source, config, device=options.device), {"seconds": perf_counter() - began}
    folder = options.runs / f"{row['name']}{'-held-out' * bool(options.fraction)}-seed{seed}"
    method = method_named(row["method"])(ipc=row["ipc"], **settings)
    run = RunConfig(seed=seed, iterations=row.get("iterations", 10**6), time_limit=row["budget"])
    found = condense(train, method, run, directory=folder, resume=True, device=options.device)
    facts = {name: found.provenance[name] for name in ("iterations_done", "environment")}
    return found, {"seconds": RunFolder(folder).metrics()[-1]["seconds"], **facts}


@measure.benchmark(
    lambda options: "-".join(filter(None, ["budgets", options.protocol, "held-out" * bool(options.fraction)])),
    lambda options: measure.grid(row=options.rows, seed=options.seeds),
    lengths=("rows", "seeds", "runs", "scoring_threads", "repeats"), rows=[str], seeds=[0, 1, 2], runs=Path("runs"),
    protocol=str, fraction=0.0, device="cpu", scoring_threads=int, repeats=int,
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    rows = {row["name"]: row for row in TABLE["rows"]}
    row = rows[point["row"]]
    train, test = loaded(row["dataset"])
    if options.fraction:
        train, test = hold_out(train, options.fraction, 0)
    images, facts = made(rows[row["beside"]] if "soft_labels" in row else row, options, point["seed"], train)
    if "soft_labels" in row:
        source = DataSource(name=row["dataset"], validation_fraction=options.fraction)
        teacher = trained_teacher(
            row["soft_labels"], source, epochs=row["teacher_epochs"], device=options.device
        )
        images = soft_labelled(images, teacher, temperature=row["temperature"])
    protocol = TABLE["protocols"][options.protocol or row.get("protocol", row["dataset"])]
    if options.scoring_threads is not None:
        torch.set_num_threads(options.scoring_threads)
    scores: measure.Row = {}
    if options.repeats is not None:
        protocol = {**protocol, "repeats": options.repeats}
    config = EvaluationConfig(seed=point["seed"], **protocol)
    score = partial(evaluate, images, test, config, device=options.device)
    took = measure.seconds_of(lambda: scores.update(score=score().as_dict()))
    stored = {"stored_numbers": images.stored_numbers, "decoded_images": len(images) * images.factor**2}
    scored = {"evaluation_seconds": took, "evaluation_threads": torch.get_num_threads()}
    return {**row, **facts, **stored, **scores, **scored, "fingerprint": images.fingerprint}
