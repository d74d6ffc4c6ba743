"""From a combo to a model: assembly, conversions, the model itself, its weights."""
