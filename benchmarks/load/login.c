/* The login of each system: in each step something may be said, and something has to come. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load.h"

/* Users that connect and log in at the same time. Those who wait to be accepted are fewer than the 511 of the kernel's
 * queues for socket.io and Redis: who finds one full tries again a second later, and the figure would be of that. */
#define AT_ONCE 200
#define SETUP_SECONDS 60.0 /* for all of them */

static const char *letter(const struct conn *c) { return c->sender ? "s" : "r"; }

static void ask_for_websocket(struct conn *c, const char *path, const char *header) {
    say_line(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, header);
}

static const char *step_relay(struct conn *c) {
    if (driver == TEXT) {
        if (c->step == 0) return say_line(c, "%s%s%d\n", tag, letter(c), c->number), "OK\n";
    } else if (driver == WS && c->step == 0) {
        ask_for_websocket(c, "/ws", "Sec-WebSocket-Protocol: pair-relay.1\r\n");
        return "pair-relay.1";
    } else if (c->step == (driver == WS)) {
        say_line(c, "{\"type\":\"hello\",\"v\":1,\"name\":\"%s%s%d\"%s}\n", tag, letter(c), c->number,
                 driver == ACKS ? ",\"acks\":true" : "");
        return "\"welcome\"";
    }
    return NULL;
}

static const char *step_sio(struct conn *c) {
    switch (c->step) {
    case 0:
        ask_for_websocket(c, "/socket.io/?EIO=4&transport=websocket", "");
        return "pingInterval";
    case 1: return say_line(c, "40"), "40{";
    case 2: return say_line(c, "42[\"name\",\"%s%s%d\"]", tag, letter(c), c->number), "42[\"ok\"";
    }
    return NULL;
}

/* PLAIN of SASL, in base64: any password will do. */
static const char *proof(const struct conn *c) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static char out[128];
    unsigned char in[80] = {0};
    int size = 1 + sprintf((char *)in + 1, "%s%s%d", tag, letter(c), c->number), at = 0;
    in[++size] = 'p', size++; /* a zero, the name, a zero, the password */
    while (size % 3) in[size++] = ' '; /* so that nothing is to be filled up */
    for (int k = 0; k < size; k += 3) {
        int three = in[k] << 16 | in[k + 1] << 8 | in[k + 2];
        for (int shift = 18; shift >= 0; shift -= 6) out[at++] = digits[three >> shift & 63];
    }
    out[at] = 0;
    return out;
}

