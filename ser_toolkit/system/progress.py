"""The hook that all long work reports to: how far it is, and sentences for the user."""

from __future__ import annotations


class Progress:
    """Receives how far a piece of work is, and sentences about it; this one shows neither."""

    def update(self, done: float, total: float, figure: float | None = None) -> None:
        """Report that ``done`` of ``total`` files, bytes, audio seconds or epochs are finished.

        Args:
            done: finished so far.
            total: all of them.
            figure: the latest dev figure, where a model is trained.
        """

    def note(self, sentence: str) -> None:
        """Report a sentence for the user."""


#: Shows nothing: the default wherever a ``Progress`` is taken.
SILENT = Progress()
