"""Hold README's command blocks to what the commands print: `python .ci/readme.py [--write]`, from the root.

A block of `console` whose next block is `text` is run line by line; the text must be its output, but for times, run
ids, digests, ports and the last digits of long numbers. With `--write` the text is replaced by the output. `out/` is
removed first: README shows what a fresh clone shows.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

README = Path("README.md")
BLOCK = re.compile(r"```console\n((?:\$ [^\n]*\n)+)```\n\n```text\n(.*?)```", re.DOTALL)
VARYING = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}"), "RUN"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "DIGEST"),
    (re.compile(r" *\d+\.\d s\b"), " T s"),
    (re.compile(r"\bin \d+ s\b"), "in T s"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"(\d+\.\d{3})\d{5,}"), r"\1"),
)
SET_UP = re.compile(r"^(Setting up|Set up in) .*\n", re.MULTILINE)


def output_of(commands: str) -> str:
    """What the commands of a block print on both channels, line ends trimmed."""
    found = []
    for line in commands.splitlines():
        command = line.removeprefix("$ ")
        done = subprocess.run(
            ["bash", "-c", command],
            env=os.environ | {"PATH": f"{Path('.venv/bin').absolute()}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        found.append(SET_UP.sub("", done.stdout).strip("\n"))
    return "\n".join(line.rstrip() for line in "\n".join(found).splitlines()) + "\n"


def settled(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    return text


def main(write: bool) -> int:
    """Compare every block, or rewrite the texts; returns the number of blocks that differ."""
    differing = 0
    shutil.rmtree("out", ignore_errors=True)

    def replaced(block: re.Match[str]) -> str:
        nonlocal differing
        commands, shown = block.groups()
        printed = output_of(commands)
        if settled(printed) == settled(shown):
            return block.group(0)
        differing += 1
        if not write:
            sys.stdout.write(f"README says of\n{commands}{shown}\nbut it prints\n{printed}\n")
        return f"```console\n{commands}```\n\n```text\n{printed}```"

    text = README.read_text(encoding="utf-8")
    fresh = BLOCK.sub(replaced, text)
    if write and fresh != text:
        README.write_text(fresh, encoding="utf-8")
    return 0 if write else differing


if __name__ == "__main__":
    sys.exit(main("--write" in sys.argv[1:]))
