"""Recipes: overrides, files on files, round trips, and what a run's hash depends on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ser_toolkit.config.recipe import Recipe, load_recipe, parse
from ser_toolkit.errors import RecipeError


def _hash(*overrides: str) -> str:
    return load_recipe("mini.yaml", *overrides).hash("manifest", "upstream")


def test_later_recipes_and_overrides_win(mini: Path) -> None:
    (mini / "more.yaml").write_text("trainer: {max_epochs: 7}\nmodel: {pooling: MaxPooling}\ndata: {batch_size: 3}\n")
    recipe = parse(["recipe=mini.yaml", "recipe=more.yaml", "data.batch_size=5"])
    assert recipe.name == "more"
    assert (recipe.trainer_settings.max_epochs, recipe.data().batch_size) == (7, 5)
    parts = recipe.plain_config()["model"]
    assert parts["pooling"]["class_path"].endswith(".MaxPooling")
    assert parts["head"]["class_path"].endswith(".MLPHead"), "what the later file does not say stays"


def test_an_override_may_choose_a_part_and_its_options(mini: Path) -> None:
    recipe = load_recipe("mini.yaml", "model.pooling=AttentiveStatisticsPooling", "model.pooling.bottleneck_dim=5")
    model = recipe.model(["a", "b"])
    assert type(model.network.fusion.branches[0].pooling).__name__ == "AttentiveStatisticsPooling"
    assert 5 in {
        size for parameter in model.network.fusion.branches[0].pooling.parameters() for size in parameter.shape
    }


def test_a_part_in_the_working_directory_is_used_from_a_recipe(mini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(mini))
    (mini / "part_of_mine.py").write_text(
        "from ser_toolkit.downstream.pooling import MaxPooling\n\n\nclass Mine(MaxPooling):\n    '''Mine.'''\n"
    )
    (mini / "own.yaml").write_text("_base: mini.yaml\nmodel: {pooling: part_of_mine.Mine}\n")
    assert type(load_recipe("own.yaml").model(["a", "b"]).network.fusion.branches[0].pooling).__name__ == "Mine"
    assert (
        type(
            load_recipe("mini.yaml", "model.pooling=part_of_mine.Mine")
            .model(["a", "b"])
            .network.fusion.branches[0]
            .pooling
        ).__name__
        == "Mine"
    )


def test_the_resolved_recipe_is_read_again_and_is_the_same_run(mini: Path) -> None:
    recipe = load_recipe("mini.yaml", "model.optimizer.lr=3e-4", "variants=[Plain,Transductive]", "selection.average=2")
    (mini / "resolved.yaml").write_text(recipe.yaml())
    again = load_recipe("resolved.yaml")
    assert again.hash("m", "u") == recipe.hash("m", "u")
    assert again.yaml() == recipe.yaml()


@pytest.mark.parametrize(
    "override",
    [
        "model.optimizer.lr=0.02",
        "model.head.dropout=0.1",
        "data.protocol=GroupedKFold",
        "data.protocol.dev_speakers=2",
        "data.corpus.seed=1",
        "data.batch_size=5",
        "data.train_crop_seconds=1.0",
        "data.eval_window_seconds=1.0",
        "trainer.max_epochs=3",
        "trainer.precision=bf16-mixed",
        "selection.average=2",
        "selection.patience=2",
        "selection.refit=true",
    ],
)
def test_what_changes_results_changes_the_hash(mini: Path, override: str) -> None:
    assert _hash(override) != _hash()


@pytest.mark.parametrize(
    "override",
    [
        "output=elsewhere",
        "jobs=3",
        "fold=2",
        "seeds=4",
        "seed=3",
        "data.root=/somewhere",
        "data.num_workers=2",
        "data.eval_batch_size=7",
        "variants=[Plain,Transductive]",
        "baselines=[]",
        "name=other",
        "trainer.logger=true",
        "trainer.enable_progress_bar=true",
    ],
)
def test_what_changes_no_result_leaves_the_hash(mini: Path, override: str) -> None:
    assert _hash(override) == _hash()


def test_what_intervals_resample_is_no_other_run(mini: Path) -> None:
    folds = "data.protocol=OfficialFolds"
    assert _hash(folds, "data.protocol.cluster_by=speaker_or_dialogue") == _hash(folds) != _hash()
    assert "cluster_by" not in str(load_recipe("mini.yaml", folds).identity())
    found = load_recipe("mini.yaml", folds, "data.protocol.cluster_by=dialogue").data()
    assert found.protocol.cluster_by == "dialogue"


def test_the_hash_depends_on_corpus_and_upstream(mini: Path) -> None:
    recipe = load_recipe("mini.yaml")
    assert len({recipe.hash("a", "x"), recipe.hash("b", "x"), recipe.hash("a", "y")}) == 3


def test_weights_depend_on_the_seed_alone(mini: Path) -> None:
    def weights(recipe: Recipe, seed: int) -> torch.Tensor:
        return torch.cat([parameter.flatten() for parameter in recipe.model(["a", "b"], seed).head.parameters()])

    recipe = load_recipe("mini.yaml")
    first = weights(recipe, 1)
    torch.rand(5)
    assert torch.equal(first, weights(recipe, 1))
    assert not torch.equal(first, weights(recipe, 2))


def test_options_are_never_abbreviated(mini: Path) -> None:
    # argparse would take max_epoch for max_epochs, and a typing error would train something else
    with pytest.raises(RecipeError, match=r"no 'max_epoch' in trainer .*Did you mean max_epochs"):
        load_recipe("mini.yaml", "trainer.max_epoch=3")


def test_a_setting_that_lightning_refuses_is_one_line(mini: Path) -> None:
    recipe = load_recipe("mini.yaml", "trainer.accelerator=nope")
    with pytest.raises(RecipeError, match=r"^trainer: .*accelerator='nope'") as error:
        recipe.trainer()
    assert "\n" not in str(error.value)


def test_build_gives_what_a_lightning_trainer_takes(mini: Path) -> None:
    model, data, trainer = load_recipe("mini.yaml", "trainer.max_epochs=1").build(fold=1)
    before = [parameter.clone() for parameter in model.head.parameters()]
    trainer.fit(model, data)
    assert any(not torch.equal(old, new) for old, new in zip(before, model.head.parameters(), strict=True))
    (scores,) = trainer.test(model, data, verbose=False)
    assert 0 <= scores["test/uar"] <= 1
    assert sorted(model.test_outputs.ids) == sorted(data.fold.test)


def test_the_solver_takes_no_learning_rate_from_the_optimiser_that_it_replaces(mini: Path) -> None:
    for recipe in (
        load_recipe("mini.yaml", "model.optimizer=ser_toolkit.model.optimisers.RegularisedLBFGS"),
        load_recipe("emodb_egemaps", "model.upstream=Spectral"),
    ):
        [group] = recipe.model(["a", "b"]).configure_optimizers().param_groups
        assert group["lr"] == 1.0, "its line search reaches the optimum in few iterations from a first step of 1 only"


def test_a_mistake_leaves_nothing_behind_for_the_next_command(mini: Path) -> None:
    with pytest.raises(RecipeError, match="poolin"):
        parse(["recipe=mini.yaml", "--print_config", "model.poolin=MaxPooling"])
    assert load_recipe("mini.yaml").trainer_settings.max_epochs == 2


def test_a_command_adds_to_its_own_lists_alone(mini: Path) -> None:
    before = load_recipe("mini.yaml").yaml()
    parse(["recipe=mini.yaml", "--tuning+=model.optimizer.lr=1", "model.fusion.layer_mixes+=WeightedSum"])
    assert load_recipe("mini.yaml").yaml() == before
