"""Whether features can be stored, and the smallest reduction that is enough: derived from declarations of the parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ser_toolkit.data.batch import STREAM
from ser_toolkit.data.corpus_data import CorpusData
from ser_toolkit.data.reduction import Reduction
from ser_toolkit.downstream.heads import FittedHead
from ser_toolkit.errors import RecipeError
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.variants import Plain, Variant
from ser_toolkit.model.network import EmotionNetwork

#: Overrides that change the reduction under the same upstream. Of heads it is the kind, never a setting.
_BEHIND_UPSTREAM = re.compile(
    r"(^|\s)(--)?model\.((layer_mix|frames|pooling|normalisation|fusion)[.=+]|head(\.class_path)?=)"
)


def why_not_stored(model: EmotionNetwork, data: CorpusData, settings: FeatureSettings) -> str | None:
    """Reason why features cannot be stored: they differ between folds, epochs or batches; None where they can.

    Every training step starts at the recordings then, in place of one pass of each utterance through the upstream.
    """
    if not model.upstream.frozen:
        return "the upstream is fine-tuned"
    if data.train_crop_seconds is not None:
        return "data.train_crop_seconds cuts recordings anew in every epoch"
    if data.eval_window_seconds is not None:
        return "data.eval_window_seconds cuts recordings into windows"
    if model.upstream.batch_dependent is not None:
        return model.upstream.batch_dependent
    return "features.keep=none" if settings.keep == "none" else None


def check_stored(
    model: EmotionNetwork, data: CorpusData, settings: FeatureSettings, variants: Sequence[Variant]
) -> None:
    """Refuse parts and variants that need stored features of a frozen upstream where they cannot be stored.

    Raises:
        RecipeError: a variant, a normalisation or a head that is fitted at once works on stored features.
    """
    reason = why_not_stored(model, data, settings)
    needs = [f"variant {variant.name}" for variant in variants if not isinstance(variant, Plain)]
    if model.normalisation is not None or model.embedding_normalisation is not None:
        needs.append("model.normalisation")
    if isinstance(model.head, FittedHead):
        needs.append(f"model.head={type(model.head).__name__}")
    if model.upstream.frozen and reason is not None and needs:
        raise RecipeError(
            f"{', '.join(needs)}: this works on stored features, but none are kept: {reason}. Change that, or leave it "
            "out (variants=[Plain], model.normalisation=none, a head that is trained in steps)."
        )


def reductions(
    model: EmotionNetwork, variants: Sequence[Variant], settings: FeatureSettings, searched: Sequence[str] = ()
) -> tuple[Reduction, ...]:
    """The smallest reduction that is enough under each upstream, for every variant and candidate of a recipe.

    Args:
        model: whose parts declare their needs.
        variants: those that standardise frames per speaker need variances.
        settings: may ask for frames.
        searched: overrides that are tried inside the folds: where they change what lies behind the upstream, frames
            serve all of them.
    """
    found = []
    normalising = [v for v in variants if v.level == "frames" and not isinstance(v, Plain)]
    changed = next((override for override in searched if changes_parts(override)), None)
    for part, least in zip(model.upstream.parts, model.reductions, strict=True):
        if part.hop_samples == 0:
            least = Reduction("frames", least.layer_norm)  # one vector an utterance: nothing is less
        elif settings.keep == "frames":
            least = Reduction("frames", least.layer_norm, "features.keep=frames")
        elif changed is not None:
            least = Reduction("frames", least.layer_norm, f"{changed} is tried inside the folds")
        elif normalising:
            names = ", ".join(variant.name for variant in normalising)
            groups = " or ".join(dict.fromkeys(variant.column for variant in normalising))
            reason = f"{least.reason}, and {names} standardises per {groups}"
            least = replace(least.joined(Reduction("variances", least.layer_norm)), reason=reason)
        found.append(least)
    return tuple(found)


def unused_layers(model: EmotionNetwork) -> str | None:
    """A sentence for the user where layers are computed and stored that the layer mix never reads; else None."""
    upstream = model.upstream
    if not upstream.skips_layers:
        return None
    used = list(model.fusion.layer_mixes[STREAM].used_layers)
    if len(used) == upstream.num_layers:
        return None
    return (
        f"the layer mix uses {len(used)} of {upstream.num_layers} layers: model.upstream.layers={used} keeps only "
        "those, and computes none above them (count layers in model.layer_mix anew)"
    )


def changes_parts(overrides: str) -> bool:
    """Whether overrides (several separated by blanks) change what lies behind the upstream."""
    return _BEHIND_UPSTREAM.search(overrides) is not None
