// What the C runtime itself allocates: nothing of ours.
int main(void) { return 0; }
