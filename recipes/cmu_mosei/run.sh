#!/usr/bin/env bash
# Runs this corpus's recipes, every fold, and prints each report: recipes/cmu_mosei/run.sh FOLDER [key=value ...]
# Run it again to go on where it stopped.
set -euo pipefail
root=${1:?usage: recipes/cmu_mosei/run.sh FOLDER [key=value ...]}
shift
for recipe in cmu_mosei_wavlm; do
  ser-train "recipe=$recipe" "data.root=$root" "$@"
done
