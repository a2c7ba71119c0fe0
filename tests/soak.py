"""Damaged inputs in great number: every outcome is counted, and one that is none of the good ones fails.

    python tests/soak.py --minutes 60                     all readers, a new seed, which is printed
    python tests/soak.py --reader nifti --case 123        one case again, with what came of it

Good outcomes are *right* (the sound file's values), *said* (something was mended or noted), *refused* (one sentence that names the
file) and *undetectable* (by rule, see `fuzz_readers`). Others are failures: *raw* (another exception), *silent* (other values and
no word), *unnamed* (a refusal that is no sentence with a name), *others* (a recording that was not touched changed), *hang* (more
than 20 s of processor time, or blocked), *memory* (more than 2 GiB), *died*.
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eegfmri.errors import EegFmriError
from fuzz_mutations import Replaced, damage
from fuzz_readers import READERS, Reading

GOOD = ("right", "said", "refused", "undetectable")
BAD = ("raw", "silent", "unnamed", "others", "hang", "memory", "died")

#: Processor time of one case, s; waiting, which costs none, is given up later, for other processes may be in the way.
MOST_SECONDS, MOST_WAITING = 20, 60
MOST_MEMORY = 2 << 30


@dataclass(frozen=True)
class Outcome:
    """What came of a case: one of `GOOD` or `BAD`, what was done to which file, what was said or raised."""

    kind: str
    reader: str
    case: int
    done: str
    detail: str = ""

    @property
    def good(self) -> bool:
        """Whether it is one of `GOOD`."""
        return self.kind in GOOD

    def __str__(self) -> str:
        again = f"python tests/soak.py --reader {self.reader} --case {self.case}"
        return f"{self.reader}, case {self.case}: {self.kind}: {self.done}: {self.detail}\n    again: {again}"


class Trial:
    """Sound files of one reader, which cases damage one at a time."""

    def __init__(self, name: str, folder: Path):
        self.name, self.reader, self.folder = name, READERS[name], folder
        folder.mkdir()
        self.files = {path: path.read_bytes() for path in self.reader.make(folder)}
        self.stamps = {path: path.stat() for path in self.files}
        self.sound = self.reader.read(folder)

    def run(self, case: int) -> Outcome:
        """Damage one file, read, and put it back."""
        rng = np.random.default_rng([case, zlib.crc32(self.name.encode())])
        path = list(self.files)[int(rng.integers(len(self.files)))]
        content = self.files[path]
        what, damaged = damage(rng, path.name, content)
        done = f"{path.relative_to(self.folder)}: {what}"
        self.finish = self.reader.opened(self.folder) if self.reader.opened else lambda: self.reader.read(self.folder)
        path.unlink(missing_ok=True)
        try:
            damaged.put(path) if isinstance(damaged, Replaced) else path.write_bytes(damaged)
            kind, detail = self._outcome(path, content, damaged)
        finally:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            for other, body in self.files.items():  # a cache may have been mended
                if other == path or "cache" in self.name:
                    other.parent.mkdir(parents=True, exist_ok=True)
                    other.write_bytes(body)
                    os.utime(other, ns=(self.stamps[other].st_atime_ns, self.stamps[other].st_mtime_ns))
        return Outcome(kind, self.name, case, done, detail)

    def _outcome(self, path: Path, content: bytes, damaged) -> tuple[str, str]:
        try:
            read = self.finish()
        except EegFmriError as error:
            if _out_of_memory(error):
                return "memory", str(error)
            return _judge_sentence(str(error), path)
        except MemoryError as error:
            return "memory", "".join(traceback.format_exception(error)[-3:])
        except Exception as error:  # noqa: BLE001
            return "raw", "".join(traceback.format_exception(error)[-3:])
        return self._compare(read, path, content, damaged)

    def _compare(self, read: Reading, path: Path, content: bytes, damaged) -> tuple[str, str]:
        changed = {
            part for part in {*read.values, *self.sound.values} if read.values.get(part) != self.sound.values.get(part)
        }
        own = self.reader.parts(path)
        new = [text for text in read.said if text not in self.sound.said]
        if any("MemoryError" in text or "llocate" in text for text in new):
            return "memory", new[0]
        strangers = sorted(part for part in changed if own is not None and not part.startswith(tuple(own)))
        if strangers:
            return "others", f"{strangers} changed: {new[:2]}"
        refused = {part: text for part, text in read.refused.items() if part not in self.sound.refused}
        for text in new:
            if "\n" in text or len(text) > 1500:
                return "unnamed", text
        if refused:
            text = next(iter(refused.values()))
            return _judge_sentence(text, path, *refused)
        if new:
            return "said", " ".join(new)
        if not changed:
            return "right", ""
        if isinstance(damaged, bytes) and self.reader.free(path.name, content, damaged):
            return "undetectable", ""
        return "silent", f"{sorted(changed)} changed and nothing was said{_difference(content, damaged)}"


def _difference(sound: bytes, damaged) -> str:
    """Show where two contents begin and cease to differ."""
    if not isinstance(damaged, bytes):
        return ""
    start = next(
        (i for i, (a, b) in enumerate(zip(sound, damaged, strict=False)) if a != b), min(len(sound), len(damaged))
    )
    tail = next((i for i, (a, b) in enumerate(zip(sound[:start:-1], damaged[:start:-1], strict=False)) if a != b), 0)
    was, now = sound[start : max(start, len(sound) - tail)], damaged[start : max(start, len(damaged) - tail)]
    before = sound[max(0, start - 20) : start]
    return f" (at byte {start} of {len(sound)}, after {before!r}: {was[:40]!r} became {now[:40]!r}, now {len(damaged)} bytes)"


def _out_of_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _judge_sentence(text: str, path: Path, *recordings: str) -> tuple[str, str]:
    named = (
        path.name in text or any(name in text for name in recordings) or path.stem in text or path.parent.name in text
    )
    if not text or "\n" in text or len(text) > 1500 or not named:
        return "unnamed", text
    return "refused", text


# --- a process apart, which may hang, swell and die -------------------------------------------------------------------


def _serve(name: str, connection) -> None:
    """Run the cases that come in; a signal of the processor's clock ends the process, in C code too."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2) if not os.environ.get("SOAK_STDERR") else None
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EEGFMRI_CACHE"] = f"{folder}/cache"
        trial = Trial(name, Path(folder) / "files")
        virtual = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (virtual + MOST_MEMORY, hard))
        connection.send(None)
        for number in iter(connection.recv, None):
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
            outcome = trial.run(number)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send(outcome)
            cached = Path(folder) / "cache"
            if number % 50 == 0 and cached.is_dir():
                shutil.rmtree(cached, ignore_errors=True)


