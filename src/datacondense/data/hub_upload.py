"""Uploading a folder to the Hugging Face Hub as a data set, in one commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datacondense.data.hub import is_hub_id, sentence
from datacondense.errors import InputError

_ANEW = "log in anew with `hf auth login`, or set HF_TOKEN to a token that may write"


def check_repository(hub_id: str) -> None:
    """Check that a text has the form of a Hub id."""
    if not is_hub_id(hub_id):
        raise InputError(f"{hub_id!r} is no name of a repository: give OWNER/NAME, such as anna/mnist-ipc10.")


def upload(
    folder: Path, hub_id: str, *, private: bool = False, force: bool = False, token: str | None = None
) -> str:
    """Upload all files of a folder to a data set of the Hub, which is made first.

    Args:
        folder: What to upload.
        hub_id: Owner and name.
        private: Whether a repository that is made is private.
        force: Add the commit to a repository that exists.
        token: A token that may write. Default: HF_TOKEN, or that of `hf auth login`.

    Returns:
        The address of the data set's page.

    Raises:
        InputError: There is no token, the Hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token  # noqa: PLC0415

    check_repository(hub_id)
    token = token or get_token()
    if token is None:
        raise InputError(
            "There is no token of the Hugging Face Hub: log in with `hf auth login`, or set HF_TOKEN to a token that "
            "may write; --to FOLDER needs none."
        )
    api = HfApi(token=token)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    additions = [
        CommitOperationAdd(path_in_repo=path.relative_to(folder).as_posix(), path_or_fileobj=str(path))
        for path in files
    ]
    with _explained(
        hub_id, f"{hub_id} exists on the Hub: give another name, or --force to add a commit to it."
    ):
        api.create_repo(hub_id, repo_type="dataset", private=private or None, exist_ok=force)
    made = "; the repository is there and may be empty: try again with --force"
    with _explained(hub_id, f"{hub_id} was changed by someone else meanwhile: try again with --force.", made):
        api.create_commit(
            hub_id, additions, commit_message="Condensed set, by datacondense", repo_type="dataset"
        )
    return f"{api.endpoint}/datasets/{hub_id}"


@contextmanager
def _explained(hub_id: str, conflict: str, state: str = "") -> Iterator[None]:
    """Turn what the Hub or the network answers into a sentence with a remedy."""
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    try:
        yield
    except HfHubHTTPError as error:
        said = {
            401: f"The Hugging Face Hub does not know the token: {_ANEW}.",
            403: f"The token may not write to {hub_id}: name an owner that it may write for, or {_ANEW}.",
            409: conflict,
            412: conflict,
        }
        other = f"The Hugging Face Hub refuses {hub_id} ({sentence(error)}){state or ': try again later'}."
        raise InputError(said.get(error.response.status_code, other)) from error
    except Exception as error:  # The kind depends on the HTTP library below.
        raise InputError(
            f"{hub_id} cannot be uploaded to the Hugging Face Hub ({sentence(error)})"
            f"{state or ': check the connection and try again'}."
        ) from error
