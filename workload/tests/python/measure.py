"""Runs a command, then prints the greatest resident set that it had, in bytes, and the seconds of
processor time that it took, as JSON."""

import json
import resource
import subprocess
import sys

subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"resident": used.ru_maxrss * 1024, "cpu": used.ru_utime + used.ru_stime}))
