"""Baselines from the same folds, so that every report says what a simple system reaches on the same utterances."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from torch import Tensor

from ser_toolkit.data.batch import MISSING_LABEL, Stored, parts_of
from ser_toolkit.data.datamodule import SerDataModule
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.scoring import GatheredOutputs


class Baseline(ABC):
    """Trains on train + dev of a fold (it has nothing to select), predicts the test part."""

    #: Folder and row name.
    name: str
    explanation: str
    #: Whether normalising features per speaker changes anything.
    uses_features: bool

    def available(self) -> bool:
        """Whether what it needs is installed."""
        return True

    def features(self, data: SerDataModule) -> Mapping[str, Stored] | None:
        """What it sees, utterance id -> (L, T, D); None when it looks at labels only."""
        return None

    @abstractmethod
    def probabilities(self, train: np.ndarray, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
        """(N, F), (N,), (M, F) -> (M, C)."""

    def predict(self, data: SerDataModule, view: Mapping[str, Stored] | None, not_scored: set[str]) -> GatheredOutputs:
        """Outputs for the test part of the fold in use.

        Args:
            data: its fold is in use.
            view: features of the variant, or None.
            not_scored: test utterances that are left out.

        Raises:
            RecipeError: no utterance of the training part has a class.
        """
        label_of = dict(zip(data.manifest.table["id"], data.targets.label, strict=True))
        train = [name for name in (*data.fold.train, *data.fold.dev) if label_of[name] != MISSING_LABEL]
        if not train:
            raise RecipeError(
                f"Baseline {self.name} predicts classes, but no training utterance of fold {data.fold.name} has one. "
                "Set baselines=[] where only valence, arousal and dominance are known."
            )
        test = sorted(name for name in data.fold.test if name not in not_scored)

        def matrix(names: list[str]) -> np.ndarray:
            if view is None:
                return np.zeros((len(names), 0))
            kept = [parts_of(view[name])[0] for name in names]
            return np.stack([frames.numpy().mean(axis=1).reshape(-1) for frames in kept if isinstance(frames, Tensor)])

        labels = np.array([label_of[name] for name in train])
        probabilities = self.probabilities(matrix(train), labels, matrix(test), len(data.classes))
        rows = {name: row for row, name in enumerate(data.manifest.table["id"])}
        index = np.array([rows[name] for name in test], dtype=int)
        return GatheredOutputs(
            test,
            data.targets.label[index],
            probabilities,
            None,
            data.targets.dimensions[index],
            float("nan"),
            len(data.classes),
        )


class Majority(Baseline):
    """Always says the most frequent class of the training part; its probabilities are the class frequencies."""

    name = "majority"
    explanation = "The most frequent class of the training part, always."
    uses_features = False

    def probabilities(self, train: np.ndarray, label: np.ndarray, test: np.ndarray, num_classes: int) -> np.ndarray:
        """Class frequencies, for every test utterance alike."""
        frequency = np.bincount(label, minlength=num_classes) / len(label)
        return np.tile(frequency, (len(test), 1))


class FunctionalsSVM(Baseline):
    """eGeMAPS functionals + linear SVM: standardised on the training part, C = 0.1, class-balanced.

    C is fixed, not searched: the value that the literature's reference points were computed with.
    """

    name = "egemaps_svm"
    explanation = "eGeMAPSv02 functionals, standardised on the training part, linear SVM (C = 0.1, class-balanced)."
    uses_features = True

    def available(self) -> bool:
        """Whether openSMILE is installed."""
        return importlib.util.find_spec("opensmile") is not None

    def features(self, data: SerDataModule) -> Mapping[str, Stored]:
        """88 functionals of each utterance: (1, 1, 88)."""
        from ser_toolkit.upstreams.opensmile import OpenSmile

        return extract_corpus(OpenSmile(), data.manifest, allow_silent=data.allow_silent)

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


def known_baselines() -> dict[str, Baseline]:
    """Baselines by name."""
    return {baseline.name: baseline for baseline in (Majority(), FunctionalsSVM())}
