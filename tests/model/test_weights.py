"""Weights on disk: what was written comes back, and nothing else is taken."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_corpus import CLASSES, TinyUpstream, tiny_model
from torch import Tensor

from ser_toolkit.downstream.frames import LinearProjection, MelCNN
from ser_toolkit.errors import CheckpointError
from ser_toolkit.model import weights as weights_module
from ser_toolkit.model.weights import CHECKSUM, average_states, checksum, open_weights, read_weights, write_weights

WEIGHTS_FILE = "model.safetensors"


@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_written_is_read_into_a_fresh_model(tmp_path: Path, frozen: bool) -> None:
    path = tmp_path / "deep" / WEIGHTS_FILE
    model = tiny_model(TinyUpstream(frozen), normalisation="global" if frozen else "none")
    if frozen:
        model.prepare(torch.tensor([3, 2, 1]), 0, [torch.randn(2, 9, 6) + 4])
    else:
        torch.nn.init.normal_(model.upstream.first)  # type: ignore[arg-type]
    write_weights(path, model)
    stored = open_weights(path)
    assert stored.classes == CLASSES
    assert stored.fingerprint == (model.upstream.fingerprint() if frozen else None)
    assert any(name.startswith("upstream.") for name in stored.state) == (not frozen)
    fresh = tiny_model(TinyUpstream(frozen), seed=9, normalisation="global" if frozen else "none")
    read_weights(path, fresh)
    for name, value in model.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], value), name
    assert [entry.name for entry in path.parent.iterdir()] == [WEIGHTS_FILE]


@pytest.mark.parametrize("keep", [0, 6, 100, -1], ids=["empty", "in the length", "in the header", "in the values"])
def test_truncated_weights_are_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / WEIGHTS_FILE
    write_weights(path, tiny_model())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"Cannot read weights .*written by ser-train"):
        read_weights(path, tiny_model())


def flipped(path: Path, place: int) -> None:
    """Change one bit."""
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


def rewritten(path: Path, state: dict[str, Tensor], **changed: str | None) -> None:
    """Write weights again with other tensors or metadata under a right checksum; an entry that is None is left out."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata |= {CHECKSUM: checksum(state, metadata | changed)} | changed
    save_file(state, path, {name: text for name, text in metadata.items() if text is not None})


def test_a_flipped_bit_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "seed=0" / "checkpoints" / WEIGHTS_FILE
    value = f'{CHECKSUM}":"'.encode()
    for what, offset in ((b"angry", 0), (value, len(value)), (b"", -1)):  # classes, the checksum itself, numbers
        write_weights(path, tiny_model())  # the order in the header is another one every time
        flipped(path, path.read_bytes().index(what) + offset)
        with pytest.raises(CheckpointError, match=r"is damaged: its checksum is .* delete .*seed=0 and run") as found:
            read_weights(path, tiny_model())
        assert str(path) in str(found.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("name", ["classes", "dimensions", "upstream_fingerprint", "upstream_settings", CHECKSUM])
def test_weights_that_lack_an_entry_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / WEIGHTS_FILE
    write_weights(path, tiny_model())
    rewritten(path, load_file(path), **{name: None})
    with pytest.raises(CheckpointError, match=rf"Cannot read weights from .*: it lacks {name}\. Expected"):
        read_weights(path, tiny_model())


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="Cannot read weights"):
            open_weights(path)


class _Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.target),)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "harm"
    for number, save in enumerate((pickle.dump, torch.save)):
        path = tmp_path / f"{number}.safetensors"
        with path.open("wb") as file:
            save({"head.classes.weight": _Bomb(target)}, file)
        with pytest.raises(CheckpointError, match="Cannot read weights"):
            read_weights(path, tiny_model())
    assert not target.exists()
    # The same pickle, loaded the way that is refused, does what it says: the test can fail.
    pickle.loads(pickle.dumps(_Bomb(target)))
    assert target.exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: tiny_model(classes=("sad", "neutral", "angry")), "class order .*misnamed"),
        (lambda: tiny_model(classes=("angry", "neutral")), "class order"),
        (lambda: tiny_model(TinyUpstream(seed=3)), "trained on upstream"),
        (lambda: tiny_model(TinyUpstream(frozen=False)), "with a frozen upstream, this model's is fine-tuned"),
        (
            lambda: tiny_model(frames=LinearProjection),
            "another model: 2 entries differ, fusion.branches.0.frames.projection.bias",
        ),
        (lambda: tiny_model(normalisation="global"), "another model: 2 entries differ, normalisation.0.mean"),
    ],
    ids=["order", "classes", "upstream", "tuned", "parts", "normalisation"],
)
def test_weights_of_another_model_are_refused(tmp_path: Path, model: object, message: str) -> None:
    path = tmp_path / WEIGHTS_FILE
    write_weights(path, tiny_model())
    other = model()  # type: ignore[operator]
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        read_weights(path, other)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in before.items())


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_FILE
    model = tiny_model()
    write_weights(path, model)
    state = load_file(path)
    state["head.classes.weight"] = torch.zeros(3, 7)
    rewritten(path, state)
    with pytest.raises(CheckpointError, match=r"another model: 1 entries differ, head.classes.weight"):
        read_weights(path, model)


@pytest.mark.parametrize(
    ("spoilt", "message"), [("{", "Cannot read"), ('"angry"', "list of names"), ("[1, 2]", "list of names")]
)
def test_classes_that_are_no_names_are_refused(tmp_path: Path, spoilt: str, message: str) -> None:
    path = tmp_path / WEIGHTS_FILE
    write_weights(path, tiny_model())
    rewritten(path, load_file(path), classes=spoilt)
    with pytest.raises(CheckpointError, match=message):
        read_weights(path, tiny_model())


def test_a_full_disk_is_one_line_and_keeps_the_earlier_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / WEIGHTS_FILE
    write_weights(path, tiny_model())
    before = path.read_bytes()

    def full(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights_module, "save_file", full)
    with pytest.raises(CheckpointError, match=r"Cannot write weights .*No space left on device") as caught:
        write_weights(path, tiny_model(seed=1))
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [WEIGHTS_FILE]


# --- averages ---------------------------------------------------------------------------------------------------------


def _state(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state = {name: torch.randn_like(value) for name, value in tiny_model(frames=MelCNN).own_state().items()}
    return state | {"steps": torch.tensor(seed), "half": torch.randn(3).half()}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_mean_of_equal_states_is_the_state(count: int) -> None:
    found = average_states([_state(4)] * count)
    for name, value in _state(4).items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype, name


def test_the_mean_of_two_states() -> None:
    first, second = _state(4), _state(5)
    found = average_states([first, second])
    assert found.keys() == first.keys()
    for name, value in found.items():
        if value.is_floating_point():
            torch.testing.assert_close(value, (first[name] + second[name]) / 2)
    # Half a step is nothing: a counter is that of the best checkpoint.
    assert found["steps"] == 4 and found["steps"].dtype == torch.int64


def test_states_of_different_models_have_no_mean() -> None:
    other = _state(4)
    other.pop("steps")
    with pytest.raises(CheckpointError, match="cannot be averaged"):
        average_states([_state(4), other])
