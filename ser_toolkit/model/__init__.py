"""The network of a recipe, trained as a LightningModule: wiring, optimisers, outputs of an epoch, weights in files."""