def cases(reader: str, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Run cases of a reader in a process apart, which is started anew when one ends it.

    Parameters
    ----------
    reader : str
        A key of `fuzz_readers.READERS`.
    numbers : iterable of int
        Each the seed of a case.

    Yields
    ------
    Outcome
        One per case.
    """
    context = multiprocessing.get_context("fork")
    process = connection = None
    try:
        for number in numbers:
            if process is None:
                connection, other = context.Pipe()
                process = context.Process(target=_serve, args=(reader, other), daemon=True)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # threads of libraries, which the child does not need
                    process.start()
                other.close()
                connection.recv()
            connection.send(number)
            kind, detail = "hang", f"no answer for {MOST_WAITING} s"
            try:
                if connection.poll(MOST_WAITING):
                    yield connection.recv()
                    continue
                process.kill()
            except EOFError:
                process.join()
                kind, detail = "died", f"exit code {process.exitcode}"
                if process.exitcode == -signal.SIGPROF:
                    kind, detail = "hang", f"more than {MOST_SECONDS} s of processor time"
            process.join()
            process = None
            yield Outcome(kind, reader, number, "see the case", detail)
    finally:
        if process is not None:
            process.kill()
            process.join()


def table(counts: dict[str, Counter]) -> str:
    """Return outcomes per reader as text."""
    kinds = [kind for kind in (*GOOD, *BAD) if kind in GOOD or any(count[kind] for count in counts.values())]
    rows = [["reader", "cases", *kinds]]
    for name, count in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        rows.append([name, str(count.total()), *(str(count[kind]) for kind in kinds)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def main() -> int:
    """Run cases until the time is over; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="of the first case; a new one by default")
    parser.add_argument("--reader", choices=READERS, action="append", help="may be given several times; all by default")
    parser.add_argument("--case", type=int, default=None, help="run this case only, of one reader")
    parser.add_argument("--show", type=int, default=5, help="failures shown per reader")
    arguments = parser.parse_args()
    names = arguments.reader or list(READERS)
    if arguments.case is not None:
        outcomes = [outcome for name in names for outcome in cases(name, [arguments.case])]
        print(*outcomes, sep="\n")
        return int(not all(outcome.good for outcome in outcomes))
    seed = arguments.seed if arguments.seed is not None else int.from_bytes(os.urandom(4))
    print(f"seed {seed}", flush=True)
    counts = {name: Counter() for name in names}
    shown: Counter = Counter()
    share = 60 * arguments.minutes / len(names)
    for name in names:
        until = time.monotonic() + share
        for outcome in cases(name, iter(range(seed, seed + 10**9))):
            counts[name][outcome.kind] += 1
            if not outcome.good:
                shown[name] += 1
                if shown[name] <= arguments.show:
                    print(outcome, flush=True)
            if time.monotonic() > until:
                break
        print(f"{name}: {dict(counts[name])}", flush=True)
    print(table(counts))
    return int(any(counts[name][kind] for name in names for kind in BAD))


if __name__ == "__main__":
    sys.exit(main())
