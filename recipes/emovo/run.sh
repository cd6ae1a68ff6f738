#!/usr/bin/env bash
# Trains recipes of this corpus, every fold, and prints one table: recipes/emovo/run.sh FOLDER (--help says more)
exec bash "$(dirname -- "$0")/../_run.sh" emovo egemaps,byols,wavlm "$@"
