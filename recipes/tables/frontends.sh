#!/usr/bin/env bash
# Front ends under the same head, folds and optimiser: recipes/tables/frontends.sh emodb data.root=FOLDER [key=value ...]
# Writes tables/<corpus>_frontends.md; run it again to go on where it stopped. WAVLM=FOLDER adds a row for that model.
set -euo pipefail
corpus=${1:?usage: recipes/tables/frontends.sh CORPUS data.root=FOLDER [key=value ...]}
shift
checkpoint=BYOL-S/SERAB/checkpoints/default512_BYOLAs64x96-2107281850-e100-bs256-lr0003-rs42.pth
byols="{class_path: BYOLS, init_args: {checkpoint: $checkpoint, normalisation: fixed}}"
compare="{class_path: OpenSmile, init_args: {feature_set: ComParE_2016}}"
logmel="{class_path: Spectral, init_args: {features: logmel, hop_ms: 20}}"
fused="model.upstream=FusedUpstreams model.upstream.upstreams"
spectral="model.upstream=Spectral model.upstream.hop_ms=20 model.upstream.features"
rows=(
  --row "eGeMAPS functionals: model.upstream=OpenSmile model.pooling=MeanPooling"
  --row "ComParE functionals: model.upstream=OpenSmile model.upstream.feature_set=ComParE_2016 model.pooling=MeanPooling"
  --row "eGeMAPS low-level descriptors: model.upstream=OpenSmile model.upstream.level=lld"
  --row "MFCC: $spectral=mfcc"
  --row "log-mel: $spectral=logmel"
  --row "log-mel + prosody: $spectral=[logmel,prosody]"
  --row "s3prl fbank_no_cmvn: model.upstream=S3prlUpstream model.upstream.name=fbank_no_cmvn model.upstream.checkpoint=null model.upstream.layers=all"
)
if [ -n "${WAVLM:-}" ]; then
  rows+=(--row "$WAVLM: model.upstream=HuggingFaceUpstream model.upstream.name=$WAVLM model.upstream.layers=all model.layer_mix=WeightedSum")
fi
rows+=(
  --row "BYOL-S, last layer:"
  --row "BYOL-S, all layers side by side: model.upstream.layers=all model.layer_mix=ConcatenateLayers"
  --row "BYOL-S and ComParE, fused late: $fused=[$byols,$compare] model.fusion=LateFusion model.fusion.poolings=[StatisticsPooling,MeanPooling]"
  --row "BYOL-S and log-mel, fused early: $fused=[$byols,$logmel] model.fusion=EarlyFusion"
)
ser-compare "recipe=${corpus}_byols_adam" "name=${corpus}_frontends" baselines=[] "$@" \
  --output "tables/${corpus}_frontends.md" "${rows[@]}"
