"""Random checkpoints of a few thousand parameters in the formats that s3prl and torchaudio read."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from tiny_models import save_tiny
from torch import Tensor

#: transformers' names -> those of the original WavLM, wav2vec 2.0 and HuBERT, longest first.
RENAMED = {
    "masked_spec_embed": "mask_emb",
    "feature_projection.projection.": "post_extract_proj.",
    "feature_projection.layer_norm.": "layer_norm.",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original0": "encoder.pos_conv.0.weight_g",
    "encoder.pos_conv_embed.conv.parametrizations.weight.original1": "encoder.pos_conv.0.weight_v",
    "encoder.pos_conv_embed.conv.": "encoder.pos_conv.0.",
    ".attention.gru_rel_pos_linear.": ".self_attn.grep_linear.",
    ".attention.gru_rel_pos_const": ".self_attn.grep_a",
    ".attention.rel_attn_embed.": ".self_attn.relative_attention_bias.",
    ".attention.": ".self_attn.",
    ".feed_forward.intermediate_dense.": ".fc1.",
    ".feed_forward.output_dense.": ".fc2.",
}


def original_names(state: dict[str, Tensor], style: str) -> dict[str, Tensor]:
    """transformers' weights under the names of the original implementation."""
    renamed = {}
    for key, value in state.items():
        if key.startswith("feature_extractor.conv_layers."):
            norm = ".2.1." if style == "layer" else ".2."
            key = key.replace(".conv.", ".0.").replace(".layer_norm.", norm)
        elif key.startswith("encoder.layers."):
            number = key.split(".")[2]
            key = key.replace(f"{number}.layer_norm.", f"{number}.self_attn_layer_norm.")
        for old, new in RENAMED.items():
            if old in key:
                key = key.replace(old, new)
                break
        renamed[key] = value
    return renamed


def shape_settings(config: Any, style: str) -> dict[str, Any]:
    """A transformers configuration in fairseq's words."""
    return {
        "extractor_mode": "layer_norm" if style == "layer" else "default",
        "conv_feature_layers": str(list(zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True))),
        "conv_bias": config.conv_bias,
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "layer_norm_first": config.do_stable_layer_norm,
        "conv_pos": config.num_conv_pos_embeddings,
        "conv_pos_groups": config.num_conv_pos_embedding_groups,
    }


def save_wavlm(folder: Path, style: str = "group") -> tuple[Path, Path]:
    """The same random WavLM as a transformers folder and as Microsoft's file ``{"cfg", "model"}``."""
    model = read_tiny("wavlm", folder / f"hf-wavlm-{style}", style)
    file = folder / f"wavlm-{style}.pt"
    settings = shape_settings(model.config, style) | {
        "relative_position_embedding": True,
        "gru_rel_pos": True,
        "num_buckets": model.config.num_buckets,
        "max_distance": model.config.max_bucket_distance,
        "normalize": style == "layer",
    }
    torch.save({"cfg": settings, "model": original_names(model.state_dict(), style)}, file)
    return folder / f"hf-wavlm-{style}", file


def save_hubert(folder: Path, style: str = "group") -> tuple[Path, Path]:
    """The same random HuBERT as a transformers folder and as s3prl's file."""
    model = read_tiny("hubert", folder / f"hf-hubert-{style}", style)
    file = folder / f"hubert-{style}.pt"
    weights = original_names(model.state_dict(), style)
    weights |= {"final_proj.weight": torch.zeros(8, 32), "final_proj.bias": torch.zeros(8)}
    weights["label_embs_concat"] = torch.zeros(5, 8)
    settings = shape_settings(model.config, style) | {"final_dim": 8, "label_rate": 50}
    task = {"normalize": style == "layer", "label_rate": 50}
    state = {"task_cfg": task, "model_cfg": settings, "model_weight": weights, "dictionaries_symbols": [["a"] * 5]}
    torch.save(state, file)
    return folder / f"hf-hubert-{style}", file


def read_tiny(family: str, folder: Path, style: str) -> Any:
    """The random model of a transformers folder that is made if needed."""
    from transformers import AutoModel

    if not folder.exists():
        # sizes that differ, because fairseq leaves out a projection between equal ones
        save_tiny(family, folder, style, conv_dim=[24] * 7)
    return AutoModel.from_pretrained(folder).eval()


def save_torchaudio(family: str, folder: Path, style: str = "group") -> tuple[Path, Path, Any]:
    """The same random model as a transformers folder and as torchaudio's state dict, and the bundle's description."""
    import torchaudio
    from torchaudio.models.wav2vec2.utils import import_huggingface, import_huggingface_model

    model = read_tiny(family, folder / f"hf-{family}-{style}", style)
    model.config.layerdrop = 0.1
    file = folder / f"torchaudio-{family}-{style}.pth"
    logging.getLogger("torchaudio").setLevel(logging.ERROR)  # it misses an output layer
    torch.save(import_huggingface_model(model).state_dict(), file)
    wavlm = family == "wavlm"
    params = (import_huggingface._get_config_wavlm if wavlm else import_huggingface._get_config)(model.config)
    bundle = dataclasses.replace(
        torchaudio.pipelines.WAVLM_BASE if wavlm else torchaudio.pipelines.WAV2VEC2_BASE,
        _params=params,
        _normalize_waveform=style == "layer",
    )
    return folder / f"hf-{family}-{style}", file, bundle


def tiny_bundle(name: str, bundle: Any) -> Any:
    """A context in which torchaudio knows a tiny bundle."""
    import torchaudio

    return patch.object(torchaudio.pipelines, name, bundle, create=True)
