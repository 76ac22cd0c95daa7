"""Record an architecture search in benchmarks/results.

    python benchmarks/search.py fashion-mnist --widths 32 64 --depths 1 2 3 --out search

takes what follows `datacondense search` in a recorded command, so it also repeats a record: it runs what is missing.
"""

import sys
from datetime import UTC, datetime
from functools import partial

from studies import write

from datacondense.applications.architecture_search import run_search
from datacondense.cli.console import Printer
from datacondense.cli.main import parsed
from datacondense.cli.search import Search
from datacondense.cli.tasks import reporter
from datacondense.data.data_source import DataSource
from datacondense.environment import choose_device
from datacondense.reports.records import search_record


def record(command: Search) -> int:
    """Run what is missing and write the record; return 1 if a network failed."""
    config, source = command.config(), DataSource(name=command.dataset, config=command.data)
    search = partial(run_search, source, config, command.out, workers=command.workers)
    with Printer(command.output).ticker("search") as tick:
        result, outcome = search(
            storage=command.storage,
            heartbeat=command.heartbeat,
            device=str(choose_device(command.device)),
            observer=reporter(tick),
        )
    seconds = result.frame["seconds"].sum() + sum(result.set_seconds.values())
    write(
        command.stem,
        max(each["threads"] for each in result.environments),
        **search_record(result),
        command=command.command(),
        dataset=command.dataset,
        facts=command.facts(config),
        date=datetime.now(UTC).date().isoformat(),
        tasks=len(result.frame),
        task_hours=seconds / 3600,
        failed=dict(outcome.failed),
    )
    return 1 if outcome.failed else 0


if __name__ == "__main__":
    found = parsed(["search", *sys.argv[1:]])
    assert isinstance(found, Search)
    sys.exit(record(found))
