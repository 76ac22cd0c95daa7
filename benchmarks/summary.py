"""Write docs/results.md from the records in benchmarks/results.

python benchmarks/summary.py
"""

import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from datacondense.files import write_text

ROOT = Path(__file__).parents[1]
PUBLISHED = {  # Zhao, Mopuri, Bilen (ICLR 2021), Table 1: 1000 draws, 256 real images per class, 5 sets × 20 networks
    ("mnist", 1): "91.7±0.5",
    ("mnist", 10): "97.4±0.2",
    ("fashion-mnist", 1): "70.5±0.6",
    ("cifar10", 1): "28.3±0.5",
}
HEAD = """# Results

Written by `python benchmarks/summary.py` from the records in [benchmarks/results](../benchmarks/results), which hold
every accuracy with its seed, recipe, versions, hardware and the command that repeats it. Accuracies are percentages:
mean and standard deviation (of a sample) over all networks of all seeds. Each finished set was scored once, on the last
state of its run; runs that were stopped are listed too.

"""


def records(kind: str) -> list[dict[str, Any]]:
    """Read the records of one kind."""
    paths = sorted((ROOT / "benchmarks" / "results").glob(f"{kind}-*.json"))
    return [json.loads(path.read_text()) for path in paths]


def accuracy_table() -> str:
    """Tabulate the test accuracies, one row per data set and settings."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for record in records("accuracy"):
        method = record["method"]
        key = (record["source"]["name"], method["ipc"], record["run"]["iterations"], method["real_batch"])
        groups[*key, method["image_lr"], method["precision"], record["run"]["time_limit"]].append(record)
    lines = [
        "| data set | images per class | accuracy | n | mean of each seed | published | draws | real batch, image lr, "
        "precision | seconds to condense |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, ipc, _, batch, lr, precision, _), group in sorted(groups.items(), key=str):
        accuracies = [100 * value for record in group for value in record["score"]["accuracies"]]
        seeds = ", ".join(f"{r['seed']}: {100 * r['score']['mean']:.1f}" for r in group)
        iterations = ", ".join(sorted({f"{r['draws_done']:g}" for r in group}))
        seconds = ", ".join(f"{r['condensing_seconds']:.0f}" for r in group)
        lines.append(
            f"| {name} | {ipc} | **{fmean(accuracies):.1f}±{stdev(accuracies):.1f}** | {len(accuracies)} | {seeds} | "
            f"{PUBLISHED.get((name, ipc), '–')} | {iterations} | {batch}, {lr:g}, {precision} | {seconds} |"
        )
    return "\n".join(lines) + "\n"


def spread(score: dict[str, Any]) -> str:
    """Write the standard deviation; a single network has none."""
    return "" if score["n"] == 1 else f"±{100 * score['std']:.1f}"


def validation_table() -> str:
    """Tabulate accuracies on held-out training images against draws."""
    lines = [
        "| data set | images per class | start | ς | image lr | seed | accuracy after draws |",
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
    """Tabulate the runs that were not finished, so that nothing seen stays unsaid."""
    runs = json.loads((ROOT / "benchmarks" / "results" / "stopped-runs.json").read_text())["runs"]
    lines = ["| data set | images per class | image lr | draws | seed | measured on | accuracies | why |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    for r in runs:
        accuracies = ", ".join(f"{100 * value:.1f}" for value in r["accuracies"])
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {r['image_lr']:g} | {r['draws']} | {r['seed']} | {r['tested_on']} | "
            f"{accuracies} | {r['why']} |"
        )
    return "\n".join(lines) + "\n"


def memory_table() -> str:
    """Tabulate peak memory against classes."""
    paths = sorted((ROOT / "benchmarks" / "results").glob("memory*.json"))
    rows = [row for path in paths for row in json.loads(path.read_text())["rows"]]
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
    """Say where and with what the records were made."""
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
    page += "\nSeconds are wall time on a machine that did other work beside; take them as upper bounds. A run with a\n"
    page += "`--time-limit` is repeated exactly by giving its number of draws to `--iterations` instead.\n"
    page += "\n## Accuracy on held-out training images, against outer draws\n"
    page += "300 epochs, no augmentation; ± over the networks of one state.\n\n" + validation_table()
    page += "\n## Runs that were stopped\n" + stopped_table()
    page += "\n## Peak memory against the number of classes\n" + memory_table()
    page += "\n## Hardware and versions\n" + hardware()
    commands = sorted({r["command"] for kind in ("accuracy", "validation") for r in records(kind)})
    page += "\n## Commands\n```bash\n" + "\n".join(commands) + "\n```\n"
    write_text(ROOT / "docs" / "results.md", page)


if __name__ == "__main__":
    main()
