"""A fusion for fusionzoo: example."""
