/* Bytes to and from a server, never blocking: what the kernel doesn't take waits. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

static void want(struct conn *c) {
    struct epoll_event e = {EPOLLIN | (c->queued ? EPOLLOUT : 0), {.ptr = c}};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

void put(struct conn *c, const char *data, int size) {
    ssize_t taken = c->queued ? 0 : write(c->fd, data, size);
    if (taken < 0) {
        if (errno != EAGAIN) die("write: %s", strerror(errno));
        taken = 0;
    }
    if (taken == size) return;
    c->queue = realloc(c->queue, c->queued + size - taken);
    memcpy(c->queue + c->queued, data + taken, size - taken);
    c->queued += size - taken;
    want(c);
}

void flush_queue(struct conn *c) {
    ssize_t taken = write(c->fd, c->queue, c->queued);
    if (taken < 0 && errno != EAGAIN) die("write: %s", strerror(errno));
    if (taken > 0) memmove(c->queue, c->queue + taken, c->queued -= taken);
    if (!c->queued) want(c);
}

int framed(void) { return driver == WS || driver == SIO; }

/* A websocket's frame. A key of 0 would be cheaper for servers that look out for it, and no browser uses one. */
int frame(char *out, int opcode, const char *payload, int size) {
    static uint32_t key = 2463534242;
    int head = 2;
    key ^= key << 13, key ^= key >> 17, key ^= key << 5; /* xorshift: the next one, and never 0 */
    out[0] = (char)(0x80 | opcode);
    if (size < 126) out[1] = (char)(0x80 | size);
    else out[1] = (char)(0x80 | 126), out[2] = (char)(size >> 8), out[3] = (char)size, head = 4;
    memcpy(out + head, &key, 4);
    for (int k = 0; k < size; k++) out[head + 4 + k] = payload[k] ^ out[head + k % 4];
    return head + 4 + size;
}

void say_line(struct conn *c, const char *format, ...) {
    char line[1024], whole[1100];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    if (framed() && strncmp(line, "GET ", 4)) {
        if (line[size - 1] == '\n') size--; /* a frame needs no end of a line */
        put(c, whole, frame(whole, OPCODE_TEXT, line, size));
    }
    else put(c, line, size);
}

/* Read what came behind what was carried. Returns all of it, zero-ended (a zero inside becomes a 1). */
char *take(struct conn *c, int *size) {
    static char buffer[2 * IN + 1];
    memcpy(buffer, c->carry, c->carried);
    ssize_t got = read(c->fd, buffer + c->carried, IN);
    if (got == 0) die("%s %d of %s: the server closed the connection", c->sender ? "sender" : "receiver", c->number,
                      NAMES[driver]);
    if (got < 0) {
        if (errno == EAGAIN) return NULL;
        die("read: %s", strerror(errno));
    }
    *size = c->carried + got;
    buffer[*size] = 0;
    c->carried = 0;
    return buffer;
}

void keep(struct conn *c, const char *data, int size) {
    if (size > IN) die("a unit of more than %d bytes", IN);
    c->carry = realloc(c->carry, size + 1);
    memcpy(c->carry, data, c->carried = size);
    c->carry[size] = 0;
}
