"""An export onto a hub, by the hub's own client: a new repository, then the listed files and no
other.

The token is taken by the client from ``HF_TOKEN`` or its own cache; it is never stored or shown
here. ``HF_ENDPOINT`` says where the hub is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from selfedit.errors import Unavailable, UsageError, first_line
from selfedit.models.names import HUB_ID
from selfedit.models.openable import hub_id
from selfedit.models.quiet import quiet
from selfedit.storage.neutral import in_line

_FIXES = {
    401: "log in with `hf auth login`, or set HF_TOKEN to a token that may write",
    403: "use a token that may write to this owner's repositories",
    409: "choose another name, or add to the one that is there with --existing",
}
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")


def check_repository(name: str) -> None:
    """Refuse, before anything is written, what is no name of a repository.

    Raises:
        UsageError: it is not ``owner/name``.
    """
    if not HUB_ID.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is no repository", where="--push", fix="give owner/name")


def check_base(base: str) -> None:
    """Refuse an adapter whose base nobody else can open, and whose name would tell a path of here.

    Raises:
        UsageError: the base model is a folder.
    """
    if hub_id(base) is None:
        what = "the base model is a folder of this machine: nobody else could open the adapter"
        raise UsageError(what, where=base, fix="say what it is on the hub: --base owner/name")


def push(
    folder: Path, files: Sequence[Path], repository: str, *, private: bool, existing: bool
) -> str:
    """Make the repository and put the files into it.

    Args:
        folder: the export.
        files: which of its files go there.
        repository: ``owner/name``.
        private: whether only its owner sees it.
        existing: take one that is there already.

    Returns:
        The commit's address.

    Raises:
        Unavailable: no network, no right to it, or it is there already.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(library_name="selfedit")
    # By name, not the folder: what else may lie there by now does not go.
    added = [
        CommitOperationAdd(path_in_repo=path.relative_to(folder).as_posix(), path_or_fileobj=path)
        for path in files
    ]
    try:
        with quiet():
            api.create_repo(repository, private=private, exist_ok=existing)
            done = api.create_commit(
                repository, added, commit_message="Exported by selfedit", repo_type="model"
            )
    except Exception as error:  # the client's, httpx's, hf_xet's
        raise _push_error(repository, api.endpoint, error) from None
    return in_line(done.commit_url, 300)


def _push_error(repository: str, endpoint: str, error: Exception) -> Unavailable:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    # The token is not in these messages; should a proxy repeat it, it is not shown.
    reason = in_line(_TOKEN.sub("<redacted>", first_line(error)), 300)
    what = f"the export was not pushed to {repository}: {reason}"
    fix = _FIXES.get(status or 0, f"see that {endpoint} can be reached, then run the command again")
    return Unavailable(what, where=in_line(endpoint, 200), fix=fix)
