"""Gradient-boosted trees on fixed utterance vectors, fitted and evaluated by XGBoost."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.downstream._fitting import ClassWeights, StandardisedHead, balance, check_option, check_positive
from ser_toolkit.errors import RecipeError


class GradientBoosting(StandardisedHead):
    """Gradient-boosted decision trees (XGBoost); softmax of the logits gives its probabilities.

    Needs the extra ``ser-toolkit[xgboost]``. The trees are kept as XGBoost's own UBJSON bytes, nothing pickled. They
    are evaluated on the CPU and pass no gradient on to the vectors. A tree does not care about scale, so nothing is
    standardised.

    Source: Chen & Guestrin 2016, "XGBoost: a scalable tree boosting system", KDD.

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data.
        rounds: boosting rounds, each with one tree a class; at least 1.
        learning_rate: share of each tree that is added, in (0, 1].
        max_depth: of a tree, at least 1.
        subsample: share of the utterances that each tree sees, in (0, 1].
        columns: share of the features that each tree sees, in (0, 1].
        penalty: L2 penalty on the leaves, at least 0.
        class_weights: "balanced" weighs a class by N / (K * n_c), its inverse frequency in the training part.
        seed: of the shares that are drawn.

    Raises:
        RecipeError: XGBoost is not installed, or an option is out of range.
    """

    trees: Tensor

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        rounds: int = 100,
        learning_rate: float = 0.1,
        max_depth: int = 4,
        subsample: float = 0.8,
        columns: float = 0.8,
        penalty: float = 1.0,
        class_weights: ClassWeights = "balanced",
        seed: int = 0,
    ) -> None:
        super().__init__(input_dim, num_classes, standardise=False)
        for name, share in (("learning_rate", learning_rate), ("subsample", subsample), ("columns", columns)):
            if not 0 < share <= 1:
                raise RecipeError(f"GradientBoosting: {name} must be above 0 and at most 1, found {share}.")
        check_positive("GradientBoosting", "rounds", rounds)
        check_positive("GradientBoosting", "max_depth", max_depth)
        check_option("GradientBoosting", "class_weights", class_weights, ("none", "balanced"))
        if penalty < 0:
            raise RecipeError(f"GradientBoosting: penalty must be at least 0, found {penalty}.")
        if importlib.util.find_spec("xgboost") is None:
            raise RecipeError("GradientBoosting needs XGBoost: pip install 'ser-toolkit[xgboost]'.")
        self.rounds = rounds
        self.class_weights: ClassWeights = class_weights
        self._options = {
            "objective": "multi:softprob",
            "eta": learning_rate,
            "max_depth": max_depth,
            "subsample": subsample,
            "colsample_bytree": columns,
            "lambda": penalty,
            "seed": seed,
            "tree_method": "hist",
        }
        self.register_buffer("trees", torch.zeros(0, dtype=torch.uint8))
        self._parsed: tuple[bytes, Any] = (b"", None)

    def _fit(self, values: np.ndarray, label: np.ndarray) -> None:
        import xgboost
        from sklearn.utils.class_weight import compute_sample_weight

        weight = compute_sample_weight(balance(self.class_weights), label)
        data = xgboost.DMatrix(values, label=label, weight=weight)
        options = {**self._options, "num_class": int(label.max()) + 1, "nthread": torch.get_num_threads()}
        stored = bytes(xgboost.train(options, data, self.rounds).save_raw("ubj"))
        self.trees = torch.frombuffer(bytearray(stored), dtype=torch.uint8).to(self.mean.device)

    def _decide(self, values: Tensor) -> Tensor:
        import xgboost

        data = xgboost.DMatrix(values.detach().cpu().float().numpy())
        return torch.from_numpy(self._booster().predict(data, output_margin=True)).to(values)

    def _booster(self) -> Any:
        """The trees of the buffer, parsed once for as long as it holds the same bytes."""
        import xgboost

        stored = self.trees.cpu().numpy().tobytes()
        if stored != self._parsed[0]:
            booster = xgboost.Booster()
            booster.load_model(bytearray(stored))
            self._parsed = (stored, booster)
        return self._parsed[1]
