"""Let six synthetic participants do everything to a node, for a long time, and look for what is left.

    python -m benchmarks.soak [--seconds 1800] [--seed 1]

What they do, and when it fails, says `tests.support.media.soak`.
"""

import argparse
import asyncio
import sys
import time

from tests.support.media.soak import SoakError, soak


def main() -> int:
    """Run the soak, and say what happened."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=int(time.time()))
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
