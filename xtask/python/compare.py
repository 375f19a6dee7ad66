"""What memray captured of a run beside what the tracer recorded of another: CAPTURE OUT_DIR.

Prints JSON. Both are put under the tracer's locations: an allocation of memray's belongs to the
innermost of its native frames whose function is one of them, else to "elsewhere".
"""

import collections
import json
import re
import sys

from memray import AllocatorType, FileReader

FREES = {AllocatorType.FREE.value, AllocatorType.MUNMAP.value}
# A thread's outermost frames; below them memray's unwinder sees a return address of 0.
ENTRIES = {"_start", "clone3", "clone"}


def function(frame):
    """A frame's function: without file, arguments, template arguments and the compiler's suffixes."""
    name = re.split(r":\.?/", frame)[0]
    name = re.sub(r"\.(constprop|isra|part|cold)\.?\d*", "", name)
    return re.split(r"[(<\[]", name)[0].strip() or frame


def frames(record):
    return [name for name, *_ in record.native_stack_trace()]


class Locations:
    def __init__(self, stats):
        self.names = {function(entry["location"]) for entry in stats["top_allocs"]}
        self.cached = {}

    def of(self, names):
        for name in names:
            short = self.cached.get(name)
            if short is None:
                short = self.cached[name] = function(name)
            if short in self.names:
                return short
        return "elsewhere"


def unavailable(reader, locations):
    """What `memray stats` calls `<stack trace unavailable>`: no Python frame. Over the whole run."""
    found = {"bytes": 0, "calls": 0, "to_entry": 0, "frames": 0, "unknown_frames": 0}
    found["by_location"] = collections.Counter()
    for record in reader.get_allocation_records():
        if record.allocator in FREES or record.stack_trace(max_stacks=1):
            continue
        names = frames(record)
        found["bytes"] += record.size
        found["calls"] += 1
        found["to_entry"] += record.size if ENTRIES & set(names[-2:]) else 0
        found["frames"] += len(names)
        found["unknown_frames"] += names.count("<unknown>")
        found["by_location"][locations.of(names)] += record.size
    return found


def at_peak(reader, locations):
    """What was live at memray's peak."""
    found = collections.Counter()
    for record in reader.get_high_watermark_allocation_records(merge_threads=True):
        found[locations.of(frames(record))] += record.size
    return found


def tracers(stats):
    """The tracer's figures by the same names."""
    found = {}
    for entry in stats["top_allocs"]:
        figures = found.setdefault(function(entry["location"]), collections.Counter())
        figures["run"] += entry["size"]
        figures["peak"] += entry["reserved_at_peak_bytes"]
        figures["resident"] += entry["resident_at_peak_bytes"]
    return found


def stacks(stats):
    """How the stacks of all events end."""
    ends = collections.Counter()
    for counts in stats["stacks"]["by_probe"].values():
        ends.update(counts)
    return ends


def main():
    capture, out_dir = sys.argv[1:]
    with open(f"{out_dir}/stats.json") as file:
        stats = json.load(file)
    locations, reader = Locations(stats), FileReader(capture)
    answer = {
        "unavailable": unavailable(reader, locations),
        "memray_peak": at_peak(FileReader(capture), locations),
        "tracer": tracers(stats),
        "stacks": stacks(stats),
    }
    print(json.dumps(answer))


main()
