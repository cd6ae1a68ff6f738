#!/usr/bin/env bash
# Trains recipes of this corpus, every fold, and prints one table: recipes/cameo/run.sh FOLDER (--help says more)
exec bash "$(dirname -- "$0")/../_run.sh" cameo egemaps,byols,wavlm "$@"
