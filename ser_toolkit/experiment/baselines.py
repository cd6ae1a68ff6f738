"""Baselines from the same folds, so that every report compares with simple systems on the same utterances."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from ser_toolkit.data.batch import DIMENSIONS, MISSING_LABEL, Stored, parts_of
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.data.needs import Needs
from ser_toolkit.data.ratings import rated_dimensions
from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.features.extract import extract
from ser_toolkit.features.plan import store_specs
from ser_toolkit.model.epoch_outputs import GatheredOutputs


class Baseline(ABC):
    """A simple system: trains on train + dev of a fold (it has nothing to select), predicts the test part."""

    #: Folder and row name.
    name: str
    explanation: str
    #: Whether normalising features per speaker changes anything.
    uses_features: bool
    #: Of its loaders, which it does not use: it reads stored features and labels.
    needs = Needs(sampling_rate=16000)
    #: Output that the baseline predicts, of ``Head.outputs``: it stands beside models that predict the same.
    output = "logits"

    def available(self) -> bool:
        """Whether the packages that the baseline needs are installed."""
        return True

    def features(self, data: CorpusData) -> Mapping[str, Stored] | None:
        """Features of each utterance, id -> (L, T, D); None for a baseline that looks at labels only."""
        return None

    def predict(self, data: FoldData) -> GatheredOutputs:
        """Outputs for the test part of a fold, from the features of a variant.

        Raises:
            RecipeError: no utterance of the training part has a target.
        """
        test = sorted(data.scored_ids)

        def part(names: Sequence[str]) -> _Part:
            rows = data.rows(names)
            label, dimensions = data.targets.label[rows], data.targets.dimensions[rows]
            return _Part(_matrix(names, data.features), label, dimensions.astype(float))

        tested = part(test)
        outputs = self._outputs(part([*data.fold.train, *data.fold.dev]), tested.vectors, data)
        return GatheredOutputs(
            test, tested.label, *outputs, tested.dimensions, loss=float("nan"), num_classes=len(data.classes)
        )

    @abstractmethod
    def _outputs(self, train: _Part, test: np.ndarray, data: FoldData) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Fit to the training part, predict vectors (M, F): probabilities (M, C) or None, dimensions (M, 3) or None."""


class ClassBaseline(Baseline):
    """A baseline of classes."""

    @abstractmethod
    def probabilities(self, train: np.ndarray, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
        """Fit to vectors (N, F) and class indices (N,), predict vectors (M, F): class probabilities (M, C)."""

    def _outputs(self, train: _Part, test: np.ndarray, data: FoldData) -> tuple[np.ndarray, None]:
        known = train.label != MISSING_LABEL
        if not known.any():
            raise RecipeError(
                f"Baseline {self.name} predicts classes, but no training utterance of fold {data.fold.name} has one. "
                "Set baselines=[] where only valence, arousal and dominance are known."
            )
        return self.probabilities(train.vectors[known], train.label[known], test, len(data.classes)), None


@dataclass(frozen=True)
class _Part:
    """Data of a baseline: vectors (N, F), class indices (N,), ratings (N, 3)."""

    vectors: np.ndarray
    label: np.ndarray
    dimensions: np.ndarray


def _matrix(names: Sequence[str], features: Mapping[str, Stored] | None) -> np.ndarray:
    """Vectors (N, F): means over time, layers side by side."""
    if features is None:
        return np.zeros((len(names), 0))
    stored = [parts_of(features[name])[0] for name in names]
    return np.stack([frames.numpy().mean(axis=1).reshape(-1) for frames in stored if isinstance(frames, Tensor)])


class MajorityClass(ClassBaseline):
    """Predicts the most frequent class of the training part; its probabilities are the class frequencies."""

    name = "majority"
    explanation = "The most frequent class, always."
    uses_features = False

    def probabilities(self, train: np.ndarray, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
        """Class frequencies, for every test utterance alike."""
        frequency = np.bincount(label, minlength=num_classes) / len(label)
        return np.tile(frequency, (len(test), 1))


class _Functionals(Baseline):
    """A baseline on openSMILE's eGeMAPSv02 functionals."""

    uses_features = True

    def available(self) -> bool:
        """Whether openSMILE is installed."""
        return importlib.util.find_spec("opensmile") is not None

    def features(self, data: CorpusData) -> Mapping[str, Stored]:
        """88 functionals of each utterance: (1, 1, 88)."""
        from ser_toolkit.upstreams.opensmile import OpenSmile

        return extract(store_specs(OpenSmile(), data.manifest, allow_silent=data.allow_silent))


class FunctionalsSVM(_Functionals, ClassBaseline):
    """eGeMAPS functionals + linear SVM: standardised on the training part, C = 0.1, class-balanced.

    C is fixed, not searched: the value that the literature's reference points were computed with.
    """

    name = "egemaps_svm"
    explanation = "eGeMAPSv02 functionals, standardised, linear SVM (C = 0.1, class-balanced)."

    def probabilities(self, train: np.ndarray, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
        """Softmax of the decision values: an order, not calibrated probabilities."""
        machine = make_pipeline(StandardScaler(), LinearSVC(C=0.1, class_weight="balanced", random_state=0))
        machine.fit(train, label)
        decision = machine.decision_function(test)
        if decision.ndim == 1:
            decision = np.stack([-decision, decision], axis=1)
        values = np.full((len(test), num_classes), -np.inf)
        values[:, machine.classes_] = decision
        return torch.from_numpy(values).softmax(dim=1).numpy()


#: L2 penalty of ``FunctionalsRegression``, an utterance: fixed before any corpus was tried.
PENALTY = 0.1


class FunctionalsRegression(_Functionals):
    """eGeMAPS functionals + ridge regression: standardised on the training part, one regression a dimension.

    Minimises mean (x - y)^2 + 0.1 |w|^2 with a free intercept. The penalty is fixed, not searched. A squared error
    draws predictions towards the mean, for which CCC takes points off: that is what a plain regression gives.
    """

    name = "egemaps_regression"
    explanation = (
        f"eGeMAPSv02 functionals, standardised, ridge regression of each dimension (L2 penalty {PENALTY} an utterance)."
    )
    output = "dimensions"

    def _outputs(self, train: _Part, test: np.ndarray, data: FoldData) -> tuple[None, np.ndarray]:
        found = np.full((len(test), len(DIMENSIONS)), np.nan)
        for index, name in enumerate(DIMENSIONS):
            known = ~np.isnan(train.dimensions[:, index])
            if name in rated_dimensions(train.dimensions):
                ridge = make_pipeline(StandardScaler(), Ridge(alpha=PENALTY * int(known.sum())))
                ridge.fit(train.vectors[known], train.dimensions[known, index])
                found[:, index] = ridge.predict(test)
        return None, found


def known_baselines() -> dict[str, Baseline]:
    """Every baseline by its name."""
    return {baseline.name: baseline for baseline in (MajorityClass(), FunctionalsSVM(), FunctionalsRegression())}


def check_baselines(names: Sequence[str]) -> None:
    """Refuse names of baselines that do not exist.

    Raises:
        RecipeError: with the nearest names that do.
    """
    known = known_baselines()
    for name in names:
        if name not in known:
            raise RecipeError(f"Baseline {name!r} is unknown. {nearest(name, known)}")
