"""Accuracy of condensed sets under the paper's evaluation, one record per data set and seed.

    python benchmarks/accuracy.py --dataset mnist --seeds 0 1 2 --iterations 200 --real-batch 64 --image-lr 0.5 \
        --precision bfloat16

Runs continue where they stopped: condensation from its checkpoint, and a seed whose record exists is skipped.
Choose settings on validation splits of the training images (--validate); the test images score the final set once.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, header

from datacondense.allocator import keep_freed_memory
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import Progress, RunConfig, condense
from datacondense.data.config import DataConfig
from datacondense.data.sources import load
from datacondense.data.validation import hold_out
from datacondense.evaluation.protocol import EvaluationConfig
from datacondense.evaluation.scoring import evaluate
from datacondense.files import write_text
from datacondense.run_folder import RunFolder


def run_name(options: argparse.Namespace, seed: int) -> str:
    """Return the name of a run, unique among those of other settings and seeds."""
    # Records are named after their runs; "draws" are iterations.
    return f"{options.dataset}-ipc{options.ipc}-draws{options.iterations}-lr{options.image_lr:g}-seed{seed}"


def one_seed(options: argparse.Namespace, seed: int, runs: Path) -> dict[str, Any]:
    """Condense and score with one seed."""
    splits = load(options.dataset, DataConfig())
    assert splits.test is not None
    method = GradientMatchingConfig(
        ipc=options.ipc,
        network=options.network,
        real_batch=options.real_batch,
        image_lr=options.image_lr,
        precision=options.precision,
        network_epochs=options.network_epochs,
        start=options.start,
    )
    train, validation = splits.train, None
    if options.validate:
        train, validation = hold_out(train, 0.04, seed)
    run = RunConfig(
        seed=seed,
        iterations=options.iterations,
        validate_every=options.validate,
        validation_networks=options.validation_networks,
        time_limit=options.time_limit,
    )

    def report(progress: Progress) -> None:
        done = progress.step
        if progress.validation is not None or (done.inner == 0 and done.outer % 20 == 0):
            print(
                f"{options.dataset} seed {seed} iteration {done.outer + 1} loss {progress.loss:.1f} "
                f"{progress.seconds:.0f} s {progress.validation or ''}",
                flush=True,
            )

    folder = runs / (run_name(options, seed) + ("-validated" if options.validate else ""))
    condensed = condense(
        train, method, run, validation=validation, directory=folder, resume=True, observer=report
    )
    metrics = RunFolder(folder).metrics()
    record: dict[str, Any] = {
        "seed": seed,
        "iterations_done": condensed.provenance["iterations_done"],
        "condensing_seconds": metrics[-1]["seconds"],
        "fingerprint": condensed.fingerprint,
        "validations": {str(m["iteration"] + 1): m["validation"] for m in metrics if "validation" in m},
        "method": asdict(method.resolved()),
        "run": asdict(run),
        "source": condensed.provenance["source"],
    }
    if not options.validate:
        began = time.monotonic()
        score = evaluate(
            condensed,
            splits.test,
            EvaluationConfig(repeats=options.repeats, seed=seed),
            observer=lambda n, a: print(f"{options.dataset} seed {seed} network {n} {a:.4f}", flush=True),
        )
        record |= {"score": score.as_dict(), "evaluation_seconds": time.monotonic() - began}
    return record


def main() -> None:
    """Run every seed that has no record yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--ipc", type=int, default=1)
    parser.add_argument("--network", default="convnet")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=1000)
    parser.add_argument("--time-limit", default=None)
    parser.add_argument("--real-batch", type=int, default=256)
    parser.add_argument("--image-lr", type=float, default=0.1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--validate", type=int, default=0, help="score a validation split every N iterations")
    parser.add_argument("--validation-networks", type=int, default=3)
    parser.add_argument("--network-epochs", type=int, default=None, help="default: published rule")
    parser.add_argument("--start", choices=["noise", "real"], default="noise")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of unfinished runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    kind = "validation" if options.validate else "accuracy"
    for seed in options.seeds:
        path = options.out / f"{kind}-{run_name(options, seed)}.json"
        if path.exists():
            continue
        record = {**header(options.threads), **one_seed(options, seed, options.runs)}
        write_text(path, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
