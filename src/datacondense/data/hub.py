"""The Hugging Face Hub, through its `datasets` library and that library's cache."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from datacondense.data.columns import read_table
from datacondense.data.config import DataConfig
from datacondense.data.splits import Splits, read_splits
from datacondense.errors import InputError

# The library itself retries an unreachable Hub for half a minute.
REACH_SECONDS = 5.0
CONDENSED = "condensed.safetensors"
CARD = "README.md"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_hub_id(source: str) -> bool:
    """Whether a text has the form of a Hub id."""
    return _HUB_ID.fullmatch(source) is not None


def is_published(folder: Path) -> bool:
    """Whether a folder holds a condensed set as it is published; the folder of a run has no card."""
    # Unlike Path.is_file, this raises nothing where one may not look.
    return all(os.path.isfile(folder / name) for name in (CONDENSED, CARD))


def published_file(hub_id: str) -> Path | None:
    """Return the condensed set of a repository, downloaded or from the cache; None where none can be had."""
    from huggingface_hub import HfApi  # noqa: PLC0415

    cached = not _is_reachable(hub_id)  # The library would try for half a minute.
    try:
        return Path(HfApi().hf_hub_download(hub_id, CONDENSED, repo_type="dataset", local_files_only=cached))
    except Exception:  # Reading the repository as a data set says what is wrong with it.
        return None


def read_hub(hub_id: str, config: DataConfig, **files: Any) -> Splits:
    """Read a data set of the Hub, or of the library's cache where the Hub cannot be reached.

    `files` are `data_files` and the `revision` that they are of, as for `loaded`.
    """
    tables = loaded(hub_id, config.config, **files)
    folders = _cache_folders()
    return read_splits(
        list(tables), lambda split: read_table(tables[split], split, config, folders=folders), config, hub_id
    )


def loaded(
    hub_id: str,
    config_name: str | None,
    data_files: Mapping[str, str] | None = None,
    revision: str | None = None,
    **options: Any,
) -> Any:
    """Download a data set, or find it in the cache; with `streaming`, open it."""
    import datasets  # noqa: PLC0415

    selection = options if revision is None else {**options, "revision": revision}
    if data_files is not None:
        selection = {**selection, "data_files": dict(data_files), "verification_mode": "no_checks"}
    reachable = _is_reachable(hub_id)
    try:
        with quiet(), _offline(not reachable):
            return datasets.load_dataset(hub_id, config_name, **selection)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise InputError(
            f"The Hugging Face Hub has no data set {hub_id!r} that you may read ({sentence(error)}): check the id, "
            "or log in with `hf auth login` where it is private or gated."
        ) from error
    except Exception as error:  # Network, disk, configuration and format errors are of a dozen kinds.
        if not reachable:
            raise InputError(
                f"{hub_id} is neither on a local mirror (--data-root or DATACONDENSE_DATA) nor in the Hugging Face "
                "cache, and the Hub cannot be reached: connect to the internet once, copy a cache and point HF_HOME to "
                "it, or give a folder that holds the data set with --data-root."
            ) from error
        raise InputError(
            f"{hub_id} cannot be loaded from the Hugging Face Hub ({sentence(error)}): check its page for the "
            "configuration (--config) and the format, or download it and give the folder."
        ) from error


def _cache_folders() -> list[Path]:
    """Return the folders into which the libraries put downloaded images."""
    import datasets  # noqa: PLC0415
    from huggingface_hub import constants  # noqa: PLC0415

    config = datasets.config
    return [
        Path(str(path))
        for path in (config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, constants.HF_HUB_CACHE)
    ]


def _is_reachable(hub_id: str) -> bool:
    """Whether the Hub answers within a few seconds; any answer counts, even a refusal."""
    import datasets  # noqa: PLC0415
    from huggingface_hub import HfApi  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    if datasets.config.HF_HUB_OFFLINE:
        return False
    try:
        HfApi().dataset_info(hub_id, timeout=REACH_SECONDS)
    except HfHubHTTPError:
        return True
    except Exception:  # The kind depends on the HTTP library below.
        return False
    return True


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Stop the library from retrying an unreachable Hub before it looks into its cache."""
    import datasets  # noqa: PLC0415

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the library's progress bars and warnings during one call."""
    from datasets.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars  # noqa: PLC0415
    from datasets.utils.logging import ERROR, get_verbosity, set_verbosity  # noqa: PLC0415

    had_bars, verbosity = not are_progress_bars_disabled(), get_verbosity()
    set_verbosity(ERROR)
    if had_bars:
        disable_progress_bars()
    try:
        yield
    finally:
        set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()


def sentence(error: Exception) -> str:
    """Return the text of an error as one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
