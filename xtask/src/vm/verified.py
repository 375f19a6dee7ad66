"""Prints how many instructions the verifier went through for each of the tracer's programs.

They are listed by a command that is traced, so that they are there; those that were there before
are not the tracer's.
"""

import json
import subprocess

LIST = ["bpftool", "-j", "prog", "show"]


def programs(before, output="/tmp/verified"):
    words = [*before, "sh", "-c", f"{' '.join(LIST)} >{output}"]
    subprocess.run(words, check=True)
    with open(output) as listed:
        return {each["id"]: each for each in json.load(listed)}


without = programs([])
within = programs(["tracer", "-q", "-o", "/tmp/verified.out", "--"])
own = [each for number, each in within.items() if number not in without]
assert own, "no program of the tracer is loaded while it traces"
counts = {}
for each in own:
    name, count = each.get("name", "?"), each.get("verified_insns", 0)
    counts[name] = max(count, counts.get(name, 0))
print("verified:", json.dumps(counts, sort_keys=True))
