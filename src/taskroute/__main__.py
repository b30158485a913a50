"""`python -m taskroute`: the command line."""

from taskroute.cli.main import script

if __name__ == "__main__":
    script()
