// Each way to be on the stack while an exception is in flight.
#include "leaf.h"
#include <cstring>
#include <new>

// As in main.rs.
enum chain { THROWN = 1, DESTROYED, CAUGHT, RETHROWN, NEW };

struct Thrown { char bytes[MARK(THROWN, MALLOC)]; };
struct Small {};

FUNCTION void thrower() { static Thrown big; throw big; }
FUNCTION void throwing() {
    try { thrower(); } catch (const Thrown &) { KEEP; }
}

struct Guard {
    FUNCTION ~Guard() {
        leaf(DESTROYED);
        sink = operator new(MARK(NEW, MALLOC));
        KEEP;
    }
};
FUNCTION void small() { throw Small(); }
FUNCTION void guarded() { Guard guard; small(); KEEP; }
FUNCTION void destroying() {
    try { guarded(); } catch (Small) { KEEP; }
}

FUNCTION void catching() {
    try { small(); } catch (Small) { leaf(CAUGHT); KEEP; }
}

FUNCTION void again() {
    try { small(); } catch (Small) { throw; }
}
FUNCTION void catching_again() {
    try { again(); } catch (...) { leaf(RETHROWN); KEEP; }
}

int main(int count, char **words) {
    if (count > 2 && !strcmp(words[1], "end")) return atoi(words[2]);
    prepare();
    for (int round = 0; round < 2; round++) {
        throwing();
        destroying();
        catching();
        catching_again();
    }
}
