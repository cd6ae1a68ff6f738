#!/usr/bin/env bash
# Runs this corpus's recipes, every fold, and prints each report: recipes/thai_ser/run.sh FOLDER [key=value ...]
# Run it again to go on where it stopped.
set -euo pipefail
root=${1:?usage: recipes/thai_ser/run.sh FOLDER [key=value ...]}
shift
for recipe in thai_ser_wavlm; do
  ser-train "recipe=$recipe" "data.root=$root" "$@"
done
