"""`python -m fusionzoo`: the command line, where its script isn't on the path."""

from fusionzoo.cli import main

main()
