"""Keep transformers' progress bars, log lines and warnings off the terminal while a model is
loaded, and only then.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from logging import CRITICAL
from typing import Any
from unittest import mock


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers and its hub client inside the block; errors still raise, and settings
    are put back.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    levels = logging.get_verbosity(), hub_logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.set_verbosity, levels[0])
        stack.callback(hub_logging.set_verbosity, levels[1])
        if bars:
            stack.callback(logging.enable_progress_bar)
        logging.set_verbosity(CRITICAL)
        hub_logging.set_verbosity(CRITICAL)
        logging.disable_progress_bar()
        yield


@contextmanager
def quiet_gguf() -> Iterator[None]:
    """``quiet``, and also the bar that transformers' GGUF reader draws with a tqdm of its own."""
    from transformers import modeling_gguf_pytorch_utils as reader

    def no_bar(items: Any, **_: Any) -> Any:
        return items

    with quiet(), mock.patch.object(reader, "tqdm", no_bar, create=True):
        yield
