"""Speed, memory and accuracy on one GPU in under 8 minutes, row by row, in one process, plain against the library.

    python benchmarks/gpu.py --data cifar10.npz --out gpu.json

--data is what `load` reads; a .npz with train_images, train_labels, test_images and test_labels needs no network. The
same command measures again what is missing or failed; --rows names kinds of rows. Of what the library depends on, tyro,
rich and datasets may be missing; where there is no network, carry a wheel of msgspec.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from importlib.metadata import version
from signal import ITIMER_REAL, SIGALRM, setitimer, signal
from statistics import median
from time import perf_counter
from typing import Any, NoReturn

import measure
import plain
import torch
from ceilings import ceilings
from evaluation import time_plain
from library import MatchingSteps, loaded, random_set
from matching_step import plain_steps
from torch import nn

import datacondense
from datacondense import EvaluationConfig, GradientMatchingConfig, RunConfig, condense, evaluate
from datacondense.environment import choose_device, environment
from datacondense.tasks.memory import peak_memory

Call = Callable[[], object]
KINDS = ["step", "inner", "evaluation", "accuracy", "networks", "methods"]  # those most wanted first
SIZES = {
    "shape": (3, 32, 32), "classes": 10, "real_batch": 256, "stored": 1000, "test": 10_000, "ipc": (1, 10, 50),
    "repeats": 10, "epochs": 50, "networks": 20, "epochs_scored": 300, "iterations": (100, 300, 1000),
    "convolution": (2560, 128, 32, 32), "copied": 2**29,
}  # fmt: skip
SMOKE = {
    "shape": (3, 8, 8), "classes": 2, "real_batch": 4, "stored": 6, "test": 8, "ipc": (1, 2),
    "repeats": 1, "epochs": 1, "networks": 2, "epochs_scored": 2, "iterations": (1, 2),
    "convolution": (4, 8, 8, 8), "copied": 2**10,
}  # fmt: skip


class Bench:
    """Measures rows, each by the method that is named as its kind."""

    def __init__(self, options: measure.Options) -> None:
        self.options, self.sizes = options, measure.Options(**(SMOKE if options.smoke else SIZES))
        self.device = choose_device(options.device)
        self.noise = random_set(self.sizes.shape, self.sizes.classes, self.sizes.stored).to(self.device)
        options.precision, options.set = "auto", []

    def points(self) -> list[measure.Point]:
        """Return all that is to be measured."""
        sizes, (first, second, *_) = self.sizes, self.sizes.ipc
        lengths = measure.grid(ipc=[first], iterations=sizes.iterations)
        lengths += measure.grid(ipc=[second], share=[0.25, 0.5, 1.0])
        has_data = self.options.smoke or self.options.data
        points: dict[str, list[measure.Point]] = {
            "step": measure.grid(ipc=sizes.ipc),
            "inner": measure.grid(ipc=sizes.ipc[1:]),
            "evaluation": measure.grid(ipc=[first, second]),
            "accuracy": lengths if has_data else [],
            "networks": measure.grid(network=["lenet", "alexnet", "vgg11", "resnet18"]),
            "methods": measure.grid(method=["dsa", "dm", "parameter-matching", "dd"]),
        }
        return [
            {"row": kind, **point} for kind in KINDS if kind in self.options.rows for point in points[kind]
        ]

    def machine(self) -> measure.Row:
        """Return what this machine is and how fast it is."""
        where = {**environment(self.device), **card(), "cuda": torch.version.cuda}
        where["cudnn"] = torch.backends.cudnn.version()
        inputs = torch.randn(
            self.sizes.convolution, device=self.device
        )  # float32 is TF32 there, as torch has it
        rates = guarded(partial(ceilings, inputs, self.sizes.copied), self.options.row_seconds)
        return {"threads": torch.get_num_threads(), "environment": where, "ceilings": rates}

    def step(self, ipc: int = 1, network: str = "convnet") -> measure.Row:
        """Time a matching step."""
        sizes = self.sizes
        fresh: Callable[[], nn.Module] = partial(self._layers, network)
        if network == "convnet":
            fresh = partial(plain.ConvNet, sizes.shape, sizes.classes)
        real = list(self.noise.normalised().split(sizes.stored))
        plainly = partial(plain_steps, fresh, real, ipc, sizes.real_batch)
        ours = self._steps(ipc=ipc, network=network, matching_steps=1)
        return self._interleaved(plain=plainly, datacondense=ours)

    networks = step

    def methods(self, method: str) -> measure.Row:
        """Time a step of another method."""
        return self._interleaved(datacondense=self._steps(config=datacondense.method_named(method)))

    def inner(self, ipc: int) -> measure.Row:
        """Time an epoch of the network's training; the library's is what more of them add to a step."""
        sizes = self.sizes
        labels = torch.arange(sizes.classes, device=self.device).repeat_interleave(ipc)
        images = torch.randn(len(labels), *sizes.shape, device=self.device)
        network = plain.ConvNet(sizes.shape, sizes.classes).to(self.device)
        few, many = (
            self._steps(ipc=ipc, matching_steps=2, network_epochs=times * sizes.epochs) for times in (1, 2)
        )
        plainly = partial(partial, plain.inner_training, network, images, labels, sizes.epochs)
        row = self._interleaved(plain=plainly, step=few, datacondense=many)
        row["datacondense"]["seconds"] -= row["step"]["seconds"]
        for variant in ("plain", "datacondense"):
            row[variant]["seconds"] /= sizes.epochs
        return row

    def evaluation(self, ipc: int) -> measure.Row:
        """Time the evaluation of networks without augmentation, the plain one extrapolated from some epochs."""
        sizes = self.sizes
        images, test = (
            random_set(sizes.shape, sizes.classes, number).to(self.device)
            for number in (ipc, sizes.test // sizes.classes)
        )
        with peak_memory(self.device) as used:
            row = time_plain(images, test, epochs=20)
        seconds = sizes.networks * (sizes.epochs_scored * row["seconds_epoch"] + row["seconds_test"])
        plainly = {**row, "seconds": seconds, "megabytes": used["added"]}

        def score(epochs: int) -> None:
            given = {
                "network": "convnet",
                "augmentation": "none",
                "repeats": sizes.networks,
                "epochs": epochs,
            }
            scored = evaluate(images, test, EvaluationConfig(**given), device=self.device)
            ours.update(environment=scored.environment)

        ours: measure.Row = {}
        with peak_memory(self.device) as used:
            ours["seconds_warm_up"] = measure.seconds_of(partial(score, 2))
            ours["seconds"] = measure.seconds_of(partial(score, sizes.epochs_scored))
        return {"plain": plainly, "datacondense": {**ours, "megabytes": used["added"]}}

    def accuracy(self, ipc: int, iterations: int | None = None, share: float = 1.0) -> measure.Row:
        """Condense, or prolong the run of the row before, and score the set."""
        options, sizes, reports = self.options, self.sizes, list[datacondense.Progress]()
        train, test = (self.noise, self.noise) if options.smoke else loaded(options.data)
        method = GradientMatchingConfig(ipc=ipc, real_batch=sizes.real_batch)
        run = RunConfig(iterations=iterations, time_limit=f"{share * options.seconds}s")
        given: Any = {"directory": options.out.with_suffix("") / f"ipc{ipc}", "resume": True}
        ends = [perf_counter()]
        with peak_memory(self.device) as used:
            images = condense(train, method, run, **given, device=self.device, observer=reports.append)
        ends.append(perf_counter())
        config = EvaluationConfig(repeats=sizes.networks, epochs=sizes.epochs_scored)
        score = evaluate(images, test, config, device=self.device)
        times = {"seconds_of_call": ends[1] - ends[0], "seconds_scoring": perf_counter() - ends[1]}
        row = {name: images.provenance[name] for name in ("iterations_done", "environment")}
        times["seconds"] = reports[-1].seconds if reports else times["seconds_of_call"]
        return {**times, **row, "megabytes": used["added"], "score": score.as_dict()}

    def _steps(self, config: type[Any] = GradientMatchingConfig, **given: Any) -> Callable[[], MatchingSteps]:
        given["real_batch"] = self.sizes.real_batch
        return partial(MatchingSteps, self.options, self.noise, config, **given)

    def _layers(self, name: str) -> nn.Module:
        """Return a fresh network of another family, whose layers are torch's own."""
        network = datacondense.build_network(name, self.sizes.shape, self.sizes.classes)
        layers = deepcopy(network.structure).to_empty(device="cpu")
        layers.load_state_dict(network.draw(torch.default_generator) | network.buffers())
        return layers

    def _interleaved(self, **makers: Callable[[], Call]) -> measure.Row:
        """Time calls A B A B … after two of each to warm up, and the memory that each adds to the others'."""
        calls, row = dict[str, Call](), measure.Row()
        for name, make in makers.items():
            with peak_memory(self.device) as used:
                calls[name] = make()
                warm_up, _ = (measure.seconds_of(calls[name]) for _ in range(2))
            row[name] = {"seconds_warm_up": warm_up, "megabytes": used["added"], "seconds_each": []}
            row[name] |= getattr(calls[name], "backend", {})
        end = perf_counter() + self.options.row_seconds / 3
        for name in [*calls] * self.sizes.repeats:
            if not row[name]["seconds_each"] or perf_counter() < end:
                row[name]["seconds_each"].append(measure.seconds_of(calls[name]))
                row[name]["seconds"] = median(row[name]["seconds_each"])
        return row


