#!/usr/bin/env bash
# Heads and objectives on the same upstream, pooling and folds: recipes/tables/heads.sh emodb data.root=FOLDER [key=value ...]
# Writes tables/<corpus>_heads.md; run it again to go on where it stopped. OrdinalHead is left out: emotions have no order.
set -euo pipefail
corpus=${1:?usage: recipes/tables/heads.sh CORPUS data.root=FOLDER [key=value ...]}
shift
# What is fitted at once has no learning rate to choose: its C is the default of the head.
fitted="selection.candidates=[]"
ser-compare "recipe=${corpus}_byols_adam" "name=${corpus}_heads" baselines=[] "$@" \
  --output "tables/${corpus}_heads.md" \
  --row "LinearHead, CrossEntropy balanced:" \
  --row "CrossEntropy unweighted: model.objective.class_weights=none" \
  --row "CrossEntropy sqrt weights: model.objective.class_weights=sqrt" \
  --row "CrossEntropy effective number: model.objective.class_weights=effective" \
  --row "CrossEntropy smoothing 0.1: model.objective.label_smoothing=0.1" \
  --row "FocalLoss gamma 2: model.objective=FocalLoss model.objective.class_weights=balanced" \
  --row "LogitAdjustedCrossEntropy: model.objective=LogitAdjustedCrossEntropy" \
  --row "SoftF1Loss: model.objective=SoftF1Loss" \
  --row "MLPHead: model.head=MLPHead" \
  --row "PrototypeHead: model.head=PrototypeHead" \
  --row "PrototypeHead, AdditiveAngularMargin: model.head=PrototypeHead model.objective=AdditiveAngularMargin" \
  --row "PrototypeHead, AdditiveMargin: model.head=PrototypeHead model.objective=AdditiveMargin" \
  --row "HierarchicalHead, neutral first: model.head=HierarchicalHead" \
  --row "FrameLevelHead, FrameCrossEntropy: model.head=FrameLevelHead model.pooling=MeanPooling model.objective=FrameCrossEntropy" \
  --row "LinearSVM: model.head=LinearSVM $fitted" \
  --row "KernelSVM (RBF): model.head=KernelSVM $fitted" \
  --row "LogisticRegressionHead: model.head=LogisticRegressionHead $fitted" \
  --row "LinearHead told the sex: model.conditioning=ConcatenateCondition" \
  --row "LinearHead modulated by the sex: model.conditioning=FeatureWiseModulation"
