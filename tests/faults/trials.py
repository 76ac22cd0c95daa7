"""One fault each: what is broken, what must hold at once, and what the same command must make of it afterwards."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.faults import disk
from tests.faults.child import BROKEN, Child
from tests.faults.jobs import JOBS, Content, Job, files_content, names, run_here, write_inputs

_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
_MINE = ("thesis.txt", ".movie.mkv.part", ".x.part/draft.txt")
_PAGES = 4096  # of a disk with room
_REFUSED = re.compile(r"in use|holds a|exists|is not empty")


class WrongError(Exception):
    """What a fault must not lead to."""


class Bench:
    """The inputs, and what each command gives and takes when nothing breaks it."""

    def __init__(self, home: Path, jobs: list[str]) -> None:
        self.home = home
        os.environ["XDG_CACHE_HOME"] = str(home / "cache")
        write_inputs(home)
        self.content: dict[str, Content] = {}
        self.names: dict[str, list[str]] = {}
        self.before: dict[str, Content] = {}
        self.seconds: dict[str, float] = {}
        self.changes: dict[str, int] = {}
        self.pages: dict[str, int] = {}
        for name in jobs:
            self._measure(JOBS[name])

    def fresh(self, job: Job) -> Path:
        """Return a new folder with files of the user's, and with what the job replaces."""
        shutil.rmtree(self.home / "trial", ignore_errors=True)
        return self.filled(job, self.home / "trial")

    def filled(self, job: Job, folder: Path) -> Path:
        """Fill a folder, and return it."""
        own = folder / job.out if job.out in {"run", "out"} else folder
        (own / ".x.part").mkdir(parents=True)
        for name in _MINE:
            (own / name).write_text("mine")
        if job.prepare:
            shutil.copytree(self.home / f"before-{job.name}", folder / job.out)
        return folder

    def start(
        self, job: Job, folder: Path, *, again: bool = False, arrange: Callable[[], None] | None = None
    ) -> Child:
        """Start a job, or continue it."""
        log = self.home / "log.txt"
        if not again:
            log.unlink(missing_ok=True)
        return Child([*job.words, *(job.again if again else [])], folder, log, arrange)

    def finish(self, job: Job, folder: Path) -> None:
        """Continue a job, which must end well and with the content of the unbroken one."""
        child = self.start(job, folder, again=True)
        code = child.wait()
        check(code == 0, f"cannot be continued, exit code {code}: {child.said()[-600:]}")
        self.compare(job, folder)

    def compare(self, job: Job, folder: Path) -> None:
        """Compare with the unbroken job."""
        found, wanted = job.content(folder / job.out), self.content[job.name]
        differing = [name for name in wanted if found.get(name) != wanted[name]]
        if "files" in differing:
            check(False, f"other files: {sorted(set(found['files']) ^ set(wanted['files']))}")
        check(not differing, f"other content than the unbroken one's: {', '.join(differing)}")
        extra = set(names(folder)) ^ set(self.names[job.name])
        check(not extra, f"files left over or lost: {', '.join(sorted(extra))}")
        mine = [path for name in _MINE for path in folder.rglob(name)]
        check(all(path.read_text() == "mine" for path in mine), "a file of the user's was changed")

    def _measure(self, job: Job) -> None:
        """Run a job here, so that processes which fork find all imported, then as it will be run, then counted."""
        first = self.home / f"{job.name}-first"
        first.mkdir()
        if job.prepare:
            run_here(job.prepare, first)
            shutil.move(first / job.out, self.home / f"before-{job.name}")
            self.before[job.name] = files_content(self.home / f"before-{job.name}")
        run_here(job.words, self.filled(job, first))
        folder = self.fresh(job)
        began = time.monotonic()
        child = self.start(job, folder)
        check(child.wait() == 0, child.said())
        self.seconds[job.name] = time.monotonic() - began
        self.content[job.name], self.names[job.name] = job.content(folder / job.out), names(folder)
        folder = self.fresh(job)
        layer = disk.FailingLayer(folder)
        child = self.start(job, folder, arrange=layer.arrange)
        check(child.wait() == 0, child.said())
        self.compare(job, folder)
        self.changes[job.name] = layer.changes
        taken = (path.stat().st_size for path in folder.rglob("*"))
        self.pages[job.name] = sum(-(-size // disk.PAGE) for size in taken)


def check(holds: bool, text: str) -> None:
    """Raise what is wrong unless it holds."""
    if not holds:
        raise WrongError(text)


def check_said(child: Child, code: int, *, allowed: tuple[int, ...]) -> None:
    """Check that a command that was broken off said so in a sentence."""
    said = child.said()
    check("Traceback" not in said and code != BROKEN, f"a traceback: {said[-600:]}")
    check(code in allowed, f"exit code {code}: {said[-600:]}")
    if code == 2:
        check("datacondense: " in said, f"no sentence: {said[-600:]}")
    if code == 130:
        check("topped" in said or not said, f"no word of having stopped: {said[-600:]}")


def check_whole(bench: Bench, job: Job, folder: Path) -> None:
    """Check that what is replaced in one step is there, old or new."""
    if job.prepare:
        found = files_content(folder / job.out) if (folder / job.out).exists() else {}
        check(
            found in (bench.before[job.name], bench.content[job.name]), "neither the old content nor the new"
        )


def kill(bench: Bench, job: Job, rng: Random) -> str:
    """Send a signal at a random moment, once or twice, and continue."""
    folder, number = bench.fresh(job), rng.choice(_SIGNALS)
    for part in range(rng.choice((1, 1, 2))):
        child = bench.start(job, folder, again=part > 0)
        time.sleep(rng.random() * bench.seconds[job.name] * 1.1)
        child.kill(number)
        code = child.wait()
        check_said(child, code, allowed=(0, 130, -signal.SIGKILL, -signal.SIGTERM))
        check_whole(bench, job, folder)
    bench.finish(job, folder)
    return number.name


def full_disk(bench: Bench, job: Job, operation: int) -> str:
    """Let a change of a file and all after it fail, and continue where they no longer do."""
    folder = bench.fresh(job)
    layer = disk.FailingLayer(folder, operation)
    child = bench.start(job, folder, arrange=layer.arrange)
    code = child.wait()
    check_said(child, code, allowed=(0, 1, 2))
    check(code != 0 or not layer.failed or job.name == "study", "ended well though the disk was full")
    check(code == 0 or "space" in child.said(), f"does not say that the disk is full: {child.said()[-600:]}")
    check_whole(bench, job, folder)
    bench.finish(job, folder)
    return f"change {operation}: {'failed' if layer.failed else 'not reached'}"


def small_disk(bench: Bench, job: Job, pages: int) -> str:
    """Run on a disk with so many pages left, and continue with room."""
    with disk.small_disk(bench.home / "disk", _PAGES) as mounted:
        if not mounted:
            return "skipped: no disk can be mounted"
        folder = bench.filled(job, bench.home / "disk")
        left = os.statvfs(folder).f_bavail
        (folder / "ballast").write_bytes(bytes((left - pages) * disk.PAGE))
        child = bench.start(job, folder)
        code = child.wait()
        (folder / "ballast").unlink()
        check_said(child, code, allowed=(0, 1, 2))
        check(
            code == 0 or "space" in child.said(), f"does not say that the disk is full: {child.said()[-600:]}"
        )
        bench.finish(job, folder)
    return f"{pages} pages: exit code {code}"


def read_only(bench: Bench, job: Job, rng: Random) -> str:
    """Make the disk read-only at a random moment, and continue once it is writable."""
    with disk.small_disk(bench.home / "disk", _PAGES) as mounted:
        if not mounted:
            return "skipped: no disk can be mounted"
        folder = bench.filled(job, bench.home / "disk")
        child = bench.start(job, folder)
        _pause(child, bench.seconds[job.name] * rng.random())
        done = disk.read_only(folder, on=True)
        child.kill(signal.SIGCONT)
        code = child.wait()
        if done:
            disk.read_only(folder, on=False)
        check_said(child, code, allowed=(0, 1, 2))
        bench.finish(job, folder)
    return "read-only" if done else "busy"


def vanished(bench: Bench, job: Job, rng: Random) -> str:
    """Remove what a command writes to, at a random moment: it is never made anew by a save."""
    folder = bench.fresh(job)
    child = bench.start(job, folder)
    _pause(child, bench.seconds[job.name] * rng.random())
    out = folder / job.out
    present = out.exists()
    if out.is_dir():
        shutil.rmtree(out, ignore_errors=True)
    else:
        out.unlink(missing_ok=True)
    child.kill(signal.SIGINT if rng.random() < 0.3 else signal.SIGCONT)
    child.kill(signal.SIGCONT)
    code = child.wait()
    check_said(child, code, allowed=(0, 1, 2, 130))
    if job.again == ["--resume"] and out.is_dir():
        made = {path.name for path in out.iterdir()} - {".lock"}
        check(not made or "settings.json" in made, f"the folder was made anew with {', '.join(sorted(made))}")
    return "vanished" if present else "not there yet"


def _pause(child: Child, seconds: float) -> None:
    """Stop a process at a moment, until it is continued."""
    time.sleep(seconds)
    child.kill(signal.SIGSTOP)
    time.sleep(0.001)


def two(bench: Bench, job: Job, rng: Random) -> str:
    """Run the same command twice at once: the second is refused or does no harm."""
    folder = bench.fresh(job)
    first = bench.start(job, folder)
    time.sleep(rng.random() * bench.seconds[job.name] * 0.5)
    second = Child(job.words, folder, bench.home / "log-2.txt")
    codes = [first.wait(), second.wait()]
    for child, code in zip((first, second), codes, strict=True):
        check_said(child, code, allowed=(0, 2))
        check(code == 0 or bool(_REFUSED.search(child.said())), f"does not say why: {child.said()[-600:]}")
    (bench.home / "log-2.txt").unlink()
    check(0 in codes, f"neither ended well: {codes}")
    bench.finish(job, folder)
    return f"exit codes {codes[0]} and {codes[1]}"


def torn(bench: Bench, job: Job, rng: Random) -> str:
    """Kill, then cut a file short or fill its end with zeros, as a crash of the machine may: repaired or refused."""
    folder = bench.fresh(job)
    child = bench.start(job, folder)
    time.sleep(rng.random() * bench.seconds[job.name] * 1.2)
    child.kill(signal.SIGKILL)
    child.wait()
    own = {*_MINE, "draft.txt", ".lock", ".claim"}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in own]
    if not files:
        return "nothing written yet"
    path = rng.choice(files)
    data = path.read_bytes()
    kept = rng.randrange(len(data) + 1)
    path.write_bytes(data[:kept] + bytes(0 if rng.random() < 0.5 else len(data) - kept))
    what = f"{path.name} from byte {kept} of {len(data)}"
    child = bench.start(job, folder, again=True)
    code = child.wait()
    check_said(child, code, allowed=(0, 1, 2))
    if code == 0:
        found, wanted = job.content(folder / job.out), bench.content[job.name]
        lines = {"log"} if path.name == "metrics.jsonl" else set()  # of which the crash may have taken some
        differing = [name for name in wanted if name not in lines and found.get(name) != wanted[name]]
        check(not differing, f"{what}: other content without a word: {', '.join(differing)}")
    return f"{what}: exit code {code}"


TRIALS: dict[str, Callable[[Bench, Job, Random], str]] = {
    "kill": kill,
    "read-only": read_only,
    "vanished": vanished,
    "two": two,
    "torn": torn,
}
SWEEPS: dict[str, Callable[[Bench, Job, int], str]] = {"full-disk": full_disk, "small-disk": small_disk}
