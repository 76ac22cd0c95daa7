"""Accuracy of condensed sets under the paper's evaluation, a row for each seed.

    python benchmarks/accuracy.py --dataset mnist --iterations 200 --real-batch 64 --image-lr 0.5

Runs continue from their checkpoints in --runs. With --validate N, states are scored on held-out images instead.
"""

from dataclasses import asdict
from pathlib import Path

import measure
from library import loaded

from datacondense import EvaluationConfig, GradientMatchingConfig, RunConfig, condense, evaluate, hold_out
from datacondense.run_folder import RunFolder

METHOD = ("ipc", "network", "real_batch", "image_lr", "precision", "network_epochs", "start")


def run_name(options: measure.Options) -> str:
    """Return what a run is called; earlier records are named alike, after their "draws"."""
    return f"{options.dataset}-ipc{options.ipc}-draws{options.iterations}-lr{options.image_lr:g}"


@measure.benchmark(
    lambda options: f"{'validation' if options.validate else 'accuracy'}-{run_name(options)}", measure.of_seeds,
    lengths=("seeds", "runs"), dataset="mnist", ipc=1, network="convnet", seeds=[0, 1, 2], iterations=1000,
    time_limit=str, real_batch=256, image_lr=0.1, precision="float32", repeats=20, validate=0, validation_networks=3,
    network_epochs=int, start="noise", runs=Path("runs"),
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    seed = point["seed"]
    train, test = loaded(options.dataset)
    method = GradientMatchingConfig(**{name: getattr(options, name) for name in METHOD})
    train, validation = hold_out(train, 0.04, seed) if options.validate else (train, None)
    limits = {name: getattr(options, name) for name in ("iterations", "time_limit", "validation_networks")}
    run = RunConfig(seed=seed, validate_every=options.validate, **limits)
    folder = options.runs / (f"{run_name(options)}-seed{seed}" + "-validated" * bool(options.validate))
    condensed = condense(train, method, run, validation=validation, directory=folder, resume=True)
    metrics = RunFolder(folder).metrics()
    row: measure.Row = {
        **{name: condensed.provenance[name] for name in ("iterations_done", "source")},
        "condensing_seconds": metrics[-1]["seconds"],
        "fingerprint": condensed.fingerprint,
        "validations": {str(m["iteration"] + 1): m["validation"] for m in metrics if "validation" in m},
        "method": asdict(method.resolved()),
        "run": asdict(run),
    }
    if not options.validate:
        config = EvaluationConfig(repeats=options.repeats, seed=seed)
        scoring = measure.seconds_of(lambda: row.update(score=evaluate(condensed, test, config).as_dict()))
        row["evaluation_seconds"] = scoring
    return row
