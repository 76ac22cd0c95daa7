"""The words of docs/noise-aware.md; every number in them is read from a record."""

# ruff: noqa: E501 — paragraphs are wrapped as they stand on the page.

from collections.abc import Mapping
from math import isfinite
from typing import Any

from datacondense.reports.noise_records import read_noise_record
from datacondense.reports.study_records import read_study_record

Values = Mapping[str, Any]


class Numbers:
    """Looks numbers up in the records and writes them as the text wants them."""

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
        """Write mean ± std in percent."""
        entry = self._studies[f"study-{study}"].entries[row, column]
        return f"{100 * entry.mean:.1f}±{100 * entry.std:.1f}"

    def difference(self, study: str, row: str, column: str) -> str:
        """Write a paired difference in points, its interval of Student's t, n and sets."""
        found = self._studies[f"study-{study}"].differences[row, column]
        low, high = (100 * end for end in found.interval)
        interval = f"{low:+.1f} to {high:+.1f}, " if isfinite(low) else ""
        return f"{100 * found.mean:+.1f} points ({interval}n = {found.n} on {found.sets} sets)"

    def tried(self, study: str, *, joined: bool) -> str:
        """List the learning rates that an arm could choose from, each with its mean accuracy on held-out images."""
        (choice,) = (
            each for each in self._values[f"study-{study}"]["choices"] if each["class_collective"] == joined
        )
        return ", ".join(
            f"{rate:g}: {100 * sum(found) / len(found):.1f} %" for rate, found in choice["held_out"]
        )

    def rows(self, study: str) -> tuple[str, ...]:
        """List the rows that were run."""
        return self._studies[f"study-{study}"].study.rows

    def kept(self, study: str, row: str, column: str) -> str:
        """Write an accuracy as a share of that of the entry which it is paired with."""
        result = self._studies[f"study-{study}"]
        full = result.entries[result.study.paired[row, column]]
        return f"{100 * result.entries[row, column].mean / full.mean:.0f} %"

    def count(self, study: str, verdict: str) -> str:
        """Count the paired entries of a verdict."""
        found = [each.verdict for each in self._studies[f"study-{study}"].differences.values()]
        return f"{found.count(verdict)} of {len(found)}"

    def iterations(self, study: str, row: str, column: str) -> str:
        """Write the mean number of outer draws."""
        iterations = self._studies[f"study-{study}"].entries[row, column].iterations
        return f"{sum(iterations) / len(iterations):.0f}"

    def share(
        self, dataset: str, network: str, variant: str, part: str = "data", *, learned: bool = False
    ) -> str:
        """Write a share of the squared length of the pixel gradient at the start or at learned images, in percent."""
        result = self._noises[f"noise-{dataset}-ipc1{'-draws50' if learned else ''}"]
        parts = result.entries[network, variant].all_classes
        assert parts is not None
        component = getattr(parts, part)
        low, high = component.interval or (float("nan"),) * 2
        share, low, high = (f"{100 * end:.0f}".replace("-0", "0") for end in (component.share, low, high))
        return f"{share} % ({low} to {high})"

    def content(self, study: str, row: str, column: str, name: str) -> str:
        """Write how far pixels spread, or the share of fine structure in percent."""
        values = self._contents[f"image-content-{study}-ipc1"]
        (entry,) = (each for each in values["entries"] if (each["row"], each["column"]) == (row, column))
        mean: float = entry[name]["mean"]
        return f"{100 * mean:.0f} %" if name == "fine" else f"{mean:.1f}"


HEAD = """# Noise-aware matching: what holds of it

Written by `python benchmarks/noise_aware.py page` from the records in [benchmarks/results](../benchmarks/results), which hold
every accuracy with its seed and network. [transforms.md](transforms.md) says what the transforms do, [noise.md](noise.md) how the
gradient is taken apart, [studies.md](studies.md) how to repeat a study.

**The claim** (a student project of 2022, *Dataset Condensation with Gradient Matching Considering Model-Biased Noise*): more than
99 % of the gradient belongs to the particular network and not to the data; so it is enough, and better by 0.1 to 1 points, to
match the maximum of each convolution kernel's gradient; the maximum is better than the mean, one value better than four; 0.25 % of
the entries keep 88 % of the accuracy; and deep networks condense worse on complex data for this reason. The code that was released
with it does nothing or stops with an error, so nobody knew.

**How it was tested.** Every arm sees the same starts, networks, real batches and, for scoring, the same networks as plain matching,
and is compared with it pair by pair. Each arm has its own image learning rate, chosen from one list on training images that were held
out; the test images took no part in any choice. Intervals are Student's t over sets at the 95 % level, and a gain or a loss is
claimed only where one lies on one side of zero. One image per class, 100 outer draws, 16 real images per class and step, 300 epochs
of training on the sets, two cores, no GPU. Few sets, so intervals are wide: what is called undecided may be decided by more seeds of
the same commands.
"""


