"""Reading Hugging Face checkpoints: from the hub or a folder, without pickle code, and never silently half-empty."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ser_toolkit.errors import CheckpointError, RecipeError, nearest
from ser_toolkit.system.dependencies import loading_transformers
from ser_toolkit.system.places import find_weights, searched
from ser_toolkit.upstreams.encoders.family import Family
from ser_toolkit.upstreams.encoders.spectrogram import ConformerFamily, WhisperFamily
from ser_toolkit.upstreams.encoders.waveform import SqueezedFamily, WaveformFamily, WavLMFamily

#: transformers ``model_type`` -> how it is driven.
FAMILIES: dict[str, type[Family]] = {
    "wav2vec2": WaveformFamily,
    "hubert": WaveformFamily,
    "unispeech-sat": WaveformFamily,
    "data2vec-audio": WaveformFamily,
    "wavlm": WavLMFamily,
    "sew": SqueezedFamily,
    "whisper": WhisperFamily,
    "wav2vec2-bert": ConformerFamily,
}

#: Weights that a checkpoint may lack: the mask vector, the decoder, and parts that are removed after loading.
_DISPENSABLE = ("masked_spec_embed", "decoder.", "adapter.", "intermediate_ffn.", "encoder.upsample.")


def load_family(name: str, revision: str | None, random_init: bool) -> Family:
    """Read configuration, feature extractor and weights.

    Args:
        name: hub id (``owner/name``) or local folder.
        revision: branch, tag or commit on the hub.
        random_init: take the configuration only and draw the weights from torch's generator.

    Raises:
        RecipeError: there is no such folder or hub entry, or its family is not supported.
        CheckpointError: the weights are missing, incomplete, damaged or unsafe.
    """
    with loading_transformers(), _quiet():
        config = _config(name, revision)
        family = FAMILIES[config.model_type]
        extractor = _extractor(name, revision, config)
        model = _model(name, revision, config, family.attention, random_init)
    return family(model, extractor)


def _config(name: str, revision: str | None) -> Any:
    from transformers import AutoConfig

    if not Path(name).expanduser().is_dir() and _looks_like_path(name):
        raise RecipeError(f"Upstream folder {name} does not exist. Expected a folder with config.json or a hub id.")
    try:
        # stated, because transformers would otherwise ask on the terminal whether to execute a checkpoint's code
        config = AutoConfig.from_pretrained(_place(name), revision=revision, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"No configuration found for upstream {name!r}{_at(revision)}: neither a local folder with config.json "
            f"(looked in {searched()}) nor reachable on the hub "
            f"({_first_line(error)}). Check the name and the connection, or download it once and give its folder, or "
            "the folder above it in SER_WEIGHTS."
        ) from error
    if config.model_type not in FAMILIES:
        raise RecipeError(
            f"Upstream {name!r} is of type {config.model_type!r}, which is not supported. "
            f"{nearest(config.model_type, FAMILIES)}"
        )
    # Layer drop and SpecAugment are applied by the upstream itself: the model's own would change the number of
    # hidden states, and raise on short recordings.
    for setting, off in (("layerdrop", 0.0), ("encoder_layerdrop", 0.0), ("apply_spec_augment", False)):
        if hasattr(config, setting):
            setattr(config, setting, off)
    return config


def _extractor(name: str, revision: str | None, config: Any) -> Any:
    """The checkpoint's feature extractor; a folder without one gets its family's usual settings."""
    from transformers import AutoFeatureExtractor

    folder = _place(name)
    files = ("preprocessor_config.json", "processor_config.json")
    if Path(folder).is_dir() and not any((Path(folder) / file).is_file() for file in files):
        return _usual_extractor(config)
    try:
        return AutoFeatureExtractor.from_pretrained(folder, revision=revision)
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"The feature extractor settings of upstream {name!r}{_at(revision)} cannot be read "
            f"({_first_line(error)}). Expected preprocessor_config.json beside config.json."
        ) from error


def _usual_extractor(config: Any) -> Any:
    """Layer-norm models were trained on normalised waveforms with a mask, group-norm models on raw ones without."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    if config.model_type == "whisper":
        return WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    if config.model_type == "wav2vec2-bert":
        return SeamlessM4TFeatureExtractor(padding_value=1.0)
    layer_norm = getattr(config, "feat_extract_norm", "layer") == "layer"
    return Wav2Vec2FeatureExtractor(do_normalize=layer_norm, return_attention_mask=layer_norm)


def _model(name: str, revision: str | None, config: Any, attention: str, random_init: bool) -> Any:
    import torch
    from transformers import AutoModel

    if random_init:
        # ``from_config`` writes the attention into the configuration that it is given.
        return AutoModel.from_config(copy.deepcopy(config), attn_implementation=attention).float()
    try:
        model, report = AutoModel.from_pretrained(
            _place(name),
            revision=revision,
            config=config,
            attn_implementation=attention,
            dtype=torch.float32,
            weights_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise CheckpointError(
            f"The weights of upstream {name!r}{_at(revision)} cannot be loaded ({_first_line(error)}). Expected "
            "safetensors, or a PyTorch file that holds tensors only; random_init=true starts without weights."
        ) from error
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(_DISPENSABLE))
    if missing:
        raise CheckpointError(
            f"The weights of upstream {name!r}{_at(revision)} lack {len(missing)} of its parameters "
            f"({', '.join(missing[:3])}, ...): they belong to another model. random_init=true starts without weights."
        )
    return model


def _place(name: str) -> str:
    """A local folder as an absolute path, wherever weights are looked for; a hub id as it is."""
    folder = find_weights(name)
    return str(folder.resolve()) if folder is not None and folder.is_dir() else name


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~", "/")) or "\\" in name or name.count("/") > 1 or not name


def _at(revision: str | None) -> str:
    return f" at revision {revision!r}" if revision else ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' loading report and progress bars: missing and unexpected weights are checked here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
