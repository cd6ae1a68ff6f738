"""The seam between pooling and head: a recurrent context stage of one's own sees the turns of a dialogue in order."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dialogue_parts import RecurrentContext
from mini_recipe import MINI_RECIPE
from safetensors.torch import load_file
from soundfile import read, write
from tiny_corpus import TinyUpstream, tiny_model
from torch import Tensor

from ser_toolkit import load_model
from ser_toolkit.config.recipe import load_recipe
from ser_toolkit.contracts.context_stages import DIALOGUE, TURN
from ser_toolkit.contracts.run import check_part
from ser_toolkit.data.batch import Batch, Targets, Vectors, Waves
from ser_toolkit.data.fold_data import FoldData
from ser_toolkit.downstream.classical import LinearSVM
from ser_toolkit.downstream.context import ContextStage, NoContext
from ser_toolkit.downstream.frame_heads import FrameLevelHead
from ser_toolkit.downstream.layers import SingleLayer
from ser_toolkit.errors import RecipeError
from ser_toolkit.experiment.experiment import Experiment

RATE, TURNS = 16000, 4


class _Positions(ContextStage):
    """What the contract must catch: it mixes rows as they happen to stand."""

    def forward(self, vectors: Tensor, dialogue: Tensor, turn: Tensor) -> Tensor:
        return vectors + vectors.roll(1, 0)


class _Strangers(ContextStage):
    """What the contract must catch: it takes rows of no dialogue for one dialogue."""

    def forward(self, vectors: Tensor, dialogue: Tensor, turn: Tensor) -> Tensor:
        return torch.stack([vectors[dialogue == one].mean(dim=0) for one in dialogue])


def test_a_recurrent_stage_keeps_the_contract_and_wrong_ones_do_not() -> None:
    assert [one for one in check_part(RecurrentContext) if one.state != "pass"] == []
    failed = {one.check for one in check_part(_Positions) if one.state == "FAIL"}
    assert "the order of rows never changes a vector" in failed
    failed = {one.check for one in check_part(_Strangers) if one.state == "FAIL"}
    assert failed == {"an utterance without a dialogue stands alone"}


def test_the_state_runs_from_the_first_turn_to_the_last() -> None:
    torch.manual_seed(0)
    stage, vectors = RecurrentContext(6), torch.randn(len(DIALOGUE), 6)
    found = stage(vectors, DIALOGUE, TURN)
    rows = torch.nonzero(DIALOGUE == 7)[:, 0]
    rows = rows[TURN[rows].argsort()]
    expected, _ = stage.recurrent(vectors[None, rows])
    torch.testing.assert_close(found[rows], expected[0])
    gradient = torch.autograd.functional.jacobian(lambda x: stage(x, DIALOGUE, TURN)[rows[1]].sum(), vectors)
    assert {int(row) for row in torch.nonzero(gradient.abs().sum(dim=1))[:, 0]} == {int(rows[0]), int(rows[1])}


def _batch(stream: Waves | Vectors, count: int, **places: Tensor) -> Batch:
    targets = Targets(torch.zeros(count, dtype=torch.long), torch.zeros(count, 3), torch.zeros(count, 3))
    return Batch({"speech": stream}, targets, [str(row) for row in range(count)], **places)


def test_the_network_gives_vectors_their_places_whatever_the_stream() -> None:
    model = tiny_model(layer_mix=SingleLayer, context=functools.partial(RecurrentContext, hidden_dim=5)).eval()
    network = model.network
    assert network.head.input_dim == 5
    assert network.fixed_embedding, "vectors are stored as they enter the context stage"
    waves = Waves(torch.randn(3, 800), torch.tensor([800, 480, 640]))
    places = {"dialogue": torch.tensor([0, 0, 0]), "turn": torch.tensor([2, 0, 1])}
    with torch.no_grad():
        alone = model(_batch(waves, 3))
        together = model(_batch(waves, 3, **places))
        assert together.embedding is not None
        stored = model(_batch(Vectors(together.embedding), 3, **places))
    assert together.logits is not None and stored.logits is not None and alone.logits is not None
    torch.testing.assert_close(stored.logits, together.logits)
    same = [torch.allclose(one, other) for one, other in zip(alone.logits, together.logits, strict=True)]
    assert same == [False, True, False], "the first turn knows nothing before it"


@pytest.mark.parametrize("head", [FrameLevelHead, LinearSVM])
def test_heads_that_see_no_context_are_refused_behind_one(head: type) -> None:
    with pytest.raises(RecipeError, match=r"so RecurrentContext cannot stand before it\. Use model\.context=NoContext"):
        tiny_model(TinyUpstream(), layer_mix=SingleLayer, head=head, context=RecurrentContext)


def test_no_context_draws_nothing_and_changes_nothing() -> None:
    vectors = torch.randn(8, 6)
    assert NoContext(6)(vectors, DIALOGUE, TURN) is vectors
    assert not list(NoContext(6).parameters())


@pytest.fixture
def dialogues(mini: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of a corpus of four dialogues, each a file in which one speaker takes turns in either emotion."""
    rng, rows = np.random.default_rng(0), []
    for speaker in range(4):
        wav = 0.01 * rng.standard_normal(TURNS * RATE // 2)
        for turn in reversed(range(TURNS)):
            start, end = turn / 2, turn / 2 + 0.4
            time = np.arange(round(start * RATE), round(end * RATE))
            label = ("angry", "sad")[(turn + speaker) % 2]
            wav[time] += 0.2 * np.sin(2 * np.pi * (800 if label == "angry" else 200) * time / RATE)
            rows.append((f"s{speaker}_{turn}", f"s{speaker}.wav", f"s{speaker}", f"d{speaker}", label, start, end))
        write(mini / f"s{speaker}.wav", wav, RATE)
    columns = ["id", "path", "speaker", "dialogue", "label", "start", "end"]
    pd.DataFrame(rows, columns=columns).to_csv(mini / "table.csv", index=False)
    monkeypatch.syspath_prepend(str(mini))
    own = (Path(__file__).parent / "dialogue_parts.py").read_text(encoding="utf-8")
    (mini / "my_dialogues.py").write_text(own, encoding="utf-8")
    recipe = MINI_RECIPE.replace(
        MINI_RECIPE.split("\n")[2], "  corpus: {class_path: TableCorpus, init_args: {table: table.csv}}"
    )
    (mini / "dialogues.yaml").write_text(recipe, encoding="utf-8")
    return ["dialogues.yaml", "data.root=.", "model.context=my_dialogues.RecurrentContext", "model.pooling=MeanPooling"]


@pytest.mark.usefixtures("no_pictures")
def test_a_recipe_trains_and_predicts_with_a_context_stage_of_ones_own(dialogues: list[str]) -> None:
    recipe = load_recipe(*dialogues, "model.context.hidden_dim=4", "data.batch_size=99", "fold=1", "baselines=[]")
    data = recipe.data()
    part = FoldData(data, data.folds[0], needs=recipe.model(data.classes).needs)
    (batch,) = part.train_dataloader()
    places = {name: (int(d), int(t)) for name, d, t in zip(batch.ids, batch.dialogue, batch.turn, strict=True)}
    assert len(places) == 2 * TURNS
    assert all(found == (int(name[1]), int(name[-1])) for name, found in places.items()), places
    folder = Experiment(recipe).run()
    unit = folder / "plain" / "fold=s0" / "seed=0"
    weights, fresh = load_file(unit / "checkpoints" / "model.safetensors"), recipe.model(data.classes).own_state()
    context = [name for name in weights if name.startswith("context.")]
    assert context and all(not torch.equal(weights[name], fresh[name]) for name in context), "its weights have moved"
    table = pd.read_parquet(unit / "predictions.parquet").set_index("id")
    # the first turn is judged as alone, the others with what was said before them
    wav, _ = read("s0.wav", dtype="float32")
    model, differs = load_model(folder), {}
    for turn in range(TURNS):
        found = model.predict(wav[turn * RATE // 2 :][: round(0.4 * RATE)], RATE).probabilities
        assert found is not None
        differs[turn] = abs(found["sad"] - table.loc[f"s0_{turn}", "probability/sad"]) > 1e-4
    assert differs == {0: False, 1: True, 2: True, 3: True}
