"""Loading a model is one line of ours, not a progress bar of each library's."""

from __future__ import annotations


def quiet() -> None:
    """Turns off the progress bars and notices of the model libraries in this process; call it before loading."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
