"""Save a small WavLM with random weights, to run the path of a hub WavLM where no hub can be reached.

    python benchmarks/random_wavlm.py /tmp/wavlm-random
    ser-train recipe=emodb_wavlm data.root=/data/EmoDB model.upstream.name=/tmp/wavlm-random

Its features are random projections: figures obtained with it say what the pipeline does, not what WavLM can.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ser_toolkit.compat import repair_torchaudio


def main(folder: str) -> None:
    """Write configuration, feature extractor and weights to ``folder``."""
    repair_torchaudio()
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    torch.manual_seed(0)
    config = WavLMConfig(
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=192,
        conv_dim=(64,) * 7,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=4,
    )
    WavLMModel(config).save_pretrained(Path(folder))
    Wav2Vec2FeatureExtractor(do_normalize=False, return_attention_mask=False).save_pretrained(Path(folder))
    print(f"WavLM with {sum(p.numel() for p in WavLMModel(config).parameters()):,} random weights in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/random_wavlm.py FOLDER")
    main(sys.argv[1])
