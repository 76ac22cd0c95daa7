"""Write docs/speed.md and its plot from the records in benchmarks/results.

python benchmarks/speed_page.py
"""

import argparse
from pathlib import Path
from statistics import fmean

import measure
import speed_plots as show
from speed_plots import CURVES, Row, number, percent, table

from datacondense.files import write_text

ROOT = Path(__file__).parents[1]
PLOT = "speed-growth.png"
PAGE = """# Speed

Written by `python benchmarks/speed_page.py` from the records in [benchmarks/results](../benchmarks/results). "Plain" is
[benchmarks/plain.py](../benchmarks/plain.py): the same computations as one would first write them with torch's own
layers, class by class, in float32. Both sides are measured alternately, A B A B …, each row in a fresh process, in the
default environment. Ratios are medians over pairs, with the 95 % interval of the median (from 6 pairs on).

{targets}
## What makes it fast
- **Fused layers** (`--engine`). Instance norm, ReLU and 2×2 average pooling are one pass over memory, in C, compiled at
  first use and kept in the user's cache folder. They compute whatever is differentiated at most once: gradients of real
  images, the training of networks, evaluation. They need the CPU, Linux, a C compiler (`cc`, `gcc`, `clang` or `CC`)
  and a plain sequence of layers with convolution, instance norm, ReLU and this pooling, on 32, 64, … channels.
- Inside them, feature maps are stored in **channels_last** order, and the **convolution's bias** is left out because
  the instance norm removes it: it changes no value, and its gradient is zero.
- **bfloat16** (`--precision`) for the same computations: convolutions, products and feature maps. Sums, parameters and
  their updates stay float32, and so does the synthetic side, which torch's own layers differentiate twice.
- **Several classes in one graph** (`--graph-memory`): the synthetic sides of as many classes as fit into that much
  memory form one network with grouped convolutions in place of many small ones. This applies to plain sequences of
  convolutions, group and instance norms, activations, poolings and linear layers, on any device.
- **Freed memory stays in the process**; by default glibc returns it to the kernel after every layer and fetches it
  again. The command line sets this.

`--engine auto` uses the fused layers where they apply; `fused` requires them and names what prevents them; `eager` is
torch's own layers. At one precision the two differ by rounding only. `--precision auto` is bfloat16 where fused layers
run on a processor with native bfloat16 (avx512_bf16 or amx_bf16), else float32; `float64` is for checks.

## Matching step and training between two steps
{steps}
Operations are counted, not measured: those of convolutions and linear layers, for the gradients of the real images or
for the training. The ceiling is the rate of a large convolution and its gradients, measured on the same machine before
the rows. A step does other work too, so the share is a lower bound.

## The C kernel beside torch.compile
{compiled}
## Before and after
What the last large change of form did to the processor time of one thread, in interleaved pairs of processes.

{before_after}
## Evaluation
{evaluation}
## Time to accuracy
{time}
## Accuracy of the fast engine
Both groups of settings of a row use the same seeds, and so do the networks that score them. The difference is taken
pair by pair, with the t interval of its mean; the lower end is the largest cost that the measurement does not exclude.

{paired}
Cosines with the same gradients in float64, on real images and fresh networks: of each row of weights that feeds one
output unit in the gradients of the real images, and of each image's pixel gradient in one matching step.

{cosines}
## Growth of time and memory
One matching step: the median of several after one to warm up, each point in a fresh process. The dashed line is the
process before its first step: Python, torch and the stored images.

{growth}
## Coreset selection
{selection}
## Profile
{profile}
## Machines
GFLOP/s of a large convolution: forward / input gradient / weight gradient. The load is the one-minute average before
each row, including the row before; a load above the number of threads means that other processes were running.

{machine}
## Commands
{commands}"""
NOT_MEASURED = "Not measured yet.\n"


def read_records(folder: Path) -> dict[str, Row]:
    """Read the finished records of measurements by name."""
    contents = {path.stem: measure.read_record(path) for path in folder.glob("*.json")}
    return {name: content for name, content in sorted(contents.items()) if "summary" in content}


