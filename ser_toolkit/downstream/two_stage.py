"""Two support vector machines in a row: one class against all others, then which of the others."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ser_toolkit.downstream._fitting import ClassWeights, StandardisedHead
from ser_toolkit.downstream.kernel import KernelSVM
from ser_toolkit.errors import RecipeError, TrainingError

#: Parts that the training part is dealt into when the root class is looked for.
NUM_FOLDS = 5


class TwoStageSVM(StandardisedHead):
    """Hierarchical classifier of two kernel SVMs: the root class against all others, then which of the others.

    The first machine decides alone: where it says root, the second is not asked. The root is the class that one machine
    for all classes recalls best; it is named, or found by cross-validation inside the training part. With d the first
    decision value (above 0: root) and s_c those of the second, the logits are d for the root and
    -d + s_c - max(s) for class c: an order, not calibrated probabilities.

    ``HierarchicalHead`` is the same tree trained as one likelihood.

    Source: Sandler & Ross 2022, "Is style all you need? Dependencies between emotion and GST-based speaker
    recognition", arXiv 2211.08213 (the hierarchical classifier; sadness is the root there, found by looking at a
    confusion matrix).

    Args:
        input_dim: E, injected.
        num_classes: C, injected from the data, at least 3.
        root: name of the class that is told apart first. null takes the class that one machine for all classes recalls
            best in five parts of the training part (random parts, which may share speakers; the first of several).
        C: inverse strength of the penalty of both machines, above 0.
        kernel: of both, ``rbf`` exp(-gamma |x - y|^2) or ``linear`` x.y.
        gamma: of rbf, above 0; "scale" is 1 / (E * variance of all values that a machine is fitted to).
        class_weights: "balanced" weighs a class of a machine by its inverse frequency, so that the root counts as much
            as all others together in the first.
        standardise: vectors to mean 0 and standard deviation 1 on the training part; use model.normalisation=none.

    Raises:
        RecipeError: there are fewer than three classes, or an option is out of range.
    """

    root_index: Tensor

    def __init__(
        self,
        input_dim: int,
        num_classes: int,
        root: str | None = None,
        C: float = 1.0,  # noqa: N803 (its name everywhere)
        kernel: Literal["rbf", "linear"] = "rbf",
        gamma: float | Literal["scale"] = "scale",
        class_weights: ClassWeights = "balanced",
        standardise: bool = True,
    ) -> None:
        super().__init__(input_dim, num_classes, standardise)
        if num_classes < 3:
            raise RecipeError(
                f"TwoStageSVM tells one class from the others and then these apart, which needs at least 3 classes; "
                f"found {num_classes}. Use KernelSVM."
            )
        self.root = root

        def machine(classes: int) -> KernelSVM:
            return KernelSVM(input_dim, classes, C, kernel, gamma=gamma, class_weights=class_weights, standardise=False)

        self.first, self.second, self._single = machine(2), machine(num_classes - 1), machine
        self._occurring: list[int] = []
        #: Index of the root class; -1 until it is known.
        self.register_buffer("root_index", torch.tensor(-1))

    def set_classes(self, classes: Sequence[str]) -> None:
        """Find the root class, if it is named.

        Raises:
            RecipeError: it is not among the classes.
        """
        if self.root is None:
            return
        if self.root not in classes:
            raise RecipeError(
                f"TwoStageSVM: the root class {self.root!r} is not among the classes ({', '.join(classes)}). Name one "
                "of them, or leave model.head.root=null to have it found."
            )
        self.root_index.fill_(list(classes).index(self.root))

    def match_shapes(self, state: Mapping[str, Tensor]) -> None:
        """Make every buffer of head and machines as large as in a stored state."""
        super().match_shapes(state)
        for name, machine in (("first.", self.first), ("second.", self.second)):
            machine.match_shapes({key.removeprefix(name): v for key, v in state.items() if key.startswith(name)})

    def fit(self, vectors: Tensor, labels: Tensor) -> None:
        """Fit to the training part: (N, E), (N,) class indices, none missing.

        Raises:
            TrainingError: fewer than three classes occur, or the root class does not; or the library gives up.
        """
        occurring = labels.unique().tolist()
        if len(occurring) < 3 or (self.root is not None and int(self.root_index) not in occurring):
            raise TrainingError(
                f"TwoStageSVM needs the root class ({self.root or 'not named'}) and two others in the training part; "
                f"found the class indices {occurring}. Check the split, or use KernelSVM."
            )
        self._occurring = occurring
        super().fit(vectors, labels)

    def _fit(self, values: np.ndarray, label: np.ndarray) -> None:
        if self.root is None:
            self.root_index.fill_(self._occurring[self._best_recalled(values, label)])
        place = self._occurring.index(int(self.root_index))
        vectors, is_root = torch.from_numpy(values), torch.from_numpy(label == place)
        self.first.fit(vectors, is_root.long())
        others = torch.from_numpy(label)[~is_root]
        self.second.fit(vectors[~is_root], others - (others > place).long())

    def _best_recalled(self, values: np.ndarray, label: np.ndarray) -> int:
        """Place, among the classes that occur, of the class that one machine recalls best."""
        from sklearn.model_selection import StratifiedKFold

        found = np.zeros_like(label)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The least populated class")  # its recall counts as any other
            parts = list(StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=0).split(values, label))
        for train, held_out in parts:
            machine = self._single(int(label.max()) + 1)
            machine.fit(torch.from_numpy(values[train]), torch.from_numpy(label[train]))
            # not _decide, which has no column for a class whose one example is held out
            logits = machine(torch.from_numpy(values[held_out])).logits
            found[held_out] = logits.argmax(dim=1).numpy()
        return int(np.argmax([(found[label == k] == k).mean() for k in range(label.max() + 1)]))

    def _decide(self, values: Tensor) -> Tensor:
        root, second = self.first._decide(values)[:, 1:], self.second._decide(values)
        others = second - second.amax(dim=1, keepdim=True) - root
        place = int((self.present < self.root_index).sum())
        return torch.cat([others[:, :place], root, others[:, place:]], dim=1)
