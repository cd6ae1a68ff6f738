#!/usr/bin/env bash
# Runs this corpus's recipes, every fold, and prints each report: recipes/msp_improv/run.sh FOLDER [key=value ...]
# Run it again to go on where it stopped.
set -euo pipefail
root=${1:?usage: recipes/msp_improv/run.sh FOLDER [key=value ...]}
shift
for recipe in msp_improv_egemaps msp_improv_wavlm; do
  ser-train "recipe=$recipe" "data.root=$root" "$@"
done
