"""What benchmarks share: the machine, its matmul ceiling, fresh processes, random weights, a JSON of the figures."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
#: The checkpoint formats of s3prl are written by the helpers of its parity tests.
TEST_HELPERS = HERE.parent / "tests" / "upstreams"

#: A WavLM of a few thousand parameters, with which a script is tried out in seconds.
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def machine() -> dict[str, Any]:
    """What figures depend on besides the code; a load above a fraction means that others used the cores as well."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def matmul_ceiling(size: int = 2048, seconds: float = 2.0) -> float:
    """Median GFLOP/s of a square float32 matrix product: what these cores can do at most."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)
    times = timed(lambda: torch.mm(left, right, out=out), seconds)
    return 2 * size**3 / statistics.median(times) / 1e9


def timed(run: Callable[[], Any], seconds: float, warm_up: int = 2) -> list[float]:
    """Wall seconds of repeated calls, at least three, until ``seconds`` are over."""
    for _ in range(warm_up):
        run()
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return times


def run_script(script: str, *arguments: str) -> dict[str, Any]:
    """A script beside this one in a fresh process; the last line that it prints is its result as JSON."""
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_train(arguments: Sequence[str], cache: Path) -> float:
    """Wall seconds of ``ser-train`` in a fresh process, imports and report included, with its store under ``cache``."""
    code = "import sys; from ser_toolkit.cli.train import main; sys.exit(main(sys.argv[1:]))"
    environment = dict(os.environ) | {"SER_CACHE": str(cache)}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=HERE, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"ser-train {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return seconds


def random_wavlm(folder: Path, settings: Mapping[str, Any]) -> Any:
    """A WavLM of random weights, of base size but for ``settings``, saved with its feature extractor."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel
    from transformers.utils.logging import disable_progress_bar

    import ser_toolkit  # noqa: F401  (lets transformers import a torchaudio that does not fit torch)

    disable_progress_bar()
    torch.manual_seed(0)
    model = WavLMModel(WavLMConfig(**settings)).eval()
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(folder)
    return model


def save_wavlm(folder: Path, tiny: bool = False) -> tuple[Path, Path]:
    """The same random WavLM, of base size or tiny, as a transformers folder and as the file of s3prl's wavlm_local."""
    place, file = folder / "wavlm", folder / "wavlm.pt"
    model = random_wavlm(place, TINY if tiny else {})
    sys.path.insert(0, str(TEST_HELPERS))
    from tiny_s3prl import original_names, shape_settings

    settings = shape_settings(model.config, "group") | {
        "relative_position_embedding": True,
        "gru_rel_pos": True,
        "num_buckets": model.config.num_buckets,
        "max_distance": model.config.max_bucket_distance,
        "normalize": False,
    }
    torch.save({"cfg": settings, "model": original_names(model.state_dict(), "group")}, file)
    return place, file


#: Said instead of an extrapolation when noise is larger than what was to be measured.
NOTHING_TO_EXTRAPOLATE = (
    "the longer run took no longer than the short one: too few steps or busy cores, no extrapolation"
)


def write_result(path: str | None, result: Mapping[str, Any]) -> None:
    """Keep what was printed as JSON."""
    if path is not None:
        Path(path).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"written to {path}")


def spell(seconds: float) -> str:
    """Seconds in the unit that reads best: 0.346 -> '346 ms'.

    >>> spell(0.346), spell(62.4), spell(259_500)
    ('346 ms', '62.4 s', '72.1 h')
    """
    for limit, factor, unit in ((1.0, 1e3, "ms"), (300.0, 1.0, "s"), (7200.0, 1 / 60, "min")):
        if seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds / 3600:.1f} h"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
