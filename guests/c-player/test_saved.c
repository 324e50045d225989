// Checks saved.c natively, against the states that all players here have in common.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "saved.h"

static bool holds(const char *state, const uint8_t *bytes, size_t len) {
    int64_t points = 42;
    const char *why = saved_read(bytes, len, &points);
    if (strcmp(state, "version") == 0 || strcmp(state, "damaged") == 0)
        return why != NULL && strstr(why, state) != NULL && points == 42;
    int64_t expected = strtoll(state, NULL, 10);
    uint8_t written[SAVED_MAX];
    size_t written_len = saved_write(written, expected);
    return why == NULL && points == expected && written_len == len &&
           memcmp(written, bytes, len) == 0;
}

int main(void) {
    char line[256];
    int tried = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        char state[32], digits[64] = "";
        if (line[0] == '#' || sscanf(line, "%31s %63s", state, digits) < 1)
            continue;
        uint8_t bytes[32];
        size_t len = 0;
        for (; digits[2 * len] != '\0'; len++)
            sscanf(digits + 2 * len, "%2" SCNx8, &bytes[len]);
        if (!holds(state, bytes, len)) {
            fprintf(stderr, "not as agreed: %s", line);
            return EXIT_FAILURE;
        }
        tried++;
    }
    return tried > 10 ? EXIT_SUCCESS : EXIT_FAILURE;
}
