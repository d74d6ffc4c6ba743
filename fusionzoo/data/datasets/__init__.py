"""Data sets, one a file; the file name is what `--dataset` calls it."""
