"""Write docs/results.md from the records in benchmarks/results.

python benchmarks/summary.py
"""

from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import measure

from datacondense.files import write_text

ROOT = Path(__file__).parents[1]
PUBLISHED = {  # Zhao, Mopuri, Bilen (ICLR 2021), Table 1: 1000 iterations, 256 real images per class, 5 × 20 networks
    ("mnist", 1): "91.7±0.5",
    ("mnist", 10): "97.4±0.2",
    ("fashion-mnist", 1): "70.5±0.6",
    ("cifar10", 1): "28.3±0.5",
}
HEAD = """# Results

Written by `python benchmarks/summary.py` from the records in [benchmarks/results](../benchmarks/results), which hold
every accuracy with its seed, protocol, versions, hardware and the command that repeats it. Accuracies are percentages:
mean and sample standard deviation over all networks of all seeds. Each finished set was scored once, after its last
iteration; stopped runs are listed too.

"""


def records(kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind."""
    return [measure.read_record(path) for path in sorted(measure.RESULTS.glob(f"{kind}-*.json"))]


def accuracy_table() -> str:
    """Return the table of test accuracies, one row per data set and settings."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for record in records("accuracy"):
        method = record["method"]
        key = (record["source"]["name"], method["ipc"], record["run"]["iterations"], method["real_batch"])
        groups[*key, method["image_lr"], method["precision"], record["run"]["time_limit"]].append(record)
    lines = [
        "| data set | images per class | accuracy | n | mean of each seed | published | iterations | real batch, image "
        "lr, precision | seconds to condense |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, ipc, _, batch, lr, precision, _), group in sorted(groups.items(), key=str):
        accuracies = [100 * value for record in group for value in record["score"]["accuracies"]]
        seeds = ", ".join(f"{r['seed']}: {100 * r['score']['mean']:.1f}" for r in group)
        iterations = ", ".join(sorted({f"{r['iterations_done']:g}" for r in group}))
        seconds = ", ".join(f"{r['condensing_seconds']:.0f}" for r in group)
        lines.append(
            f"| {name} | {ipc} | **{fmean(accuracies):.1f}±{stdev(accuracies):.1f}** | {len(accuracies)} | {seeds} | "
            f"{PUBLISHED.get((name, ipc), '–')} | {iterations} | {batch}, {lr:g}, {precision} | {seconds} |"
        )
    return "\n".join(lines) + "\n"


def spread(score: dict[str, Any]) -> str:
    """Format the standard deviation; a single network has none."""
    return "" if score["n"] == 1 else f"±{100 * score['std']:.1f}"


def validation_table() -> str:
    """Return the table of accuracies on held-out training images by iterations."""
    lines = [
        "| data set | images per class | start | ς | image lr | seed | accuracy after iterations |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records("validation"):
        method = record["method"]
        curve = ", ".join(
            f"{iterations}: {100 * v['accuracy']:.1f}{spread(v)} (n={v['n']})"
            for iterations, v in record["validations"].items()
        )
        setting = f"{method['ipc']} | {method['start']} | {method['network_epochs']} | {method['image_lr']:g}"
        lines.append(f"| {record['source']['name']} | {setting} | {record['seed']} | {curve} |")
    return "\n".join(lines) + "\n"


def stopped_table() -> str:
    """Return the table of stopped runs, so that every accuracy seen is reported."""
    runs = measure.read_record(measure.RESULTS / "stopped-runs.json")["runs"]
    lines = [
        "| data set | images per class | image lr | iterations | seed | measured on | accuracies | why |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in runs:
        accuracies = ", ".join(f"{100 * value:.1f}" for value in r["accuracies"])
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {r['image_lr']:g} | {r['iterations']} | {r['seed']} | {r['tested_on']} | "
            f"{accuracies} | {r['why']} |"
        )
    return "\n".join(lines) + "\n"


def memory_table() -> str:
    """Return the table of peak memory by classes."""
    paths = sorted(measure.RESULTS.glob("memory*.json"))
    rows = [row for path in paths for row in measure.read_record(path)["rows"]]
    lines = [
        "| classes | images per class | image side | real batch | MB before the run | MB at the peak | MB of the sets |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for r in rows:
        megabytes = " | ".join(f"{r[f'megabytes_{when}']:.0f}" for when in ("before", "peak", "sets"))
        lines.append(
            f"| {r['classes']} | {r['ipc']} | {r.get('side', 32)} | {r['real_batch']} | {megabytes} |"
        )
    return "\n".join(lines) + "\n"


def hardware() -> str:
    """Return the hardware and versions of the records."""
    rows = {
        f"{r['date']}, {r['hardware']['processor']}, {r['hardware']['threads']} of {r['hardware']['cores']} cores per "
        f"run, torch {r['versions']['torch']}, Python {r['versions']['python']}"
        for kind in ("accuracy", "validation")
        for r in records(kind)
    }
    return "".join(f"- {row}\n" for row in sorted(rows))


def main() -> None:
    """Write the page."""
    page = HEAD + "## Accuracy on the test images\n" + accuracy_table()
    page += "\nSeconds are wall time on a machine that was also doing other work: upper bounds. To repeat a run that\n"
    page += "had a `--time-limit` exactly, give its number of iterations as `--iterations`.\n"
    page += "\n## Accuracy on held-out training images, by iterations\n"
    page += "300 epochs, no augmentation; ± over the networks of one state.\n\n" + validation_table()
    page += "\n## Stopped runs\n" + stopped_table()
    page += "\n## Peak memory by number of classes\n" + memory_table()
    page += "\n## Hardware and versions\n" + hardware()
    commands = sorted({r["command"] for kind in ("accuracy", "validation") for r in records(kind)})
    page += "\n## Commands\n```bash\n" + "\n".join(commands) + "\n```\n"
    write_text(ROOT / "docs" / "results.md", page)


if __name__ == "__main__":
    main()
