"""Peak memory of condensing K = 10 and K = 100 classes, each in a fresh process.

    python benchmarks/memory.py

The sets grow with K; what the run needs beyond them must not. At 1 image per class only matching is measured; at 30 the
network is also trained between matching steps, on full batches of 256 for either K.
"""

import argparse
import json
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, header, peak_megabytes

from datacondense.allocator import keep_freed_memory
from datacondense.condensation.gradient_matching import GradientMatchingConfig
from datacondense.condensation.loop import RunConfig, condense
from datacondense.files import write_text
from datacondense.image_set import ImageSet


def measure(num_classes: int, ipc: int, batch: int, side: int) -> dict[str, Any]:
    """Condense random images for one iteration and read the peak."""
    keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat_interleave(batch)
    train = ImageSet(
        images=torch.randint(0, 256, (len(labels), 3, side, side), generator=generator, dtype=torch.uint8),
        labels=labels,
        class_names=tuple(map(str, range(num_classes))),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )
    before = peak_megabytes()
    steps = 1 if ipc == 1 else 2
    method = GradientMatchingConfig(ipc=ipc, matching_steps=steps, network_epochs=1, real_batch=batch)
    condensed = condense(train, method, RunConfig(iterations=1))
    sets = (train.images.nbytes + 4 * condensed.images.nbytes) / 2**20  # images, momentum, gradient, result
    return {
        "classes": num_classes,
        "ipc": ipc,
        "real_batch": batch,
        "side": side,
        "megabytes_before": before,
        "megabytes_peak": peak_megabytes(),
        "megabytes_sets": sets,
    }


def main() -> None:
    """Measure each K in a fresh process and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--ipc", type=int, nargs="+", default=[1])
    parser.add_argument("--real-batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--one", action="store_true", help="measure in this process and print")
    parser.add_argument("--out", type=Path, default=RESULTS / "memory.json", help="the record to write")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.classes[0], options.ipc[0], options.real_batch, options.side)))
        return
    rows = []
    for ipc, num_classes in product(options.ipc, options.classes):
        command = [sys.executable, __file__, "--one", "--classes", str(num_classes)]
        command += ["--ipc", str(ipc), "--real-batch", str(options.real_batch), "--side", str(options.side)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(rows[-1], flush=True)
    record = {**header(torch.get_num_threads()), "rows": rows}
    del record["hardware"]["processor"]  # earlier records have no such field
    write_text(options.out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
