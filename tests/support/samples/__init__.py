"""Session descriptions of real stacks, as they wrote them: by browsers and aiortc, and by a SIP gateway."""

from pathlib import Path

_FOLDER = Path(__file__).parent


def _read(folder: str) -> dict[str, str]:
    return {path.stem: path.read_bytes().decode() for path in sorted((_FOLDER / folder).glob("*.sdp"))}


# By name: `SAMPLES["chromium-hold"]` is an answer, and every other one an offer.
SAMPLES = _read("browsers")
# What gateways and odd endpoints offer, each named for what is odd about it.
CASES = _read("cases")
