#!/usr/bin/env bash
# Every pooling on the same upstream, head, folds and optimiser: recipes/tables/poolings.sh emodb data.root=FOLDER [key=value ...]
# Writes tables/<corpus>_poolings.md; run it again to go on where it stopped.
set -euo pipefail
corpus=${1:?usage: recipes/tables/poolings.sh CORPUS data.root=FOLDER [key=value ...]}
shift
ser-compare "recipe=${corpus}_byols_adam" "name=${corpus}_poolings" baselines=[] "$@" \
  --output "tables/${corpus}_poolings.md" \
  model.pooling=MeanPooling,StatisticsPooling,MaxPooling,MeanMaxPooling,MeanStdMaxPooling,PercentilePooling,MomentPooling,AttentivePooling,AttentiveStatisticsPooling,SelfAttentivePooling,MultiHeadAttentivePooling,QueryPooling,ChannelAttentiveStatisticsPooling,LastStatePooling \
  --row "ECAPA + ECAPAPooling: model.frames=ECAPA model.pooling=ECAPAPooling" \
  --row "UnmaskedMeanPooling (peers): model.pooling=UnmaskedMeanPooling" \
  --row "S3prlAttentivePooling (peers): model.pooling=S3prlAttentivePooling"
