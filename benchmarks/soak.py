"""Run a node for a long time with six synthetic participants that act at random, and look for leaks.

    python -m benchmarks.soak [--seconds 1800] [--seed 1]

`tests.support.media.soak` says how the participants act and when the run fails.
"""

import argparse
import asyncio
import sys
import time

from tests.support.media.soak import SoakError, soak


def main() -> int:
    """Run the soak and print its summary; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=1800, help="how long it runs")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="seed of the random choices")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.seconds:.0f} s", flush=True)
    try:
        print(asyncio.run(soak(options.seconds, options.seed)))
    except SoakError as error:
        print(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
