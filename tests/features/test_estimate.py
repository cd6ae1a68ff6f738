"""Sizes before anything is computed: what is announced is what lies on the disk afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_corpus import TinyUpstream, Tones
from torch import Tensor

from ser_toolkit.data.manifest import Manifest
from ser_toolkit.data.prepare import manifest_of
from ser_toolkit.data.reduction import ORDER, Reduction
from ser_toolkit.errors import StoreError
from ser_toolkit.features import estimate as estimate_module
from ser_toolkit.features.estimate import OVERHEAD, USABLE, check_space, of_frames, plan_line, readable, storage
from ser_toolkit.features.extract import extract_corpus
from ser_toolkit.features.key import StoreKey
from ser_toolkit.features.settings import FeatureSettings
from ser_toolkit.features.store import FeatureStore
from ser_toolkit.upstreams.base import Upstream


class Wide(TinyUpstream):
    """So many features that headers hardly count."""

    def __init__(self) -> None:
        super().__init__(feature_dim=1000)


class Sized(Upstream):
    """An upstream of any size that computes nothing."""

    def __init__(self, num_layers: int, feature_dim: int, hop_samples: int = 320) -> None:
        super().__init__(frozen=True)
        self.num_layers, self.feature_dim, self.hop_samples, self.receptive_samples = (
            num_layers,
            feature_dim,
            hop_samples,
            400,
        )

    def extract(self, wav: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        return (lengths - 80) // 320

    def fingerprint(self) -> str:
        return "sized"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    root = tmp_path / "tones"
    return manifest_of(Tones.write(root, speakers=3), root)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("what", ORDER)
def test_what_is_announced_is_what_is_written(manifest: Manifest, tmp_path: Path, what: Any, dtype: Any) -> None:
    reduction = Reduction(what)
    announced = storage(Wide(), manifest.table, reduction, dtype)
    extract_corpus(Wide(), manifest, tmp_path / "s", reductions=[reduction], settings=FeatureSettings(dtype=dtype))
    store = FeatureStore(StoreKey(Wide().fingerprint(), reduction, dtype), tmp_path / "s")
    written = sum(path.stat().st_size for path in store.folder.glob("*.safetensors"))
    assert announced.size == pytest.approx(written, rel=0.05)
    assert announced.utterances == len(manifest)
    assert announced.seconds == pytest.approx(manifest.table["duration"].sum())
    assert announced.frames_size == storage(Wide(), manifest.table, Reduction("frames"), dtype).size


def test_the_same_sound_is_counted_once(manifest: Manifest) -> None:
    twice = manifest.table.loc[[*manifest.table.index, *manifest.table.index]]
    assert storage(Wide(), twice, Reduction("frames")) == storage(Wide(), manifest.table, Reduction("frames"))


def test_a_large_encoder_on_a_known_corpus_takes_what_was_worked_out_by_hand() -> None:
    # 5,531 utterances, 25 layers of 1,024 features, 6.98 h at 50 frames a second
    frames = 6.98 * 3600 * 50
    sizes = {
        (what, dtype): of_frames(Sized(25, 1024), 5531, 0.0, frames, Reduction(what), dtype).size
        for what, dtype in (("means", "float16"), ("covariances", "float16"), ("frames", "float16"))
    }
    assert sizes["means", "float16"] == pytest.approx(5531 * 25 * 1024 * 4, rel=0.01), "0.57 GB"
    assert sizes["covariances", "float16"] == pytest.approx(5531 * (25 + 325) * 1024 * 4, rel=0.01), "7.9 GB"
    assert sizes["frames", "float16"] == pytest.approx(frames * 25 * 1024 * 2, rel=0.01), "64 GB"


def test_the_line_says_what_is_kept_how_much_and_why(manifest: Manifest) -> None:
    upstream = Sized(3, 8)
    whole = storage(upstream, manifest.table, Reduction("covariances"))
    line = plan_line(upstream, Reduction("covariances", True, "because of the pooling"), whole)
    assert line == (
        "features of Sized: the mean of each layer and second moments across layers, layer-normalised, "
        f"{readable(whole.size)} instead of {readable(whole.frames_size)} of frames for 18 utterances; "
        "because of the pooling"
    )
    assert "instead" not in plan_line(upstream, Reduction(), storage(upstream, manifest.table, Reduction()))
    one = Sized(1, 88, hop_samples=0)
    assert plan_line(one, Reduction(), storage(one, manifest.table, Reduction())).startswith(
        "features of Sized: one vector an utterance, "
    )


def test_utterances_shorter_than_a_frame_are_not_counted_as_less_than_nothing(manifest: Manifest) -> None:
    short = manifest.table.assign(duration=0.001)
    found = storage(Sized(3, 8), short, Reduction("frames"))
    assert found.size == pytest.approx(len(manifest) * (3 * 8 * 4 * int(torch.tensor(320) // 320) + OVERHEAD))


def test_what_does_not_fit_is_refused_with_what_would_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "not" / "yet" / "there"
    asked = []

    def usage(place: Path) -> Any:
        asked.append(place)
        return estimate_module.shutil._ntuple_diskusage(10**12, 0, 10**9)  # type: ignore[attr-defined]

    monkeypatch.setattr(estimate_module.shutil, "disk_usage", usage)
    check_space(folder, USABLE * 10**9)
    with pytest.raises(StoreError, match=r"need 971 MB more in .*there, but only 1.0 GB are free.*SER_CACHE.*float16"):
        check_space(folder, USABLE * 10**9 + 1e6)
    assert asked == [tmp_path] * 2, "the disk of the folder that will be made"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (9.96e6, "10.0 MB"),
        (12e6, "12 MB"),
        (6.4e10, "64 GB"),
        (2e12, "2.0 TB"),
    ],
)
def test_sizes_are_said_in_the_unit_that_fits(size: float, text: str) -> None:
    assert readable(size) == text
