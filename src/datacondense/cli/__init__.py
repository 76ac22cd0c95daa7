"""The command line: one file per subcommand; flags become configs, one public call, one record."""

from datacondense.cli.main import main

__all__ = ["main"]
