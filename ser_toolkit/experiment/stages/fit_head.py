"""Fit of a head at once, by a library (scikit-learn, XGBoost), to the vectors of the training part."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from ser_toolkit.data.balance import draw
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.errors import TrainingError
from ser_toolkit.experiment.unit import Unit
from ser_toolkit.model.emotion_model import EmotionModel
from ser_toolkit.model.weights import write_weights
from ser_toolkit.system.processes import is_first
from ser_toolkit.terms import MISSING_LABEL


def fit_at_once(unit: Unit, part: FoldData, model: EmotionModel, head: FittedHead) -> dict[str, Any] | None:
    """Fit the head of a model whose embedding is fixed, score dev, write the weights.

    Args:
        unit: whose fit it is.
        part: the fold's data, as vectors (``Unit.with_vectors``).
        model: holds the head.
        head: is fitted.

    Returns:
        The record of the fit, on the main process; None on the others.

    Raises:
        TrainingError: there are no stored vectors, or no training utterance has a class.
    """
    started = time.perf_counter()
    drawn = _drawn(part)
    labels = torch.from_numpy(part.labels_of(drawn))
    known = labels != MISSING_LABEL
    features = part.features
    if features is None or not bool(known.any()):
        raise TrainingError(
            f"{type(head).__name__} is fitted to classes and stored vectors; fold {unit.fold.name} has "
            + ("no training utterance with a class." if features is not None else "waveforms only (windows or crops).")
        )
    vectors = torch.stack([torch.as_tensor(features[name]) for name in drawn])
    head.fit(vectors[known].float(), labels[known])
    trainer = unit.recipe.trainer(default_root_dir=str(unit.folder), logger=False)
    dev: dict[str, float] = {}
    if part.has_dev:
        scores = trainer.validate(model, part, verbose=False)
        dev = {name: float(value) for name, value in scores[0].items()}
    if not is_first():
        return None
    write_weights(unit.files.weights, model)
    return {
        "epochs": [0],
        "max_epochs": 1,
        "averaged": 1,
        "dev": dev,
        "training_utterances": int(known.sum()),
        "seconds": round(time.perf_counter() - started, 2),
    }


def _drawn(part: FoldData) -> list[str]:
    """Ids to fit to: the training part, or where draws are balanced, one such draw by the seed."""
    ids, shares = part.training_ids, part.shares
    if shares is None:
        return list(ids)
    return [ids[row] for row in sorted(draw(shares, np.random.default_rng((part.seed, 0))))]