def verdict(numbers: Numbers) -> str:
    """Say which part of the claim holds, by how much, where it fails, and why."""
    n = numbers
    joined = "classes joined, images averaged"
    return f"""## In short

- **Most of the gradient belongs to the network: true with LeNet, not with ConvNet.** Of the squared length of the pixel gradient at
  the images that a run starts from, the network alone accounts for {n.share("cifar10", "lenet", "none", "network")} with LeNet on
  CIFAR-10 and {n.share("mnist", "lenet", "none", "network")} on MNIST, and the data, on which all networks and batches agree, for
  {n.share("cifar10", "lenet", "none")} and {n.share("mnist", "lenet", "none")}. With ConvNet, which has instance norm, it is the other
  way round: network {n.share("cifar10", "convnet", "none", "network")} and {n.share("mnist", "convnet", "none", "network")}, data
  {n.share("cifar10", "convnet", "none")} and {n.share("mnist", "convnet", "none")}; 16 real images make the batch the larger noise. At
  images that 50 draws have learned, the data's share has fallen to {n.share("cifar10", "convnet", "none", learned=True)} on CIFAR-10
  with ConvNet: where the mean gradient is followed until it is small, what is left is noise, whatever the network.
- **Matching the maximum of each kernel gains: not seen.** It gains in none of the four cases: on CIFAR-10
  {n.difference("representatives-cifar10", "max 1×1", "ConvNet")} with ConvNet and
  {n.difference("representatives-cifar10", "max 1×1", "LeNet")} with LeNet, on MNIST
  {n.difference("representatives-mnist", "max 1×1", "LeNet")} with LeNet, and with ConvNet it fails:
  {n.difference("representatives-mnist", "max 1×1", "ConvNet")}, whatever the learning rate. Of all poolings there are gains in
  {n.count("representatives-cifar10", "gain")} comparisons on CIFAR-10 and {n.count("representatives-mnist", "gain")} on MNIST, losses in
  {n.count("representatives-cifar10", "loss")} and {n.count("representatives-mnist", "loss")}.
- **The maximum is better than the mean, one value better than four: not seen.** On MNIST with ConvNet both orders are the other way
  round: mean 1×1 {n.accuracy("representatives-mnist", "mean 1×1", "ConvNet")}, max 1×1
  {n.accuracy("representatives-mnist", "max 1×1", "ConvNet")}, mean 2×2 {n.accuracy("representatives-mnist", "mean 2×2", "ConvNet")},
  max 2×2 {n.accuracy("representatives-mnist", "max 2×2", "ConvNet")} %.
- **The entry of largest magnitude, with its sign, loses little**: {n.accuracy("representatives-mnist", "abs-max 1×1", "ConvNet")} %
  on MNIST with ConvNet, with one ninth of the kernels' numbers, where plain matching has
  {n.accuracy("representatives-mnist", "plain", "ConvNet")}. It is the reading of the idea that works.
{_masks(n)}
- **One noise-aware matching gains on CIFAR-10, and loses on MNIST.** Joining the classes in one gradient and averaging the images
  over the draws gives, on CIFAR-10, {n.difference("noise-aware-cifar10", joined, "equal draws")} at equal draws and
  {n.difference("noise-aware-cifar10", joined, "equal seconds")} at equal seconds:
  {n.accuracy("noise-aware-cifar10", joined, "equal seconds")} % after {n.iterations("noise-aware-cifar10", joined, "equal seconds")} draws,
  where plain matching has {n.accuracy("noise-aware-cifar10", "plain", "equal seconds")} after 100 (published: 28.3±0.5 after 1000
  draws). On MNIST it is {n.difference("noise-aware-mnist", joined, "equal draws")} at equal draws and
  {n.difference("noise-aware-mnist", joined, "equal seconds")} at equal seconds. There the highest rate of
  the list was the best on held-out images ({n.tried("noise-aware-mnist", joined=True)}), so the list was too short for it, and
  joined classes may lose less with a longer one: this is not known. The pair was found by trying variants (weights of layers, filters, several
  networks a step, networks trained on real images) on images held out of CIFAR-10's training images; the search never saw the test
  images, nor MNIST.
- **Which network condenses best** was run for ConvNet and LeNet only, which says nothing about deep networks: on ConvNet their sets
  give {n.accuracy("teacher-cifar10", "ConvNet", "ConvNet")} and {n.accuracy("teacher-cifar10", "LeNet", "ConvNet")} % on CIFAR-10,
  {n.accuracy("teacher-mnist", "ConvNet", "ConvNet")} and {n.accuracy("teacher-mnist", "LeNet", "ConvNet")} % on MNIST.

## Why

**The maximum and the mean throw away the data, not the network.** A transform that kept the data and dropped the network would raise
the share of the data. With ConvNet on MNIST it is {n.share("mnist", "convnet", "none")} for plain matching, and falls to
{n.share("mnist", "convnet", "max-pool-1")} with max 1×1 and {n.share("mnist", "convnet", "mean-pool-1")} with mean 1×1: it is the
pooling that makes the gradient belong to the network. With abs-max 1×1 it stays at
{n.share("mnist", "convnet", "abs-max-pool-1")}, and so does the accuracy. On CIFAR-10 all three lower it
({n.share("cifar10", "convnet", "none")} to {n.share("cifar10", "convnet", "max-pool-1")},
{n.share("cifar10", "convnet", "mean-pool-1")} and {n.share("cifar10", "convnet", "abs-max-pool-1")}), where they also lose a little or
nothing. The pictures show what is missing:

![One set of each arm on MNIST, ConvNet](image-content-representatives-mnist-ipc1.png)

With one input channel, a row of the first layer has one value left after 1×1 pooling, and the cosine of single numbers has no
slope: that layer says nothing on MNIST. In the others, the mean of a kernel's gradient is what the kernel would see of a blurred
image: fine structure is asked of nothing, so the noise that the images start from stays (structure of fewer than four pixels has
{n.content("representatives-mnist", "mean 1×1", "ConvNet", "fine")} of their energy, with plain matching
{n.content("representatives-mnist", "plain", "ConvNet", "fine")}). The maximum throws the negative entries away, half of what tells
where a stroke is, and the noise stays ({n.content("representatives-mnist", "max 1×1", "ConvNet", "fine")}). The entry of largest
magnitude keeps both signs and erases it ({n.content("representatives-mnist", "abs-max 1×1", "ConvNet", "fine")}). On CIFAR-10 a class
is one blob of colour at this size, which every pooling still sees:

![One set of each arm on CIFAR-10, ConvNet](image-content-representatives-cifar10-ipc1.png)

**Why joining the classes gains on CIFAR-10 is not explained by agreement.** It does not raise the share of the data, it lowers it
with ConvNet, to {n.share("cifar10", "convnet", "class-collective")} on CIFAR-10 and {n.share("mnist", "convnet", "class-collective")} on MNIST. Our reading, not shown by a measurement: what
all networks ask of the images of every class alike is agreement too, so it counts as data here, and it is what cancels in the mean
over classes. On MNIST, where the classes differ in the shape of thin strokes on the same background, something useful goes with it.
Agreement between networks is not usefulness. The idea of joining is that of Lee et al. (*Dataset Condensation with Contrastive
Signals*, ICML 2022), who found it by another way.
"""


def _masks(n: Numbers) -> str:
    """Speak of the masks, as far as they were run."""
    told = [
        f"  On {title}, 10 % of the entries ({row}) give {n.accuracy(f'masks-{dataset}', row, '10')} % and keep "
        f"{n.kept(f'masks-{dataset}', row, '10')} of the accuracy, 0.25 % give "
        f"{n.accuracy(f'masks-{dataset}', row, '0.25')} % and keep {n.kept(f'masks-{dataset}', row, '0.25')}"
        for dataset, title in (("cifar10", "CIFAR-10"), ("mnist", "MNIST"))
        for row in n.rows(f"masks-{dataset}")
    ]
    return (
        "- **0.25 % of the entries keep 88 % of the accuracy: not seen**, they keep less.\n"
        + ".\n".join(told)
        + "."
    )
