"""`python -m omni.host.contract PATH [RULE ...] [--with-models]`: one JSON line a rule.

The exit status is 1 when one is broken.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict

from omni.host.contract import check


def main() -> int:
    """Try the rules on the plugin at PATH."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--with-models"]
    with_models = len(arguments) < len(sys.argv) - 1
    if not arguments:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    from omni.host.contract.rules import RULES

    broken = False
    for rule in arguments[1:] or RULES:  # one at a time: what was found is said even when a later rule ends the process
        for outcome in asyncio.run(check(arguments[0], [rule], with_models=with_models)):
            sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
            sys.stdout.flush()
            broken = broken or outcome.result == "broken"
    return int(broken)


if __name__ == "__main__":
    raise SystemExit(main())
