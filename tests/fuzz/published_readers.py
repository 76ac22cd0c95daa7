"""Readers of sets that others published: their pickles, changed inside the archive and out."""

import io
import zipfile
from functools import partial
from pathlib import Path
from random import Random

from datacondense.data.published import read_published
from tests.data.made_published import RATE, REAL, arrays, pair, runs, tensors
from tests.fuzz.oracle import Sandbox
from tests.fuzz.reader import Attempt, Call, Reader
from tests.fuzz.strange import changed_bytes


def _changed_archive(rng: Random, data: bytes) -> bytes:
    """Change one member of an archive, whose checksums fit again."""
    members = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            members[name] = archive.read(name)
    pickled = [name for name in members if name.endswith("data.pkl")]
    name = rng.choice(pickled if pickled and rng.random() < 0.7 else list(members))
    members[name] = changed_bytes(rng, members[name])
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return changed.getvalue()


def _published(home: Path) -> Attempt:
    """Make the reader of files of all forms."""
    folder = tensors(home / "datm", rate=RATE)
    files = [
        runs(home / "res_DSA_made_ConvNet_2ipc.pt"),
        pair(home / "data_factor1.pt"),
        arrays(home / "kip_nozca.npz"),
        *sorted(folder.iterdir()),
    ]

    def attempt(rng: Random, _: Sandbox) -> Call:
        path, others = rng.choice(files), []
        data = path.read_bytes()
        change = _changed_archive if rng.random() < 0.7 else changed_bytes
        given = Path(path.name)
        given.write_bytes(change(rng, data))
        if path.parent == folder:
            others = [each for each in files if each.parent == folder and each != path]
        return partial(read_published, given, *others, on=REAL, run=rng.choice((0, 0, 1, -1)))

    return attempt


READERS = (Reader("published", 20, _published),)
