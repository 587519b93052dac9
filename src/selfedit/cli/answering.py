"""What `serve` and `chat` share: the folder that is asked, and its model, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    from selfedit.serving.limits import Limits
    from selfedit.serving.service import Service

Asking = Literal["as-trained", "auto", "plain", "chat"]


@Parameter(name="*")
@dataclass(frozen=True)
class ModelOptions:
    """The model that the folder's adapters stand on.

    Attributes:
        model: its name or folder here, where PATH says another.
        prompting: how it is asked: as in training, or as `selfedit ask` does.
        device: auto, cpu, cuda, cuda:N or mps.
        dtype: auto, float32, bfloat16, float16 or float64.
    """

    model: str | None = None
    prompting: Asking = "as-trained"
    device: str = "auto"
    dtype: str = "auto"


AS_STORED = ModelOptions()
"""As the folder says."""


def open_service(path: Path, limits: Limits, options: ModelOptions, *, quiet: bool) -> Service:
    """Everything that answers from a folder, its model fetched and loaded.

    Raises:
        RunFolderError, ModelFileError, ModelUnavailable, UsageError: see `selfedit.errors`.
    """
    from selfedit.cli.fetching import have_model
    from selfedit.documents.served import read_served
    from selfedit.lm.load import load
    from selfedit.serving.service import Service

    served = read_served(path, options.model)
    have_model(served.model, quiet=quiet)
    asked_in = served.prompting if options.prompting == "as-trained" else options.prompting
    lm = load(served.model, device=options.device, dtype=options.dtype, prompting=asked_in)
    return Service(served.shelf(lm, kept=limits.max_loaded), limits)
