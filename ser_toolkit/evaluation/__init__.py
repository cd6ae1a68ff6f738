"""From stored predictions to an honest report: nothing here sees a model, so any figure can be recomputed later."""
