"""The text of docs/noise-aware.md; every number in it is read from a record."""

# ruff: noqa: E501 — paragraphs are wrapped as they stand on the page.

from collections.abc import Mapping
from math import isfinite
from typing import Any

from datacondense.reports.noise_records import read_noise_record
from datacondense.reports.study_records import read_study_record

Values = Mapping[str, Any]


class Numbers:
    """Numbers of the records, formatted for the text."""

    def __init__(
        self, studies: Mapping[str, Values], noises: Mapping[str, Values], contents: Mapping[str, Values]
    ) -> None:
        self._studies = {
            stem.removesuffix("-ipc1"): read_study_record(values) for stem, values in studies.items()
        }
        self._values = {stem.removesuffix("-ipc1"): values for stem, values in studies.items()}
        self._noises = {stem: read_noise_record(values) for stem, values in noises.items()}
        self._contents = contents

    def accuracy(self, study: str, row: str, column: str) -> str:
        """Format mean ± std in percent."""
        entry = self._studies[f"study-{study}"].entries[row, column]
        return f"{100 * entry.mean:.1f}±{100 * entry.std:.1f}"

    def difference(self, study: str, row: str, column: str) -> str:
        """Format a paired difference in points with its Student's t interval, n and sets."""
        found = self._studies[f"study-{study}"].differences[row, column]
        low, high = (100 * end for end in found.interval)
        interval = f"{low:+.1f} to {high:+.1f}, " if isfinite(low) else ""
        return f"{100 * found.mean:+.1f} points ({interval}n = {found.n} on {found.sets} sets)"

    def tried(self, study: str, *, collective: bool) -> str:
        """List the learning rates of a variant's search, each with its mean accuracy on held-out images."""
        searches = self._values[f"study-{study}"]["searches"]
        (search,) = (each for each in searches if each["class_collective"] == collective)
        return ", ".join(
            f"{rate:g}: {100 * sum(found) / len(found):.1f} %" for rate, found in search["held_out"]
        )

    def rows(self, study: str) -> tuple[str, ...]:
        """Return the rows that were run."""
        return self._studies[f"study-{study}"].study.rows

    def kept(self, study: str, row: str, column: str) -> str:
        """Format an accuracy as a share of that of the paired entry."""
        result = self._studies[f"study-{study}"]
        full = result.entries[result.study.paired[row, column]]
        return f"{100 * result.entries[row, column].mean / full.mean:.0f} %"

    def count(self, study: str, verdict: str) -> str:
        """Count the paired entries of a verdict."""
        found = [each.verdict for each in self._studies[f"study-{study}"].differences.values()]
        return f"{found.count(verdict)} of {len(found)}"

    def iterations(self, study: str, row: str, column: str) -> str:
        """Format the mean number of iterations."""
        iterations = self._studies[f"study-{study}"].entries[row, column].iterations
        return f"{sum(iterations) / len(iterations):.0f}"

    def share(
        self, dataset: str, network: str, variant: str, part: str = "data", *, learned: bool = False
    ) -> str:
        """Format a share of the squared length of the pixel gradient, at initial or learned images, in percent."""
        result = self._noises[f"noise-{dataset}-ipc1{'-draws50' if learned else ''}"]
        parts = result.entries[network, variant].all_classes
        assert parts is not None
        component = getattr(parts, part)
        low, high = component.interval or (float("nan"),) * 2
        share, low, high = (f"{100 * end:.0f}".replace("-0", "0") for end in (component.share, low, high))
        return f"{share} % ({low} to {high})"

    def content(self, study: str, row: str, column: str, name: str) -> str:
        """Format the spread of pixels, or the share of fine structure in percent."""
        values = self._contents[f"image-content-{study}-ipc1"]
        (entry,) = (each for each in values["entries"] if (each["row"], each["column"]) == (row, column))
        mean: float = entry[name]["mean"]
        return f"{100 * mean:.0f} %" if name == "fine" else f"{mean:.1f}"


