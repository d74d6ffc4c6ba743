"""Data: manifests, tables, images, splits, augmentation and loading."""
