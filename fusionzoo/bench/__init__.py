"""Many runs at once: a table's rows times folds times seeds, each run a process of its own."""