def card() -> dict[str, str]:
    """Return card, driver and memory, and the version of triton, or why they are unknown."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        return {"card": said, "triton": version("triton")}
    except (ModuleNotFoundError, OSError, subprocess.CalledProcessError) as error:
        return {"card": str(error)}


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise an error in what takes longer."""

    def stop(*_: object) -> NoReturn:
        raise TimeoutError(f"It takes longer than {seconds:.0f} s.")

    before = signal(SIGALRM, stop)
    setitimer(ITIMER_REAL, seconds)
    try:
        yield
    finally:
        setitimer(ITIMER_REAL, 0)
        signal(SIGALRM, before)


def guarded(call: Callable[[], measure.Row], seconds: float) -> measure.Row:
    """Return what a call returns, or its error."""
    try:
        with limited(seconds):
            return call()
    except Exception as error:  # whatever it is, the other rows are measured
        return {"error": f"{type(error).__name__}: {error}"}


def main() -> None:
    began = perf_counter()
    options = measure.parse_options(
        out=measure.RESULTS / "gpu.json", rows=KINDS, data=str, device="auto", threads=int, smoke=False,
        seconds=90.0, row_seconds=60.0, minutes=8.0,
    )  # fmt: skip
    torch.set_num_threads(options.threads or torch.get_num_threads())
    settings = {name: vars(options)[name] for name in ("data", "device", "smoke", "seconds")}
    bench = Bench(options)
    machine = None if options.out.exists() else bench.machine()
    record = measure.Record(options.out, settings, None, machine)
    record.rows[:] = [row for row in record.rows if "error" not in row]  # to be tried again
    for point in bench.points():
        left = 60 * options.minutes - (perf_counter() - began)
        limit = min(left, options.row_seconds + options.seconds * (point["row"] == "accuracy"))
        call = partial(getattr(bench, point["row"]), **{name: point[name] for name in point if name != "row"})
        if left > 0:
            record.add(point, partial(guarded, call, limit))
    sys.exit(any("error" in row for row in record.rows))


if __name__ == "__main__":
    main()