def records_of(records: dict[str, Row], kind: str) -> list[Row]:
    """Return the records of one kind, by name."""
    return [record for name, record in records.items() if name == kind or name.startswith(f"{kind}-")]


def steps(records: dict[str, Row]) -> str:
    """Return the section on matching steps and the training between them."""
    rows, text = [], ""
    found = [("A matching step", record) for record in records_of(records, "matching-step")]
    found += [("Training between two steps", record) for record in records_of(records, "inner-training")]
    for what, record in found:
        given, summary = record["settings"], record["summary"]
        size = f"{given['classes']} classes of {'×'.join(map(str, given['shape']))}, {given['ipc']} per class"
        more = f"{given['epochs']} epochs" if "epochs" in given else f"{given['real_batch']} real per class"
        text += "- " + show.speed_sentence(f"{what} ({size}, {more})", summary["seconds"])
        ideal = summary["share_of_ceiling"]["bfloat16"] * summary["seconds"]["datacondense"]["median"]
        most = summary["seconds"]["plain"]["median"] / ideal
        text += f"  At the ceiling its operations take {number(ideal)} s: a speed-up of at most {most:.1f} times.\n"
        name = "; ".join([what, size, more, " ".join([given["precision"], *given["set"]])])
        rows.append(show.speed_row(name, summary["seconds"], summary["megabytes_peak"], summary))
    return text + "\n" * bool(rows) + table(show.SPEED_HEAD, rows)


def compiled(records: dict[str, Row]) -> str:
    """Return the section on the kernel and torch.compile."""
    rows, text = [], ""
    for record in records_of(records, "compiled"):
        given = record["settings"]
        text = (
            f"Gradient matching on ConvNet, 10 classes of {'×'.join(map(str, given['shape']))}, {given['precision']}. "
            "Cold: nothing compiled is cached; warm: the cold process left its caches. The clock starts when the "
            "method is built. Where a step takes about as long, the start decides for the kernel.\n\n"
        )
        for row in record["summary"]:
            figures = (number(row["first_step_done_seconds"]), number(row["step_seconds"]))
            rows.append([
                row["real_batch"],
                row["engine"],
                row["cache"],
                *figures,
                f"{row['steps_in_time']:g}",
                row["n"],
            ])
    seconds = "".join(f"{record['settings']['seconds']:g}" for record in records_of(records, "compiled")[:1])
    head = "real images per class | engine | caches | first step done, s | a step, s"
    return text + table(f"{head} | steps in the first {seconds} s | n", rows)


def before_after(records: dict[str, Row]) -> str:
    """Return the section on a change of form."""
    rows = [
        [
            name,
            number(one["before_seconds"]),
            number(one["after_seconds"]),
            f"{one['ratio_of_medians']:.2f}",
            f"{one['median_ratio']:.2f} ({one['ratios'][0]:.2f} to {one['ratios'][-1]:.2f})",
            len(one["ratios"]),
        ]
        for record in records_of(records, "before-after")
        for name, one in record["summary"].items()
    ]
    head = "what | before, s | after, s | ratio of medians | median ratio of pairs (range) | pairs"
    return table(head, rows)


def evaluation(records: dict[str, Row]) -> str:
    """Return the section on evaluation."""
    if "evaluation" not in records:
        return ""
    summary, given = (records["evaluation"][part] for part in ("summary", "settings"))
    full = summary["seconds_extrapolated"]
    parts = {"an epoch of a network": "seconds_per_epoch_and_network", "a test pass": "seconds_per_test_pass"}
    rows = [show.speed_row(name, summary[key], None, {}) for name, key in parts.items()]
    rows += [show.speed_row("all 20 networks, **extrapolated**", full, summary["megabytes_peak"], {})]
    what = f"Evaluating 20 networks on {given['ipc']} images per class ({summary['images']}, augmented)"
    text = show.speed_sentence(what, full) + f"These are **extrapolated**: {full['how']}.\n\n"
    return text + table(show.SPEED_HEAD, rows)


