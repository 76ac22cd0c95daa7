"""More images than memory holds: decoding them onto the disk, condensing from there, and steps on disk and in memory.

    python benchmarks/large_data.py --folder /scratch --images 1000000 --kinds jpg

The folder gets the images, a file each in folders of classes, and the cache; images that are there are used again.
Beyond `--distinct` images files are links to earlier ones, which takes no less time to decode.
"""

import os
import resource
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from statistics import median

import measure
import numpy as np
import torch
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from library import MatchingSteps
from PIL import Image

from datacondense import (
    DataConfig,
    DistributionMatchingConfig,
    GradientMatchingConfig,
    RunConfig,
    condense,
    load,
)
from datacondense.data.image_store import OBSERVER, Report
from datacondense.image_set import ImageSet

SIDE, AT_ONCE = 64, 2000
METHODS = {"gradient matching": GradientMatchingConfig, "distribution matching": DistributionMatchingConfig}


def points(options: measure.Options) -> Iterator[measure.Point]:
    """Return what is measured: building and opening a store for each kind of file, then condensing from the first."""
    size = {"images": options.images, "classes": options.classes}
    for what, kind in product(options.what, options.kinds):
        if what in {"build", "open"}:
            yield size | {"kind": kind, "what": what}
    for what, method in product(options.what, options.methods):
        if what in {"memory", "step"}:
            yield size | {"kind": options.kinds[0], "what": what, "method": method, "ipc": options.ipc}


def write_images(root: Path, kind: str, classes: int, start: int, stop: int) -> None:
    """Write smooth random images, which compress as photographs do and noise does not."""
    generator = np.random.default_rng(start)
    for number in range(start, stop):
        coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        folder = root / f"{number % classes:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(
            folder / f"{number:07d}.{kind}", quality=90
        )


def written(options: measure.Options, kind: str) -> Path:
    """Return the folder of the images, which are written where they are not there."""
    root: Path = options.folder / f"{kind}-{options.images}-{options.classes}"
    marker = root.with_suffix(".written")
    if not marker.exists():
        distinct = min(options.distinct, options.images)
        parts = ((start, min(start + AT_ONCE, distinct)) for start in range(0, distinct, AT_ONCE))
        Parallel(-1)(delayed(write_images)(root, kind, options.classes, *part) for part in parts)
        get_reusable_executor().shutdown(wait=True)
        for number in range(distinct, options.images):
            old, new = (
                root / f"{n % options.classes:03d}" / f"{n:07d}.{kind}" for n in (number % distinct, number)
            )
            new.hardlink_to(old)
        marker.touch()
    return root


def processor_seconds() -> float:
    """Return those of this process and of the ones that it has ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def build(source: Path) -> measure.Row:
    """Decode all images anew; the first files of the store tell when its processes had started."""
    reports: list[tuple[float, int]] = []

    @contextmanager
    def observer(_: int | None) -> Iterator[Report]:
        yield lambda done, rate: reports.append((time.perf_counter(), done))

    OBSERVER.set(observer)
    shutil.rmtree(Path(os.environ["XDG_CACHE_HOME"]) / "datacondense" / "images", ignore_errors=True)
    before, began = processor_seconds(), time.perf_counter()
    images = load(source, DataConfig(cache=True)).train
    seconds = time.perf_counter() - began
    get_reusable_executor().shutdown(wait=True)  # so that the seconds of its processes count
    (first, begun), (last, done) = reports[0], reports[-1]
    return {
        "seconds": seconds,
        "images_a_second": len(images) / seconds,
        "images_a_second_once_started": (done - begun) / (last - first),
        "processor_seconds": processor_seconds() - before,
        "store_megabytes": images.images.nbytes / 2**20,
        "megabytes_peak": measure.peak_megabytes(),
    }


def opened(source: Path) -> measure.Row:
    """Open the store that is there."""
    before, began = measure.peak_megabytes(), time.perf_counter()
    load(source, DataConfig(cache=True))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "megabytes_before": before, "megabytes_peak": measure.peak_megabytes()}


def peak(train: ImageSet, options: measure.Options, method: str) -> measure.Row:
    """Condense for some iterations."""
    loaded = measure.peak_megabytes()
    config = METHODS[method](ipc=options.ipc, real_batch=options.real_batch)
    began = time.perf_counter()
    condense(train, config, RunConfig(iterations=options.iterations))
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "megabytes_loaded": loaded, "megabytes_peak": measure.peak_megabytes()}


def steps(train: ImageSet, options: measure.Options, method: str) -> measure.Row:
    """Time steps on the same images on disk and in memory, in turn, after one of each; those of some classes.

    Other programs disturb processor time least; it has all of reading, since the files are in the system's cache.
    """
    classes = train.class_indices[: options.step_classes]
    few = train.subset(torch.cat([members[:1000] for members in classes]))
    few = replace(few, class_names=few.class_names[: len(classes)])
    sets = {"disk": few, "memory": replace(few, images=few.images[:])}
    run = {
        name: MatchingSteps(options, images, METHODS[method], ipc=options.ipc, real_batch=options.real_batch)
        for name, images in sets.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in run}
    processor: dict[str, list[float]] = {name: [] for name in run}
    for name in chain(run, *([("disk", "memory"), ("memory", "disk")] * (options.pairs // 2))):
        before = time.process_time()
        seconds[name].append(measure.seconds_of(run[name]))
        processor[name].append(time.process_time() - before)
    found: measure.Row = {}
    for kind, times in (("seconds", seconds), ("processor_seconds", processor)):
        ratios = [disk / memory for disk, memory in zip(times["disk"][1:], times["memory"][1:], strict=True)]
        found |= {f"{kind}_{name}": median(each[1:]) for name, each in times.items()}
        found |= {f"{kind}_ratio": median(ratios), f"{kind}_ratio_each": ratios}
    return found


@measure.benchmark(
    "large-data", points, lengths=("images", "classes", "ipc", "kinds", "what", "methods", "pairs", "folder"),
    images=1_000_000, classes=100, ipc=1, kinds=["jpg", "png"], what=["build", "open", "memory", "step"],
    methods=list(METHODS), folder=Path("large-data"), real_batch=64, iterations=1, pairs=10, distinct=50_000,
    step_classes=4, precision="auto", set=[str],
)  # fmt: skip
def one_process(options: measure.Options, point: measure.Point) -> measure.Row:
    source = written(options, point["kind"])
    os.environ["XDG_CACHE_HOME"] = str(options.folder / f"cache-{source.name}")
    if point["what"] in {"build", "open"}:
        return {"build": build, "open": opened}[point["what"]](source)
    train = load(source, DataConfig(cache=True)).train
    return {"memory": peak, "step": steps}[point["what"]](train, options, point["method"])
