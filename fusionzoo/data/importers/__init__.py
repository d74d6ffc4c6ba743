"""Data described for other libraries, as a manifest; one format a file, its name is `--from`."""
