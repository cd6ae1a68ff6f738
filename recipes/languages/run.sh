#!/usr/bin/env bash
# Trains recipes of these corpora, every fold, and prints one table: recipes/languages/run.sh FOLDER (--help says more)
exec bash "$(dirname -- "$0")/../_run.sh" languages egemaps,byols,wavlm "$@"
