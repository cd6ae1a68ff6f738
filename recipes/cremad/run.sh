#!/usr/bin/env bash
# Trains recipes of this corpus, every fold, and prints one table: recipes/cremad/run.sh FOLDER (--help says more)
exec bash "$(dirname -- "$0")/../_run.sh" cremad egemaps,compare,byols,fusion,egemaps_svm,logmel,cnn_blstm,timnet,whisper_tiny,whisper_tiny_linear,whisper_tiny_fusion "$@"
