"""A progress hook that remembers what it was told."""

from __future__ import annotations

from ser_toolkit.system.progress import Progress


class SeenProgress(Progress):
    """Steps and sentences that some work has reported."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, float]] = []
        self.notes: list[str] = []

    def update(self, done: float, total: float, figure: float | None = None) -> None:
        self.steps.append((done, total))

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
