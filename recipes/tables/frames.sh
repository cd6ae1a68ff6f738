#!/usr/bin/env bash
# Frame stages on the same upstream, pooling, head and folds: recipes/tables/frames.sh emodb data.root=FOLDER [key=value ...]
# Writes tables/<corpus>_frames.md; run it again to go on where it stopped.
set -euo pipefail
corpus=${1:?usage: recipes/tables/frames.sh CORPUS data.root=FOLDER [key=value ...]}
shift
ser-compare "recipe=${corpus}_byols_adam" "name=${corpus}_frames" baselines=[] "$@" \
  --output "tables/${corpus}_frames.md" \
  --row "none:" \
  --row "LinearProjection: model.frames=LinearProjection" \
  --row "LinearReLU: model.frames=LinearReLU" \
  --row "ConvolutionalEncoder: model.frames=ConvolutionalEncoder" \
  --row "AveragePooledCNN: model.frames=AveragePooledCNN" \
  --row "RecurrentEncoder (BLSTM): model.frames=RecurrentEncoder" \
  --row "TransformerEncoder: model.frames=TransformerEncoder" \
  --row "TIMNet: model.frames=TIMNet model.pooling=MeanPooling" \
  --row "MelCNN on log-mel: model.upstream=Spectral model.upstream.features=logmel model.upstream.hop_ms=20 model.frames=MelCNN" \
  --row "MelCNN, then BLSTM, on log-mel: model.upstream=Spectral model.upstream.features=logmel model.upstream.hop_ms=20 model.frames=FrameStages model.frames.stages=[MelCNN,RecurrentEncoder]" \
  --row "ECAPA: model.frames=ECAPA"
