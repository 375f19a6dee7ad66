"""Prints how many instructions the verifier went through for each of the tracer's programs.

The kernel is asked by a command that is traced, so that they are there; programs that were there
before are not the tracer's.
"""

import ctypes
import json
import os
import struct
import subprocess
import sys

BPF, GET_NEXT_ID, GET_FD_BY_ID, GET_INFO = 321, 11, 13, 15
# Offsets in bpf_prog_info.
NAME, VERIFIED, SIZE = 64, 216, 232

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    attributes = ctypes.create_string_buffer(attributes, 128)
    result = libc.syscall(BPF, command, attributes, 128)
    return result, attributes.raw


def programs():
    """The name and the count of every program that the kernel has, by number."""
    found, number = {}, 0
    while True:
        result, answer = bpf(GET_NEXT_ID, struct.pack("II", number, 0))
        if result != 0:
            return found
        (number,) = struct.unpack_from("I", answer, 4)
        descriptor, _ = bpf(GET_FD_BY_ID, struct.pack("I", number))
        if descriptor < 0:
            continue
        info = ctypes.create_string_buffer(SIZE)
        request = struct.pack("IIQ", descriptor, SIZE, ctypes.addressof(info))
        result, _ = bpf(GET_INFO, request)
        os.close(descriptor)
        assert result == 0, os.strerror(ctypes.get_errno())
        name = info.raw[NAME : NAME + 16].split(b"\0")[0].decode()
        found[number] = name, struct.unpack_from("I", info.raw, VERIFIED)[0]


if len(sys.argv) > 1:
    with open(sys.argv[1], "w") as output:
        json.dump(programs(), output)
    sys.exit()

before = {str(number) for number in programs()}
words = ["tracer", "-q", "-o", "/tmp/verified.out", "--"]
words += [sys.executable, __file__, "/tmp/verified"]
subprocess.run(words, check=True)
with open("/tmp/verified") as asked:
    own = [each for number, each in json.load(asked).items() if number not in before]
assert own, "no program of the tracer is loaded while it traces"
counts = {}
for name, count in own:
    counts[name] = max(count, counts.get(name, 0))
print("verified:", json.dumps(counts, sort_keys=True))
