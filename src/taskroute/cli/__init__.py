"""The command line: what `taskroute` and `python -m taskroute` run. Imported by nobody else."""