HEAD = """# Noise-aware matching: which claims hold

Written by `python benchmarks/noise_aware.py page` from the records in [benchmarks/results](../benchmarks/results), which hold
every accuracy with its seed and network. [transforms.md](transforms.md) describes the transforms, [noise.md](noise.md) the
decomposition of the gradient, [studies.md](studies.md) how to repeat a study.

**The claim** (a student project of 2022, *Dataset Condensation with Gradient Matching Considering Model-Biased Noise*): more than
99 % of the gradient belongs to the particular network and not to the data. Therefore it suffices, and gains 0.1 to 1 points, to
match the maximum of each convolution kernel's gradient; the maximum is better than the mean, one value better than four; 0.25 % of
the entries keep 88 % of the accuracy; and this is why deep networks condense worse on complex data. The released code either has no
effect or stops with an error, so the claim could not be checked with it.

**How it was tested.** Every variant uses the same initial images, networks and real batches as plain matching, is scored by the same
networks, and is compared with it pair by pair. Each variant has its own image learning rate, selected from one list on held-out
training images; the test images took no part in any choice. Intervals are Student's t over sets at the 95 % level. A gain or loss is
claimed only where the interval excludes zero. One image per class, 100 iterations, 16 real images per class and step, 300 epochs of
training on the sets, two cores, no GPU. There are few sets, so intervals are wide: more seeds of the same commands may decide what
is undecided here.
"""


def verdict(numbers: Numbers) -> str:
    """Return which parts of the claim hold, by how much, where they fail, and why."""
    return f"## In short\n\n{_claims(numbers)}\n{_reasons(numbers)}"


def _claims(n: Numbers) -> str:
    """Return the claim point by point."""
    both = "class-collective, iterate averaging"
    return f"""- **Most of the gradient belongs to the network: true for LeNet, false for ConvNet.** At the initial images, the network alone
  accounts for {n.share("cifar10", "lenet", "none", "network")} of the squared length of the pixel gradient with LeNet on
  CIFAR-10 and {n.share("mnist", "lenet", "none", "network")} on MNIST; the data, on which all networks and batches agree, account for
  {n.share("cifar10", "lenet", "none")} and {n.share("mnist", "lenet", "none")}. With ConvNet, which has instance norm, it is the other
  way round: network {n.share("cifar10", "convnet", "none", "network")} and {n.share("mnist", "convnet", "none", "network")}, data
  {n.share("cifar10", "convnet", "none")} and {n.share("mnist", "convnet", "none")}; with 16 real images the batch is the larger noise. At
  images learned in 50 iterations, the share of the data has fallen to {n.share("cifar10", "convnet", "none", learned=True)} on CIFAR-10
  with ConvNet: once the mean gradient has been followed until it is small, what is left is noise, whatever the network.
- **Matching the maximum of each kernel gains: not confirmed.** It gains in none of the four cases: on CIFAR-10
  {n.difference("representatives-cifar10", "max 1×1", "ConvNet")} with ConvNet and
  {n.difference("representatives-cifar10", "max 1×1", "LeNet")} with LeNet, on MNIST
  {n.difference("representatives-mnist", "max 1×1", "LeNet")} with LeNet; with ConvNet it fails at every learning rate:
  {n.difference("representatives-mnist", "max 1×1", "ConvNet")}. Over all poolings there are gains in
  {n.count("representatives-cifar10", "gain")} comparisons on CIFAR-10 and {n.count("representatives-mnist", "gain")} on MNIST, losses in
  {n.count("representatives-cifar10", "loss")} and {n.count("representatives-mnist", "loss")}.
- **The maximum is better than the mean, one value better than four: not confirmed.** On MNIST with ConvNet both orders are reversed:
  mean 1×1 {n.accuracy("representatives-mnist", "mean 1×1", "ConvNet")}, max 1×1
  {n.accuracy("representatives-mnist", "max 1×1", "ConvNet")}, mean 2×2 {n.accuracy("representatives-mnist", "mean 2×2", "ConvNet")},
  max 2×2 {n.accuracy("representatives-mnist", "max 2×2", "ConvNet")} %.
- **The entry of largest magnitude, with its sign, loses little**: {n.accuracy("representatives-mnist", "abs-max 1×1", "ConvNet")} %
  on MNIST with ConvNet, with one ninth of the kernels' numbers, where plain matching has
  {n.accuracy("representatives-mnist", "plain", "ConvNet")}. This version of the idea works.
{_masks(n)}
- **One form of noise-aware matching gains on CIFAR-10 and loses on MNIST.** Class-collective matching with iterate averaging gives, on
  CIFAR-10, {n.difference("noise-aware-cifar10", both, "equal iterations")} at equal iterations and
  {n.difference("noise-aware-cifar10", both, "equal seconds")} at equal seconds:
  {n.accuracy("noise-aware-cifar10", both, "equal seconds")} % after {n.iterations("noise-aware-cifar10", both, "equal seconds")} iterations,
  where plain matching has {n.accuracy("noise-aware-cifar10", "plain", "equal seconds")} after 100 (published: 28.3±0.5 after 1000).
  On MNIST it gives {n.difference("noise-aware-mnist", both, "equal iterations")} at equal iterations and
  {n.difference("noise-aware-mnist", both, "equal seconds")} at equal seconds. On MNIST the highest rate of
  the list was the best on held-out images ({n.tried("noise-aware-mnist", collective=True)}): the list was too short, and with a
  longer one the loss may be smaller. The pair was found by trying variants (layer weights, filters, several
  networks per step, networks trained on real images) on held-out training images of CIFAR-10; that search used neither the test
  images nor MNIST.
- **Which network condenses best** was run for ConvNet and LeNet only, which says nothing about deep networks: trained on their sets,
  ConvNet reaches {n.accuracy("teacher-cifar10", "ConvNet", "ConvNet")} and {n.accuracy("teacher-cifar10", "LeNet", "ConvNet")} % on CIFAR-10,
  {n.accuracy("teacher-mnist", "ConvNet", "ConvNet")} and {n.accuracy("teacher-mnist", "LeNet", "ConvNet")} % on MNIST.
"""


