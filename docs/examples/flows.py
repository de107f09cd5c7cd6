"""Run the README's seven flows one after the other: `python3 docs/examples/flows.py`.

The server must be running. If its address differs from the README's, give the server's address as the argument.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

ADDRESS = "http://127.0.0.1:8000"
README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def preparation() -> str:
    """Return the README's first block, which registers the users and starts a call."""
    return str(re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0])


def flows() -> list[tuple[str, str, str, str]]:
    """Return, for each command of the README: the flow's number, a description, the expected answer, the command."""
    step = r"^\*\*([^\n]*) \(flow (\d)\):\*\* ([^\n]*)\n\n```sh\n(.*?)\n```$"
    steps = re.findall(step, README, re.MULTILINE | re.DOTALL)
    return [(number, what, answer, command) for what, number, answer, command in steps]


def main(arguments: list[str]) -> int:
    """Run all commands in one shell, and print a heading before each. Return the exit status."""
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
