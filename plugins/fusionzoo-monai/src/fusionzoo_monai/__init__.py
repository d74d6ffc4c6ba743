"""MONAI's networks and transforms for fusionzoo; MONAI itself is imported when one is built."""
