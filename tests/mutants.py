"""Take out each guard that `tests/protocol_musts.toml` names, one at a time, and see that its tests notice.

    python3 dev.py mutants                        # all of them
    python3 dev.py mutants R7 G2                  # these rules
    python3 dev.py mutants --sample 6 --seed 1    # some
    python3 dev.py mutants --number               # none: compare map and document, and number the document

Tests and nodes import a copy of the installed package, in which one guard is missing. Nothing else is touched.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support import musts
from tests.support.musts import ROOT, Mutant, Rule

TEST_TIMEOUT_S = 60
"""For one test: without a guard some wait for what never comes, which is noticed too."""
RUN_TIMEOUT_S = 600
TESTS_FAILED = 1
"""What pytest returns then; anything but this and 0 says that no test has run."""


class Copy:
    """A copy of the installed package that stands before it on the way of imports."""

    def __init__(self, folder: Path) -> None:
        spec = importlib.util.find_spec("peerpost")
        assert spec is not None
        assert spec.origin is not None
        self._folder = folder
        self._package = folder / "peerpost"
        shutil.copytree(Path(spec.origin).parent, self._package)

    def run(self, tests: list[str]) -> tuple[int, str]:
        """Run tests against the copy; return pytest's exit code and what it said."""
        options = ["-q", "-x", "-p", "no:cacheprovider", "-o", f"timeout={TEST_TIMEOUT_S}"]
        # No bytecode: a changed file may have the size and the second of the unchanged one.
        env = {**os.environ, "PYTHONPATH": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pytest", *options, *tests],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return TESTS_FAILED, "it never ended"
        return done.returncode, done.stdout + done.stderr

    def without(self, mutant: Mutant, tests: list[str]) -> tuple[int, str]:
        """Run tests with one guard taken out, then put it back."""
        path = self._path(mutant.file)
        whole = path.read_text(encoding="utf-8")
        assert whole.count(mutant.old) == 1, f"{mutant.file} is not what is installed"
        for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            stale.unlink()
        path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            return self.run(tests)
        finally:
            path.write_text(whole, encoding="utf-8")

    def _path(self, file: str) -> Path:
        """Return where a source of the checkout is installed."""
        top, _, rest = file.partition("/")
        return self._package / rest if top == "messenger" else self._package / top / rest


def chosen(rules: list[Rule], arguments: argparse.Namespace) -> list[tuple[Rule, Mutant]]:
    """Return what to take out, by name or by lot."""
    every = [(rule, mutant) for rule in rules for mutant in rule.mutants]
    if arguments.rules:
        unknown = set(arguments.rules) - {rule.name for rule, _ in every}
        if unknown:
            raise SystemExit(f"no rule with a guard: {', '.join(sorted(unknown))}")
        every = [(rule, mutant) for rule, mutant in every if rule.name in arguments.rules]
    if arguments.sample is not None:
        draw = random.Random(arguments.seed)
        every = draw.sample(every, min(arguments.sample, len(every)))
    return every


def take_out(copy: Copy, rule: Rule, mutant: Mutant) -> bool:
    """Take out one guard and tell whether its tests noticed."""
    started_s = time.monotonic()
    code, output = copy.without(mutant, list(rule.tests))
    verdict = {0: "SURVIVED", TESTS_FAILED: "noticed"}.get(code, f"BROKEN (pytest: {code})")
    line = mutant.old.strip().splitlines()[0]
    took_s = time.monotonic() - started_s
    print(f"{rule.name:<5}{verdict:<10}{took_s:5.1f} s  {mutant.file}: {line}", flush=True)
    if code not in (0, TESTS_FAILED):
        print(output)
    return code == TESTS_FAILED


def main(words: list[str]) -> int:
    """Take out what is asked for; return 1 if any was not noticed."""
    parser = argparse.ArgumentParser(prog="dev.py mutants")
    parser.add_argument("rules", nargs="*", metavar="RULE", help="such as R7 or G2; else all")
    parser.add_argument("--sample", type=int, help="how many to draw")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", action="store_true", help="number the rules of the document")
    arguments = parser.parse_args(words)
    if arguments.number:
        return musts.main(["--number"])
    work = chosen(musts.load(), arguments)
    with tempfile.TemporaryDirectory(prefix="peerpost-mutants-") as folder:
        copy = Copy(Path(folder))
        code, output = copy.run(sorted({test for rule, _ in work for test in rule.tests}))
        if code:
            print(output + "\nwith every guard in its place these tests must pass")
            return 1
        survived = [rule.name for rule, mutant in work if not take_out(copy, rule, mutant)]
    print(f"{len(work)} guards taken out, {len(survived)} not noticed: {' '.join(survived) or '-'}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
