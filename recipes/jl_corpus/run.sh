#!/usr/bin/env bash
# Trains recipes of this corpus, every fold, and prints one table: recipes/jl_corpus/run.sh FOLDER (--help says more)
exec bash "$(dirname -- "$0")/../_run.sh" jl_corpus egemaps,byols,wavlm "$@"
