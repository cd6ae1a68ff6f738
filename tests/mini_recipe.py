"""The smallest experiment that goes through everything; see the fixture ``mini``."""

from __future__ import annotations

#: A corpus of 24 short synthetic utterances and a model of some hundred parameters: one run takes a few seconds.
MINI_RECIPE = """\
# Everything small: 4 speakers x 2 classes x 3 utterances.
data:
  corpus: {class_path: Synthetic, init_args: {num_speakers: 4, classes: [angry, sad], utterances_per_class: 3}}
  protocol: LeaveOneSpeakerOut
  batch_size: 4
model:
  upstream: {class_path: Spectral, init_args: {num_mels: 8, num_mfcc: 8}}
  layer_mix: SingleLayer
  pooling: AttentivePooling
  head: {class_path: MLPHead, init_args: {hidden_dim: 8, dropout: 0.3}}
  objective: CrossEntropy
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 2}
baselines: [majority]
"""

#: A model of some ten parameters for whatever corpus: one epoch takes no time.
QUICK_MODEL = """\
# One epoch of a linear head on a few mel bands.
data: {batch_size: 64}
model:
  upstream: {class_path: Spectral, init_args: {num_mels: 8, num_mfcc: 8}}
  layer_mix: SingleLayer
  pooling: MeanPooling
  head: LinearHead
  objective: CrossEntropy
  optimizer: {class_path: torch.optim.Adam, init_args: {lr: 0.01}}
trainer: {max_epochs: 1}
baselines: []
"""
