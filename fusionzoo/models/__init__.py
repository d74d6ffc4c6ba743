"""From a combo to a model: assembly, conversions between parts, the model itself, and its weights."""