def cosines(records: dict[str, Row]) -> str:
    """Return the table of cosines with gradients in float64."""
    rows = []
    for record in records_of(records, "gradient-cosine"):
        for name, of_rows in record["summary"]["rows"].items():
            of_pixels = record["summary"]["pixels"][name]
            values = [of_rows["mean"], of_rows["quantile_01"], of_pixels["mean"], of_pixels["min"]]
            given = record["settings"]
            what = [given["dataset"], given["real_batch"], name]
            rows.append([*what, *(f"{value:.6f}" for value in values), len(record["rows"])])
    head = (
        "images | real per class | computed in | rows, mean | rows, lowest 1 % | pixels, mean | least | seeds"
    )
    return table(head, rows)


def time(records: dict[str, Row]) -> str:
    """Return the section on time to accuracy, and on how its settings were selected."""
    timed = records_of(records, "time-to-accuracy")
    runs = [record for record in timed if not record["settings"]["validate"]]
    used = [row["method"] for record in runs for row in record["rows"] if "method" in row]
    rows = []
    for record in (record for record in timed if record["settings"]["validate"]):
        for row in record["rows"]:
            same = any(show.agree(row["method"], method) for method in used)
            selected = f"`{' '.join(record['settings']['set'])}`" + ", **used above**" * same
            curve = "; ".join(map(show.curve_point, row["curve"]))
            rows.append([selected, row["seed"], record["hardware"]["threads"], curve])
    text = "".join(map(run_text, runs)) or NOT_MEASURED
    text += "\nThe settings were selected on held-out training images:\n\n" * bool(rows)
    return text + table("settings | seed | threads | accuracy along the run", rows)


def run_text(record: Row) -> str:
    """Return the text on runs with several seeds and on what the plain loop would take."""
    given, summary, text = record["settings"], record["summary"], ""
    rows = [row for row in record["rows"] if "seed" in row]
    if rows:
        seconds, threads = number(summary["seconds"]["median"]), record["hardware"]["threads"]
        text = (
            f"Condensing {given['dataset']} to {rows[0]['method']['ipc']} per class takes **{seconds} s** (median of "
            f"{len(rows)} seeds, from the call to its\nreturn, {'nothing' if given['cold_cache'] else 'kernels'} "
            f"compiled before) and gives **{percent(summary['accuracy'])}** on the test images,\nwith "
            f"{given['iterations']} iterations, threads: {threads}, `{' '.join(given['set'])}`, otherwise defaults.\n\n"
        )
        times = ("seconds", "seconds_loading")
        seeds = [[row["seed"], *(number(row[key]) for key in times), percent(row["score"])] for row in rows]
        text += table("seed | seconds | seconds to load the data (not counted) | accuracy", seeds)
    if "plain" in summary:
        seconds = number(summary["plain"]["seconds_extrapolated"])
        text += f"\nThe plain loop would take {seconds} s, **extrapolated**: {summary['plain']['how']}.\n"
    return text


def paired(records: dict[str, Row]) -> str:
    """Return the table of paired accuracies under two groups of settings."""
    rows, gap = [], "difference_b_minus_a"
    for record in records_of(records, "paired-accuracy"):
        given, summary = record["settings"], record["summary"]
        groups = [" ".join(summary["settings"][group]) for group in "ab"]
        means = [summary["accuracy"][group] for group in "ab"]
        length = f"{given['iterations']} iterations"
        what = f"condensing {given['dataset']}, {length}, `{' '.join(given['set'])}`; on {given['on']}"
        unit = f"seeds × {record['rows'][0]['n']} networks"
        rows.append(show.difference_row(what, groups, means, summary[gap], unit))
    for record in records_of(records, "evaluation-precision"):
        summary = record["summary"]
        sides = [summary[group] for group in "ab"]
        groups = [f"precision={side['precision']} engine={side['engine']}" for side in sides]
        means, what = [fmean(side["accuracies"]) for side in sides], f"evaluating {summary['dataset']}"
        rows.append(show.difference_row(what, groups, means, summary[gap], "networks"))
    head = "what | a | b | accuracy, a | accuracy, b | b - a, percentage points (95 % interval) | n"
    return table(head, rows)


