"""``ser-compare --labels RULE``: the labels of a rule for the utterances of a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ser_toolkit.errors import RecipeError, nearest
from ser_toolkit.evaluation.run_folder import RunFolder

if TYPE_CHECKING:
    from ser_toolkit.evaluation.comparison.relabelled import OtherLabels


def other_labels(name: str) -> OtherLabels:
    """The labels of a rule with its default options.

    Raises:
        RecipeError: there is no such rule, or it needs classes of its own.
    """
    import ser_toolkit.data.label_rules  # noqa: F401  (a rule is known once its module is imported)
    from ser_toolkit.data.labels import LabelRule
    from ser_toolkit.data.manifest import Manifest
    from ser_toolkit.evaluation.comparison.relabelled import OtherLabels
    from ser_toolkit.parts.finding import subclasses

    # rules that map classes are left out: predictions are in the classes that a run was trained on
    kind: Any = LabelRule  # abstract: what is found below it is not
    known = {key: rule for key, rule in subclasses(kind).items() if key != "Mapped"}
    if name not in known:
        raise RecipeError(f"--labels {name} is unknown. {nearest(name, known)}")
    rule: LabelRule = known[name]()

    def of(run_dir: Path) -> dict[str, str | None]:
        manifest = Manifest.read(RunFolder(run_dir).manifest)
        names = [*rule.classes_of(manifest), None]
        labels = rule.targets(manifest).label
        return dict(zip(manifest.table["id"], [names[place] for place in labels], strict=True))

    return OtherLabels(name, rule.explanation, of)
