"""Loggers that a run can tell of its progress; one a file, its name is `--logger`."""
