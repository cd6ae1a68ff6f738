#!/usr/bin/env bash
# Runs this corpus's recipes, every fold, and prints each report: recipes/emodb/run.sh FOLDER [key=value ...]
# Run it again to go on where it stopped.
set -euo pipefail
root=${1:?usage: recipes/emodb/run.sh FOLDER [key=value ...]}
shift
for recipe in emodb_egemaps emodb_compare emodb_byols emodb_fusion emodb_egemaps_svm emodb_logmel emodb_cnn_blstm emodb_timnet; do
  ser-train "recipe=$recipe" "data.root=$root" "$@"
done
