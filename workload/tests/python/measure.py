"""Runs a command, then prints the greatest resident set that it had, in bytes, as JSON."""

import json
import resource
import subprocess
import sys

subprocess.run(sys.argv[1:], check=True)
print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