def _reasons(n: Numbers) -> str:
    """Return why parts of the claim fail."""
    return f"""## Why

**Maximum and mean discard the data, not the network.** A transform that keeps the data and drops the network would raise
the share of the data. With ConvNet on MNIST this share is {n.share("mnist", "convnet", "none")} for plain matching, and falls to
{n.share("mnist", "convnet", "max-pool-1")} with max 1×1 and {n.share("mnist", "convnet", "mean-pool-1")} with mean 1×1: it is the
pooling that makes the gradient belong to the network. With abs-max 1×1 it stays at
{n.share("mnist", "convnet", "abs-max-pool-1")}, and so does the accuracy. On CIFAR-10 all three lower it
({n.share("cifar10", "convnet", "none")} to {n.share("cifar10", "convnet", "max-pool-1")},
{n.share("cifar10", "convnet", "mean-pool-1")} and {n.share("cifar10", "convnet", "abs-max-pool-1")}), and there they lose little or
nothing. The images show what is missing:

![One set of each variant on MNIST, ConvNet](image-content-representatives-mnist-ipc1.png)

With one input channel, 1×1 pooling leaves one value per row of the first layer, and the cosine of single numbers has zero
gradient: on MNIST that layer contributes nothing. In the other layers, the mean of a kernel's gradient is what the kernel would see
of a blurred image. Nothing constrains fine structure, so the initial noise stays (structure finer than four pixels has
{n.content("representatives-mnist", "mean 1×1", "ConvNet", "fine")} of the energy, with plain matching
{n.content("representatives-mnist", "plain", "ConvNet", "fine")}). The maximum discards the negative entries, half of what locates
a stroke, and the noise stays ({n.content("representatives-mnist", "max 1×1", "ConvNet", "fine")}). The entry of largest
magnitude keeps both signs and removes the noise ({n.content("representatives-mnist", "abs-max 1×1", "ConvNet", "fine")}). On CIFAR-10
a class is one blob of colour at this size, which every pooling still sees:

![One set of each variant on CIFAR-10, ConvNet](image-content-representatives-cifar10-ipc1.png)

**Agreement does not explain why class-collective matching gains on CIFAR-10.** With ConvNet it lowers the share of the data, to
{n.share("cifar10", "convnet", "class-collective")} on CIFAR-10 and {n.share("mnist", "convnet", "class-collective")} on MNIST. Our
interpretation, not measured: a part of the gradient that the images of all classes share is agreement too, so it counts as
data here, and it cancels in the mean over classes. On MNIST, where classes differ in the shape of thin strokes on the same
background, something useful cancels with it. Agreement between networks is not usefulness. Class-collective matching is due to
Lee et al. (*Dataset Condensation with Contrastive Signals*, ICML 2022), who motivate it differently.
"""


def _masks(n: Numbers) -> str:
    """Return the claim on masks, as far as they were run."""
    lines = [
        f"  On {title}, 10 % of the entries ({row}) give {n.accuracy(f'masks-{dataset}', row, '10')} % and keep "
        f"{n.kept(f'masks-{dataset}', row, '10')} of the accuracy, 0.25 % give "
        f"{n.accuracy(f'masks-{dataset}', row, '0.25')} % and keep {n.kept(f'masks-{dataset}', row, '0.25')}"
        for dataset, title in (("cifar10", "CIFAR-10"), ("mnist", "MNIST"))
        for row in n.rows(f"masks-{dataset}")
    ]
    return (
        "- **0.25 % of the entries keep 88 % of the accuracy: not confirmed**, they keep less.\n"
        + ".\n".join(lines)
        + "."
    )
