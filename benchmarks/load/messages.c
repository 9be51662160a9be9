/* The messages of each system, and what a client makes of what it reads. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define TEXT_BYTES 60
#define STAMP_DIGITS 16
#define RELAYED "{\"type\":\"msg\",\"id\":%ld,\"text\":\"%s\"}"

long sent, received, measured;
int measuring, pushing;

static int message(char *out, int i, int64_t stamp) {
    static const char filler[] = " hello there, how are you doing today...........";
    char text[TEXT_BYTES + 1], payload[256];
    snprintf(text, sizeof text, "@%0*lld%.*s", STAMP_DIGITS, (long long)stamp, TEXT_BYTES - 1 - STAMP_DIGITS, filler);
    int size;
    switch (driver) {
    case JSON: case ACKS: return sprintf(out, RELAYED "\n", ++conns[2 * i].said, text);
    case WS: return frame(out, OPCODE_TEXT, payload, sprintf(payload, RELAYED, ++conns[2 * i].said, text));
    case TEXT: return sprintf(out, "%s\n", text);
    case SIO:
        size = sprintf(payload, "42[\"msg\",{\"to\":\"%sr%d\",\"id\":%ld,\"text\":\"%s\"}]", tag, i, ++conns[2 * i].said, text);
        return frame(out, OPCODE_TEXT, payload, size);
    case XMPP:
        return sprintf(out, "<message to='%sr%d@localhost/x' type='chat' id='%ld'><body>%s</body></message>", tag, i,
                       ++conns[2 * i].said, text);
    case NATS: return sprintf(out, "PUB %sr%d %d\r\n%s\r\n", tag, i, TEXT_BYTES, text);
    case JETSTREAM: return sprintf(out, "PUB bench.%sr%d %ss%d %d\r\n%s\r\n", tag, i, tag, i, TEXT_BYTES, text);
    case REDIS:
        size = sprintf(payload, "%sr%d", tag, i);
        return sprintf(out, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", size, payload, TEXT_BYTES, text);
    }
    return 0;
}

void say(int i, int count, int64_t stamp) {
    static char out[1 << 17];
    int size = 0;
    for (int k = 0; k < count; k++) {
        size += message(out + size, i, stamp);
        if (size > (int)sizeof out - 1024 || k == count - 1) put(&conns[2 * i], out, size), size = 0;
    }
    sent += count;
}

/* The length of the first unit (a line, what ends with a tag of XML, or a websocket's frame), where it begins, or 0:
 * there is no whole one. */
static int unit(const char *data, int size, int *begin) {
    const char *end;
    *begin = 0;
    if (!framed()) return (end = memchr(data, driver == XMPP ? '>' : '\n', size)) ? (int)(end - data) + 1 : 0;
    if (size < 2 || (size < 4 && (data[1] & 127) == 126)) return 0;
    int length = data[1] & 127, head = 2;
    if (length == 127) die("%s: a frame of more than 65535 bytes", NAMES[driver]);
    if (length == 126) length = (uint8_t)data[2] << 8 | (uint8_t)data[3], head = 4;
    *begin = head;
    return size < head + length ? 0 : head + length;
}

/* What is to be acknowledged, of a unit. */
static void note_ack(struct conn *c, const char *data, int size) {
    if (driver == ACKS) {
        const char *id = memmem(data, size, "\"id\":", 5);
        if (id) snprintf(c->ack, sizeof c->ack, "{\"type\":\"ack\",\"id\":%ld}\n", atol(id + 5));
    } else if (driver == JETSTREAM) {
        const char *reply = memmem(data, size, "$JS.ACK.", 8), *end = reply ? memchr(reply, ' ', data + size - reply) : 0;
        if (end) snprintf(c->ack, sizeof c->ack, "PUB %.*s 0\r\n\r\n", (int)(end - reply), reply);
    }
}

static void answer_ping(struct conn *c, const char *payload, int size) {
    char pong[256];
    put(c, pong, frame(pong, OPCODE_PONG, payload, size & 127));
}

static int hear(struct conn *c, const char *data, int size, int64_t at) {
    int count = 0, begin, length;
    while ((length = unit(data, size, &begin))) {
        const char *stamp = memchr(data + begin, '@', length - begin);
        if (driver == XMPP && stamp != data) stamp = NULL; /* that of an address: a text stands between two tags */
        if (driver == SIO && data[begin] == '2' && length == begin + 1) say_line(c, "3"); /* a ping */
        if (framed() && (data[0] & 15) == OPCODE_PING) answer_ping(c, data + begin, length - begin);
        if (driver == JETSTREAM ? !stamp : stamp != NULL) note_ack(c, data, length);
        if (stamp && length - (stamp - data) > STAMP_DIGITS) {
            int64_t then = 0;
            for (int k = 1; k <= STAMP_DIGITS; k++) then = then * 10 + stamp[k] - '0';
            if (measuring) record(at - then);
            count++;
        }
        data += length, size -= length;
    }
    keep(c, data, size);
    return count;
}

static int says_error(const char *data, int size) {
    return memmem(data, size, "\"error\"", 7) || memmem(data, size, "-ERR", 4)
           || (driver == XMPP && (memmem(data, size, "type='error'", 12) || memmem(data, size, "<stream:error", 13)));
}

void on_read(struct conn *c) {
    int size, i = c->number;
    char *data = take(c, &size);
    if (!data) return;
    int64_t at = now();
    if (c->sender) { /* acknowledgements: what a client has to read */
        if (driver != SIO && says_error(data, size)) die("%s: %.*s", NAMES[driver], size, data);
        if (framed()) hear(c, data, size, at);
        return;
    }
    int count = hear(c, data, size, at);
    if (!count) return;
    if ((driver == ACKS || driver == JETSTREAM) && *c->ack) put(c, c->ack, strlen(c->ack));
    received += count;
    if (measuring) measured += count;
    if (pushing) say(i, count, at);
}
