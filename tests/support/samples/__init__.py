"""Session descriptions of real stacks: of browsers and aiortc, and of a SIP gateway."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def _read(folder: str) -> dict[str, str]:
    return {path.stem: path.read_bytes().decode() for path in sorted((_FOLDER / folder).glob("*.sdp"))}


# By name: `SAMPLES["chromium-hold"]` is an answer, and every other one an offer.
SAMPLES = _read("browsers")
# Offers of gateways and unusual endpoints, each named after its peculiarity.
CASES = _read("cases")
