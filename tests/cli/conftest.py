"""What tests of commands share."""

import pytest

from fusionzoo.cli import main


@pytest.fixture
def call(capsys):
    """Run a command in this process; gives exit code, output and errors."""

    def run(*arguments):
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code or 0
        told = capsys.readouterr()
        return code, told.out, told.err

    return run
