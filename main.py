"""`python main.py` is `omni run`."""

import sys

from omni.cli.main import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
