#!/usr/bin/env bash
# Runs this corpus's recipes, every fold, and prints each report: recipes/cremad/run.sh FOLDER [key=value ...]
# Run it again to go on where it stopped.
set -euo pipefail
root=${1:?usage: recipes/cremad/run.sh FOLDER [key=value ...]}
shift
for recipe in cremad_egemaps cremad_compare cremad_byols cremad_fusion cremad_egemaps_svm cremad_logmel cremad_cnn_blstm cremad_timnet; do
  ser-train "recipe=$recipe" "data.root=$root" "$@"
done
