"""Run the seven flows as the README has them, one after the other: `python3 docs/examples/flows.py`.

The server must be running; where it is not at the README's address, give its own as the argument.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ADDRESS = "http://127.0.0.1:8000"
README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def preparation() -> str:
    """Return what comes before the flows: the users, and a call."""
    return str(re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0])


def flows() -> list[tuple[str, str, str, str]]:
    """Return of each flow its number, what happens, what is answered, and the command."""
    step = r"^\*\*(\d)\. ([^\n]*):\*\* ([^\n]*)\n\n```sh\n(.*?)\n```$"
    return re.findall(step, README, re.MULTILINE | re.DOTALL)


def main(arguments: list[str]) -> int:
    """Run everything in one shell, print what each does and is answered, and return the exit status."""
    address = arguments[0] if arguments else ADDRESS
    if not re.match(r"https?://", address):
        print(f"{address} is no address: give the server's, such as {ADDRESS}")
        return 2
    if subprocess.run(["curl", "-s", "-m", "5", "-o", "/dev/null", address], check=False).returncode:
        print(f"Nothing answers at {address}: start the server with `make run`, or give its address")
        return 1
    begin = preparation().replace(ADDRESS, address)
    steps = [
        f"echo; echo {shlex.quote(f'== Flow {number}: {what}. Expected: {answer}')}\n{command}"
        for number, what, answer, command in flows()
    ]
    return subprocess.run(["bash", "-euc", "\n".join([begin, *steps])], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
