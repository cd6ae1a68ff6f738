"""s3prl's own emotion downstream (Runner, DownstreamExpert, wavlm_local) on given folds, timed step by step.

    python benchmarks/_superb_peer.py FOLDER --steps 5

FOLDER holds ``wavlm.pt`` and ``meta_data/Session{1..5}/{train,test}_meta_data.json``, as superb_er.py writes them.
Prints one line of JSON. No line of s3prl is changed: what current packages lack is put into place before it is imported
(``shims``), and steps are timed by torch's hook behind every optimiser step.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

#: s3prl/downstream/emotion/config.yaml of its repository, which its package does not carry: the published settings.
PUBLISHED: dict[str, Any] = {
    "runner": {
        "total_steps": 30000,
        "gradient_clipping": 1,
        "gradient_accumulate_steps": 8,
        "log_step": 500,
        "eval_step": 1000,
        "save_step": 1000,
        "max_keep": 1,
        "eval_dataloaders": ["dev", "test"],
    },
    "optimizer": {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1.0e-4},
    "downstream_expert": {
        "datarc": {"pre_load": True, "train_batch_size": 4, "eval_batch_size": 4, "valid_ratio": 0.2},
        "modelrc": {"projector_dim": 256, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}},
    },
}


def shims() -> list[str]:
    """Make s3prl 0.4.18 importable beside current packages; returns what had to be done."""
    import ser_toolkit  # noqa: F401  (repairs the two imports that follow where they need it)

    done = []
    import torchaudio

    if not torchaudio._extension._IS_TORCHAUDIO_EXT_AVAILABLE:
        done.append("torchaudio: compiled part (built for another CUDA) replaced by a stub")
    had_backend = hasattr(torchaudio, "set_audio_backend")
    import s3prl  # noqa: F401

    if not had_backend:
        done.append("torchaudio.set_audio_backend and torchaudio.sox_effects: gone since 2.9, stubs")
    torchaudio.load = _load
    done.append("torchaudio.load: needs torchcodec, replaced by soundfile")
    import huggingface_hub

    for name in ("HfFolder", "Repository"):
        if not hasattr(huggingface_hub, name):
            setattr(huggingface_hub, name, type(name, (), {}))
            done.append(f"huggingface_hub.{name}: removed, empty stub")
    try:
        import tensorboardX  # noqa: F401
    except ImportError:
        stub = ModuleType("tensorboardX")
        stub.SummaryWriter = _NoWriter  # type: ignore[attr-defined]
        sys.modules["tensorboardX"] = stub
        done.append("tensorboardX: not declared by s3prl, stub that writes nothing")
    done.append("downstream/emotion/config.yaml: not in the package, written here from its repository")
    return done


def build(folder: Path, fold: str, steps: int, workers: int) -> Any:
    """Its Runner, as ``run_downstream.py -m train -d emotion -u wavlm_local -k wavlm.pt --device cpu`` makes it."""
    from s3prl.downstream.runner import Runner

    config = json.loads(json.dumps(PUBLISHED))
    config["runner"]["total_steps"] = steps
    datarc = config["downstream_expert"]["datarc"]
    datarc |= {"root": "/", "meta_data": str(folder / "meta_data"), "test_fold": fold, "num_workers": workers}
    log = folder / "s3prl"
    log.mkdir(exist_ok=True)
    arguments = argparse.Namespace(
        init_ckpt=None,
        upstream="wavlm_local",
        upstream_ckpt=str(folder / "wavlm.pt"),
        upstream_model_config=None,
        upstream_refresh=False,
        upstream_trainable=False,
        upstream_feature_selection="hidden_states",
        upstream_layer_selection=None,
        upstream_feature_normalize=False,
        downstream="emotion",
        downstream_variant=None,
        expdir=str(log),
        device="cpu",
        seed=1337,
        push_to_hf_hub=False,
    )
    return Runner(arguments, config)


def measure(runner: Any) -> dict[str, Any]:
    """Train, and note when each optimiser step ended."""
    ends: list[float] = []
    handle = register_optimizer_step_post_hook(lambda *_: ends.append(time.perf_counter()))
    started = time.perf_counter()
    runner.train()
    handle.remove()
    expert = runner.downstream.model
    steps = [after - before for before, after in zip([started, *ends[:-1]], ends, strict=True)]
    return {
        "seconds_per_step": statistics.median(steps),
        "steps": steps,
        "clips_per_step": 32,
        "train_clips": len(expert.train_dataset),
        "dev_clips": len(expert.dev_dataset),
        "test_clips": len(expert.test_dataset),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _load(path: str) -> tuple[torch.Tensor, int]:
    """A recording as (1, N) float32 and its rate, as torchaudio.load gave it."""
    import soundfile

    wav, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(wav.T.copy()), rate


class _NoWriter:
    """A SummaryWriter that costs nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def add_scalar(self, *_: object, **__: object) -> None:
        pass

    def close(self) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description="s3prl's emotion downstream, seconds per optimiser step")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fold", default="fold1")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    chosen = parser.parse_args()
    needed = shims()
    result = measure(build(chosen.folder, chosen.fold, chosen.steps, chosen.workers))
    print(json.dumps(result | {"shims": needed}))


if __name__ == "__main__":
    main()
