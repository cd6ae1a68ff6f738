#!/usr/bin/env bash
# Trains recipes of this corpus, every fold, and prints one table: recipes/thai_ser/run.sh FOLDER (--help says more)
exec bash "$(dirname -- "$0")/../_run.sh" thai_ser egemaps,byols,wavlm "$@"
