"""Random Hugging Face checkpoints of a few thousand parameters, saved as a hub folder would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

import ser_toolkit  # noqa: F401  (lets transformers import a torchaudio that does not fit torch)

#: Every family with the layer-norm styles that exist of it.
VARIANTS = [
    ("wav2vec2", "group"),
    ("wav2vec2", "layer"),
    ("hubert", "group"),
    ("hubert", "layer"),
    ("wavlm", "group"),
    ("wavlm", "layer"),
    ("unispeech-sat", "group"),
    ("unispeech-sat", "layer"),
    ("data2vec-audio", "layer"),
    ("sew", "group"),
    ("sew", "layer"),
    ("whisper", "layer"),
    ("wav2vec2-bert", "layer"),
]


def save_tiny(
    family: str, folder: Path, style: str = "group", do_normalize: bool | None = None, **settings: Any
) -> Path:
    """Save a random checkpoint with its feature extractor: hidden size 32, 3 layers.

    Frames are 320 samples apart (SEW: 640), Whisper's window is 3 s.

    Args:
        family: transformers ``model_type``.
        folder: where to; made if needed.
        style: "group" (base models) or "layer" (large models: layer norm in the convolutions, stable layer norm).
        do_normalize: of the feature extractor; by default as the style suggests.
        settings: further entries of the configuration.
    """
    from transformers import AutoModel

    torch.manual_seed(len(family))
    model = AutoModel.from_config(tiny_config(family, style, **settings)).eval()
    with torch.no_grad():  # random norms, so that a norm left out is seen
        for name, parameter in model.named_parameters():
            if "norm" in name and parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    tiny_extractor(family, style, do_normalize).save_pretrained(folder)
    return folder


def tiny_config(family: str, style: str, **settings: Any) -> Any:
    """The configuration of a tiny model."""
    from transformers import AutoConfig

    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 48,
    }
    if family == "whisper":
        sizes = {
            "d_model": 32,
            "encoder_layers": 3,
            "decoder_layers": 1,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "decoder_ffn_dim": 48,
            "num_mel_bins": 16,
            "max_source_positions": 150,
            "vocab_size": 50,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "decoder_start_token_id": 1,
        }
    elif family == "wav2vec2-bert":
        sizes |= {"feature_projection_input_dim": 32, "conv_depthwise_kernel_size": 7}
    else:
        sizes |= {
            "conv_dim": [32] * 7,
            "conv_stride": [5, 2, 2, 2, 2, 2, 2],
            "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 4,
            "feat_extract_norm": style,
            "conv_bias": style == "layer",
        }
        if family == "data2vec-audio":
            sizes |= {"num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 7}
        elif family != "sew":
            sizes["do_stable_layer_norm"] = style == "layer"
    return AutoConfig.for_model(family, **(sizes | settings))


def tiny_extractor(family: str, style: str, do_normalize: bool | None = None) -> Any:
    """The feature extractor that belongs to a tiny model."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

    if family == "whisper":
        return WhisperFeatureExtractor(feature_size=16, chunk_length=3)
    if family == "wav2vec2-bert":
        return SeamlessM4TFeatureExtractor(feature_size=16, num_mel_bins=16, padding_value=1.0)
    layer = style == "layer"
    return Wav2Vec2FeatureExtractor(
        do_normalize=layer if do_normalize is None else do_normalize, return_attention_mask=layer
    )