def growth(records: dict[str, Row]) -> str:
    """Return the section on the growth of time and memory."""
    if "growth" not in records:
        return ""
    rows = records["growth"]["rows"]
    curves = [show.growth_row(name, rows) for name in CURVES if name in {row["curve"] for row in rows}]
    head = "what grows | fixed | seconds | peak MB | last / first: size, seconds, MB"
    return f"![Seconds and memory of a step against four sizes]({PLOT})\n\n{table(head, curves)}"


def selection(records: dict[str, Row]) -> str:
    """Return the section on coreset selection."""
    if "selection" not in records:
        return ""
    summary, given = (records["selection"][part] for part in ("summary", "settings"))
    rows = [show.speed_row(what, one["seconds"], one["megabytes_peak"], {}) for what, one in summary.items()]
    other = [what for what, one in summary.items() if not one["same_selection"]]
    text = (
        f"{given['classes']} classes of {given['per_class']:,} images, {given['features']:,} features each. "
    )
    text += f"Cases where the selected images differ from plain's: {', '.join(other) or 'none'}.\n\n"
    return text + table(show.SPEED_HEAD, rows)


def profile(records: dict[str, Row]) -> str:
    """Return the tables of the profiler."""
    text = ""
    for name, record in records.items():
        for row in (row for row in record["rows"] if "profile" in row):
            text += f"One step of {name} under torch's profiler, which slows it down, by self time:\n\n"
            text += table("operation | share | time | calls", show.profile_rows(row["table"]))
    return text


def machine(records: dict[str, Row]) -> str:
    """Return the table of machines, their ceilings and their load."""
    rows = []
    for name, record in records.items():
        hardware, versions, ceilings = record["hardware"], record["versions"], record["ceilings"]
        loads = [row["load_before"] for row in record["rows"]] or [0]
        rates = [ceilings["convolution_gflops"][kind].values() for kind in ("float32", "bfloat16")]
        row = [f"[{name}](../benchmarks/results/{name}.json)", record["date"], hardware["processor"]]
        row += [f"{hardware['threads']} of {hardware['cores']}", f"{versions['torch']}, {versions['python']}"]
        row += [" / ".join(f"{rate:.0f}" for rate in kind) for kind in rates]
        row += [f"{ceilings['copy_gigabytes_per_second']:.1f}", f"{min(loads):.1f} to {max(loads):.1f}"]
        rows.append([*row, ", ".join(record["commits"])])
    head = "record | date | processor | threads of cores | torch, Python | float32 GFLOP/s | bfloat16 GFLOP/s"
    return table(f"{head} | copy GB/s | load | commits", rows)


def commands(records: dict[str, Row]) -> str:
    """Return the commands that repeat the records."""
    lines = "".join(record["command"] + "\n" for record in records.values())
    return f"```bash\n{lines}```\n" if lines else ""


def main() -> None:
    """Write the page and the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="the records")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder to write to")
    options = parser.parse_args()
    records = read_records(options.results)
    if "growth" in records:
        show.plot_growth(records["growth"]["rows"], options.out / PLOT)
    sections = (
        steps,
        compiled,
        before_after,
        evaluation,
        time,
        paired,
        cosines,
        growth,
        selection,
        profile,
        machine,
        commands,
    )
    made = {section.__name__: section(records) or NOT_MEASURED for section in sections}
    targets = table("target | measured | ", show.target_rows(records))
    write_text(options.out / "speed.md", PAGE.format(targets=targets, **made))


if __name__ == "__main__":
    main()
