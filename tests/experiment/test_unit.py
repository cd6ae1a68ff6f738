"""A unit under other settings is another unit."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from ser_toolkit.config.recipe import Recipe, load_recipe
from ser_toolkit.experiment.unit import Unit
from ser_toolkit.features.variants import Plain


def unit(folder: Path, extracted: list[Recipe]) -> Unit:
    """A unit with features; each recipe that it asks features of is noted."""
    recipe = load_recipe("mini.yaml")
    data = recipe.data()
    features = {name: str(recipe) for name in data.manifest.table["id"]}

    def extract(asked: Recipe) -> dict:
        extracted.append(asked)
        return {}

    return Unit(recipe, data, Plain(), data.folds[0], 0, folder, features, extract)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["recipe", "features", "extract", "upstream_state", "fold"])
def test_nothing_of_a_unit_is_set_anew(mini: Path, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(unit(mini, []), name, None)


@pytest.mark.parametrize(
    ("overrides", "asks"),
    [
        ("model.optimizer.lr=0.5", False),
        ("model.pooling=MaxPooling", True),
        ("model.upstream.num_mels=4 model.optimizer.lr=0.5", True),
    ],
)
def test_overrides_make_another_unit_with_the_features_that_it_needs(mini: Path, overrides: str, asks: bool) -> None:
    extracted: list[Recipe] = []
    first = unit(mini, extracted)
    before = first.recipe.plain_config()
    other = first.under(overrides)
    assert first.recipe.plain_config() == before != other.recipe.plain_config()
    assert extracted == ([other.recipe] if asks else [])
    assert (other.features == {}) == asks and first.features
    assert (other.folder, other.fold, other.data) == (first.folder, first.fold, first.data)
