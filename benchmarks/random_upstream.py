"""Save a small wav2vec 2.0, HuBERT or WavLM with random weights, to run a hub model's path where no hub is reached.

    python benchmarks/random_upstream.py wavlm /tmp/wavlm-random
    ser-train recipe=emodb_wavlm data.root=/data/EmoDB model.upstream.name=/tmp/wavlm-random

Its features are random projections: figures obtained with it say what the pipeline does, not what such models can.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import ser_toolkit  # noqa: F401  (lets transformers import a torchaudio that does not fit torch)

FAMILIES = ("hubert", "wav2vec2", "wavlm")
SIZES = {
    "hidden_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 192,
    "conv_dim": (64,) * 7,
    "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4,
}


def main(family: str, folder: str) -> None:
    """Write configuration, feature extractor and weights to ``folder``."""
    import transformers

    torch.manual_seed(0)
    config, model = {
        "hubert": (transformers.HubertConfig, transformers.HubertModel),
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
        "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
    }[family]
    made = model(config(**SIZES))
    made.save_pretrained(Path(folder))
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False)
    extractor.save_pretrained(Path(folder))
    print(f"{family} with {sum(p.numel() for p in made.parameters()):,} random weights in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in FAMILIES:
        sys.exit(f"usage: python benchmarks/random_upstream.py {'|'.join(FAMILIES)} FOLDER")
    main(sys.argv[1], sys.argv[2])
