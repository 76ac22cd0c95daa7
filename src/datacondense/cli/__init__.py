"""The command line: one file per subcommand; flags become settings, one public call, one JSON record."""
