// The default player in C: points that rewards add to.

#include "player.h"

#include <stdlib.h>
#include <string.h>

#include "saved.h"

// The whole state of this player. It survives because its memory does.
static int64_t points;

// Says why and ends the call. The host drops what the call has changed.
static _Noreturn void refuse(const char *message, size_t len) {
    host_log(LEVEL_ERROR, message, len);
    __builtin_trap();
}

static _Noreturn void refuse_text(const char *text, size_t len) {
    static const char before[] = "not an integer: \"";
    const size_t before_len = sizeof before - 1;
    char *message = malloc(before_len + len + 1);
    if (message == NULL)
        refuse("out of memory", strlen("out of memory"));
    memcpy(message, before, before_len);
    memcpy(message + before_len, text, len);
    message[before_len + len] = '"';
    refuse(message, before_len + len + 1);
}

int64_t player_reward(int32_t term, int64_t value, size_t len) {
    if (term == TERM_TEXT)
        refuse_text((const char *)(uintptr_t)value, len);
    int64_t total;
    if (__builtin_add_overflow(points, value, &total))
        refuse("points overflow", strlen("points overflow"));
    points = total;
    return points;
}

int64_t player_points(void) { return points; }

const struct bytes *player_save(void) {
    static uint8_t state[SAVED_MAX];
    static struct bytes saved = {state, 0};
    saved.len = saved_write(state, points);
    return &saved;
}

const struct result *player_load(uint8_t *state, size_t len) {
    static struct result result;
    const char *why = saved_read(state, len, &points);
    // An empty list has no memory to give back.
    if (len > 0)
        free(state);
    result.is_error = why != NULL;
    if (why != NULL)
        result.error = (struct bytes){(uint8_t *)why, strlen(why)};
    return &result;
}

void *player_realloc(void *old, size_t old_size, size_t align, size_t size) {
    (void)old_size;
    (void)align; // `malloc` aligns for every type that there is.
    // An empty list has no memory, but an address that is aligned.
    if (size == 0)
        return (void *)align;
    void *new = realloc(old, size);
    if (new == NULL)
        refuse("out of memory", strlen("out of memory"));
    return new;
}
