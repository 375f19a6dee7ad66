#!/bin/sh
# Where something is missing the tracer is right, or it refuses at once by one line and exit
# status 125, and doctor knows which. The words are put before each command.
"$@" tracer doctor >/tmp/doctor 2>&1
doctor=$?
sed 's/^/doctor: /' /tmp/doctor
rm -rf /tmp/constrained
began=$(date +%s)
"$@" tracer -q -o /tmp/constrained -- true >/tmp/said 2>&1
status=$?
lasted=$(($(date +%s) - began))
cat /tmp/said
if [ $status = 125 ]; then
    echo "refused: $(head -n 1 /tmp/said)"
    # Emulated processors are some ten times as slow as real ones.
    [ $lasted -le 10 ] || { echo "wrong: refused after $lasted s only"; exit 1; }
    [ "$(wc -l </tmp/said)" = 1 ] || { echo "wrong: more than one line"; exit 1; }
    [ $doctor != 0 ] || { echo "wrong: doctor says ok where the tracer refuses"; exit 1; }
    exit 0
fi
[ $status = 0 ] || { echo "wrong: \`true\` ended with $status"; exit 1; }
[ $doctor = 0 ] || { echo "wrong: doctor says no where the tracer works"; exit 1; }
# shellcheck disable=SC2086
exec "$@" $LIVE ${TESTS-memory::} allocations::every_function endings::the_exit_status
