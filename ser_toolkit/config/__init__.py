"""From what a user typed to a recipe: arguments, files, types, conventions of protocols, explanations, identity."""