static const char *step_xmpp(struct conn *c) {
    switch (c->step) {
    case 0: case 2:
        say_line(c, "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
                    "xmlns:stream='http://etherx.jabber.org/streams'>");
        return "</stream:features>";
    case 1:
        say_line(c, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s</auth>", proof(c));
        return "<success";
    case 3:
        say_line(c, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>x</resource>"
                    "</bind></iq>");
        return "</iq>";
    case 4: return say_line(c, "<presence/>"), "<presence";
    }
    return NULL;
}

static const char *step_nats(struct conn *c) {
    char body[512];
    switch (c->step) {
    case 0: return "INFO";
    case 1:
        say_line(c, "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":false}\r\nPING\r\n");
        return "PONG";
    case 2:
        if (driver == NATS && c->sender) return NULL;
        say_line(c, "SUB %s%s%d 1\r\nPING\r\n", tag, driver == NATS ? "r" : c->sender ? "s" : "d", c->number);
        return "PONG";
    case 3:
        if (driver == NATS || c->sender) return NULL;
        int size = snprintf(body, sizeof body,
            "{\"stream_name\":\"bench\",\"config\":{\"deliver_subject\":\"%sd%d\",\"filter_subject\":\"bench.%sr%d\","
            "\"ack_policy\":\"all\",\"deliver_policy\":\"new\",\"max_ack_pending\":4096,\"mem_storage\":true,"
            "\"num_replicas\":1}}", tag, c->number, tag, c->number);
        say_line(c, "SUB %si%d 2\r\nPUB $JS.API.CONSUMER.CREATE.bench %si%d %d\r\n%s\r\n", tag, c->number, tag,
                 c->number, size, body);
        return "\"stream_name\"";
    }
    return NULL;
}

static const char *step_redis(struct conn *c) {
    if (c->step || c->sender) return NULL;
    return say_line(c, "SUBSCRIBE %sr%d\r\n", tag, c->number), ":1\r\n";
}

static const char *step_pair(struct conn *c) { /* once all are logged in */
    if (c->step) return NULL;
    if (driver == JSON || driver == ACKS || driver == WS) {
        if (c->sender) say_line(c, "{\"type\":\"to\",\"name\":\"%sr%d\"}\n", tag, c->number);
        return "\"paired\"";
    }
    if (driver == TEXT) {
        if (c->sender) say_line(c, "To:%sr%d\n", tag, c->number);
        return "chatting with";
    }
    return NULL;
}

static const char *step_login(struct conn *c) {
    switch (driver) {
    case JSON: case ACKS: case WS: case TEXT: return step_relay(c);
    case SIO: return step_sio(c);
    case XMPP: return step_xmpp(c);
    case NATS: case JETSTREAM: return step_nats(c);
    case REDIS: return step_redis(c);
    }
    return NULL;
}

static int refused(const char *data) {
    switch (driver) {
    case NATS: case JETSTREAM: case REDIS:
        if (strstr(data, "-ERR")) return 1;
        break;
    case XMPP: return strstr(data, "<failure") || strstr(data, "<stream:error") || strstr(data, "type='error'");
    case WS: case SIO:
        if (!strncmp(data, "HTTP/1.1 ", 9) && strncmp(data + 9, "101", 3)) return 1;
        break;
    default: break;
    }
    return strstr(data, "\"error\"") != NULL;
}

static int advance(struct conn *c, const char *expected[], const char *(*step)(struct conn *)) {
    c->step++;
    c->carried = 0;
    return (expected[c - conns] = step(c)) == NULL;
}

static double run_steps(const char *(*step)(struct conn *)) {
    int total = 2 * pairs, begun = 0, ended = 0, again = 0;
    const char **expected = calloc(total, sizeof *expected);
    int64_t began = now();
    struct epoll_event events[256];
    for (int i = 0; i < total; i++) conns[i].step = 0, conns[i].done = 0;
    while (ended < total) {
        while (begun < total && begun - ended < AT_ONCE) { /* both ends of a pair */
            for (struct conn *c = &conns[begun]; c < &conns[begun + 2]; c++) {
                if (c->fd < 0) open_connection(c);
                if (!(expected[c - conns] = step(c))
                    || (c->carried && strstr(c->carry, expected[c - conns]) && advance(c, expected, step)))
                    c->done = 1, ended++; /* a server may have spoken first */
            }
            begun += 2;
        }
        if (now() - began > SETUP_SECONDS * 1e9) die("%s: %d of %d users are there after %.0f s", NAMES[driver], ended,
                                                     total, SETUP_SECONDS);
        int count = epoll_wait(poller, events, 256, 100);
        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;
            int size;
            if (events[i].events & EPOLLOUT) flush_queue(c);
            char *data = events[i].events & (EPOLLIN | EPOLLHUP) ? take(c, &size) : NULL;
            if (!data) continue;
            for (int k = 0; k < size; k++) if (!data[k]) data[k] = 1;
            if (!c->done && strstr(data, "Not possible right now, try again")) {
                if (++again > total) die("%s: %s", NAMES[driver], data);
                step(c);
                continue;
            }
            if (refused(data)) die("%s: %s", NAMES[driver], data);
            if (c->done) continue;
            if (!expected[c - conns] || !strstr(data, expected[c - conns])) keep(c, data, size);
            else while (!c->done && advance(c, expected, step)) c->done = 1, ended++;
        }
    }
    free(expected);
    return (now() - began) / 1e9;
}

double log_in(void) {
    double took = run_steps(step_login) + run_steps(step_pair);
    for (int i = 0; i < 2 * pairs; i++) conns[i].carried = 0;
    return took;
}
