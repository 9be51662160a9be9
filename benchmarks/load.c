/* One load generator for every system of the comparison: one process, one epoll, little CPU a message.
 *
 *   load DRIVER PAIRS IN_FLIGHT SECONDS RATE PORT...
 *
 * Sender i is on port i of the list (counting round), its receiver on another one where there are several. With RATE 0
 * each sender keeps IN_FLIGHT messages under way: the next is said when its partner got one. Otherwise RATE messages a
 * second are spread over all senders, IN_FLIGHT ignored. Texts are of 60 bytes and begin with the time they were
 * said at.
 *
 * Whoever is told to try again does. It connects everybody, prints `ready USERS SECONDS`, waits for a line on stdin, loads, prints `measuring RECEIVED`
 * after WARM_UP seconds of that, and one line of JSON at the end. An end of stdin ends it instead.
 *
 * DRIVER   json, acks (users acknowledge, once for each read), text: the relay's dialects
 *          sio: socket.io's protocol over a websocket, users join a room of their own name
 *          nats, jetstream (published with a reply, delivered by a push consumer, acknowledged once for each read)
 *          redis: PUBLISH and SUBSCRIBE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum driver { JSON, ACKS, TEXT, SIO, NATS, JETSTREAM, REDIS };
static const char *const NAMES[] = {"json", "acks", "text", "sio", "nats", "jetstream", "redis"};

#define WARM_UP 0.7         /* seconds of load before anything is measured */
#define DRAIN 1.0           /* seconds after it for what is under way */
#define AT_ONCE 200         /* users that log in at the same time */
#define SETUP_SECONDS 60.0  /* for all of them */
#define TEXT_BYTES 60
#define STAMP_DIGITS 16
#define IN 65536            /* bytes of one read, and of what may be carried over */
#define SUB_BITS 6          /* of a bucket of the histogram: 1.6 % */

struct conn {
    int fd, number, sender;  /* number of its pair */
    int step, done;          /* of its login */
    int carried, queued;
    char *carry;             /* the part of a unit that a read ended in */
    char *queue;             /* what the kernel did not take yet */
    char ack[160];           /* what the next acknowledgement says */
};

static enum driver driver;
static int pairs, in_flight, ports[64], port_count, epoll;
static double seconds, rate;
static struct conn *conns; /* sender i is 2i, its receiver 2i + 1 */
static long *ids, *outstanding;
static long sent, received, measured, histogram[64 << SUB_BITS];
static int measuring, pushing;
static char tag[16];

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

/* ---- histogram */

static void record(int64_t ns) {
    uint64_t v = ns < 1 ? 1 : ns;
    int top = 63 - __builtin_clzll(v), shift = top > SUB_BITS ? top - SUB_BITS : 0;
    histogram[(shift << SUB_BITS) + (v >> shift)]++;
}

static double percentile(double share) {
    long total = 0, seen = 0;
    for (int i = 0; i < 64 << SUB_BITS; i++) total += histogram[i];
    for (int i = 0; i < 64 << SUB_BITS; i++)
        if ((seen += histogram[i]) > 0 && seen >= total * share) {
            int shift = i >> SUB_BITS;
            if (shift) shift--; /* values of 2^SUB_BITS to 2^(SUB_BITS+1) stand unshifted too */
            return (double)((uint64_t)(i - (shift << SUB_BITS)) << shift) / 1e6;
        }
    return 0;
}

/* ---- output: never blocking, what the kernel doesn't take waits */

static void want(struct conn *c) {
    struct epoll_event e = {EPOLLIN | (c->queued ? EPOLLOUT : 0), {.ptr = c}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &e);
}

static void put(struct conn *c, const char *data, int size) {
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

static void flush_queue(struct conn *c) {
    ssize_t taken = write(c->fd, c->queue, c->queued);
    if (taken < 0 && errno != EAGAIN) die("write: %s", strerror(errno));
    if (taken > 0) memmove(c->queue, c->queue + taken, c->queued -= taken);
    if (!c->queued) want(c);
}

static int frame(char *out, const char *payload, int size) { /* of a websocket, masked with 0 */
    int head = 2;
    out[0] = (char)0x81;
    if (size < 126) out[1] = (char)(0x80 | size);
    else out[1] = (char)(0x80 | 126), out[2] = (char)(size >> 8), out[3] = (char)size, head = 4;
    memset(out + head, 0, 4);
    memcpy(out + head + 4, payload, size);
    return head + 4 + size;
}

static void say_line(struct conn *c, const char *format, ...) {
    char line[1024], framed[1100];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    if (driver == SIO && strncmp(line, "GET ", 4)) put(c, framed, frame(framed, line, size));
    else put(c, line, size);
}

/* ---- login: in each step something may be said, and something has to come */

static const char *letter(const struct conn *c) { return c->sender ? "s" : "r"; }

static const char *step_relay(struct conn *c) {
    if (driver == TEXT) {
        if (c->step == 0) return say_line(c, "%s%s%d\n", tag, letter(c), c->number), "OK\n";
    } else if (c->step == 0) {
        say_line(c, "{\"type\":\"hello\",\"v\":1,\"name\":\"%s%s%d\"%s}\n", tag, letter(c), c->number,
                 driver == ACKS ? ",\"acks\":true" : "");
        return "\"welcome\"";
    }
    return NULL;
}

static const char *step_sio(struct conn *c) {
    switch (c->step) {
    case 0:
        say_line(c, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                    "Sec-WebSocket-Version: 13\r\n\r\n");
        return "pingInterval";
    case 1: return say_line(c, "40"), "40{";
    case 2: return say_line(c, "42[\"name\",\"%s%s%d\"]", tag, letter(c), c->number), "42[\"ok\"";
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
    if (driver == JSON || driver == ACKS) {
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
    case JSON: case ACKS: case TEXT: return step_relay(c);
    case SIO: return step_sio(c);
    case NATS: case JETSTREAM: return step_nats(c);
    case REDIS: return step_redis(c);
    }
    return NULL;
}

/* Read what came behind what was carried. Returns all of it, zero-ended (a zero inside becomes a 1). */
static char *take(struct conn *c, int *size) {
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

static void keep(struct conn *c, const char *data, int size) {
    if (size > IN) die("a unit of more than %d bytes", IN);
    c->carry = realloc(c->carry, size + 1);
    memcpy(c->carry, data, c->carried = size);
    c->carry[size] = 0;
}

static int advance(struct conn *c, const char *expected[], const char *(*step)(struct conn *)) {
    c->step++;
    c->carried = 0;
    return (expected[c - conns] = step(c)) == NULL;
}

static void run_steps(const char *(*step)(struct conn *), double *took) {
    int total = 2 * pairs, begun = 0, ended = 0, again = 0;
    const char **expected = calloc(total, sizeof *expected);
    int64_t began = now();
    struct epoll_event events[256];
    for (int i = 0; i < total; i++) conns[i].step = 0, conns[i].done = 0;
    while (ended < total) {
        while (begun < total && begun - ended < AT_ONCE) { /* both ends of a pair */
            for (struct conn *c = &conns[begun]; c < &conns[begun + 2]; c++)
                if (!(expected[c - conns] = step(c))
                    || (c->carried && strstr(c->carry, expected[c - conns]) && advance(c, expected, step)))
                    c->done = 1, ended++; /* a server may have spoken first */
            begun += 2;
        }
        if (now() - began > SETUP_SECONDS * 1e9) die("%s: %d of %d users are there after %.0f s", NAMES[driver], ended,
                                                     total, SETUP_SECONDS);
        int count = epoll_wait(epoll, events, 256, 100);
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
            if (strstr(data, "\"error\"") || (driver >= NATS && strstr(data, "-ERR"))) die("%s: %s", NAMES[driver], data);
            if (c->done) continue;
            if (!expected[c - conns] || !strstr(data, expected[c - conns])) keep(c, data, size);
            else while (!c->done && advance(c, expected, step)) c->done = 1, ended++;
        }
    }
    free(expected);
    if (took) *took += (now() - began) / 1e9;
}

/* ---- messages */

static int message(char *out, int i, int64_t stamp) {
    static const char filler[] = " hello there, how are you doing today...........";
    char text[TEXT_BYTES + 1], payload[256];
    snprintf(text, sizeof text, "@%0*lld%.*s", STAMP_DIGITS, (long long)stamp, TEXT_BYTES - 1 - STAMP_DIGITS, filler);
    int size;
    switch (driver) {
    case JSON: case ACKS: return sprintf(out, "{\"type\":\"msg\",\"id\":%ld,\"text\":\"%s\"}\n", ++ids[i], text);
    case TEXT: return sprintf(out, "%s\n", text);
    case SIO:
        size = sprintf(payload, "42[\"msg\",{\"to\":\"%sr%d\",\"id\":%ld,\"text\":\"%s\"}]", tag, i, ++ids[i], text);
        return frame(out, payload, size);
    case NATS: return sprintf(out, "PUB %sr%d %d\r\n%s\r\n", tag, i, TEXT_BYTES, text);
    case JETSTREAM: return sprintf(out, "PUB bench.%sr%d %ss%d %d\r\n%s\r\n", tag, i, tag, i, TEXT_BYTES, text);
    case REDIS:
        size = sprintf(payload, "%sr%d", tag, i);
        return sprintf(out, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", size, payload, TEXT_BYTES, text);
    }
    return 0;
}

static void say(int i, int count, int64_t stamp) {
    static char out[1 << 17];
    int size = 0;
    for (int k = 0; k < count; k++) {
        size += message(out + size, i, stamp);
        if (size > (int)sizeof out - 1024 || k == count - 1) put(&conns[2 * i], out, size), size = 0;
    }
    sent += count;
    outstanding[i] += count;
}

/* The length of the first unit (a line, or a websocket's frame), where it begins, or 0: there is no whole one. */
static int unit(const char *data, int size, int *begin) {
    const char *end;
    *begin = 0;
    if (driver != SIO) return (end = memchr(data, '\n', size)) ? (int)(end - data) + 1 : 0;
    if (size < 4) return 0;
    int length = data[1] & 127, head = 2;
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

static int hear(struct conn *c, const char *data, int size, int64_t at) {
    int count = 0, begin, length;
    while ((length = unit(data, size, &begin))) {
        const char *stamp = memchr(data + begin, '@', length - begin);
        if (driver == SIO && data[begin] == '2' && length == begin + 1) say_line(c, "3"); /* a ping */
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

static void on_read(struct conn *c) {
    int size, i = c->number;
    char *data = take(c, &size);
    if (!data) return;
    int64_t at = now();
    if (c->sender) { /* acknowledgements: what a client has to read */
        if (driver == SIO) hear(c, data, size, at);
        else if (memmem(data, size, "\"error\"", 7) || memmem(data, size, "-ERR", 4)) die("%s: %.*s", NAMES[driver],
                                                                                       size, data);
        return;
    }
    int count = hear(c, data, size, at);
    if (!count) return;
    if ((driver == ACKS || driver == JETSTREAM) && *c->ack) put(c, c->ack, strlen(c->ack));
    received += count;
    outstanding[i] -= count;
    if (measuring) measured += count;
    if (pushing) say(i, count, at);
}

static void poll_once(int milliseconds) {
    struct epoll_event events[512];
    int count = epoll_wait(epoll, events, 512, milliseconds);
    for (int k = 0; k < count; k++) {
        if (events[k].events & EPOLLOUT) flush_queue(events[k].data.ptr);
        if (events[k].events & (EPOLLIN | EPOLLHUP)) on_read(events[k].data.ptr);
    }
}

static double cpu(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void load(void) {
    int64_t began = now(), from = began + WARM_UP * 1e9, end = from + seconds * 1e9, at;
    double used = 0;
    long turn = 0;
    pushing = rate <= 0;
    if (pushing) for (int i = 0; i < pairs; i++) say(i, in_flight, now());
    while ((at = now()) < end) {
        if (!measuring && at >= from) {
            measuring = 1, from = at, used = cpu();
            printf("measuring %ld\n", received);
            fflush(stdout);
        }
        if (rate > 0) {
            long due = (at - began) / 1e9 * rate;
            for (; turn < due; turn++) say(turn % pairs, 1, at);
        }
        poll_once(rate > 0 ? 1 : 50);
    }
    double elapsed = (at - from) / 1e9;
    used = cpu() - used;
    measuring = pushing = 0;
    while (received < sent && now() < end + DRAIN * 1e9) poll_once(20);
    printf("{\"sent\": %ld, \"received\": %ld, \"rate\": %.1f, \"p50\": %.4f, \"p90\": %.4f, \"p99\": %.4f, "
           "\"p999\": %.4f, \"own_busy\": %.3f, \"took\": %.3f}\n",
           sent, received, measured / elapsed, percentile(.5), percentile(.9), percentile(.99), percentile(.999),
           used / elapsed, (now() - began) / 1e9);
    fflush(stdout);
}

static int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) die("port %d: %s", port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void connect_all(void) {
    for (int i = 0; i < 2 * pairs; i++) {
        struct conn *c = &conns[i];
        int number = i / 2, hop = port_count > 1 ? 1 + number / port_count % (port_count - 1) : 0;
        c->number = number, c->sender = i % 2 == 0;
        c->fd = dial(ports[(number + (c->sender ? 0 : hop)) % port_count]);
        struct epoll_event e = {EPOLLIN, {.ptr = c}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
    }
}

int main(int count, char **words) {
    char line[16];
    if (count < 7) die("usage: load DRIVER PAIRS IN_FLIGHT SECONDS RATE PORT...");
    while (driver <= REDIS && strcmp(words[1], NAMES[driver])) driver++;
    if (driver > REDIS) die("no driver %s", words[1]);
    pairs = atoi(words[2]), in_flight = atoi(words[3]), seconds = atof(words[4]), rate = atof(words[5]);
    for (int i = 6; i < count && port_count < 64; i++) ports[port_count++] = atoi(words[i]);
    snprintf(tag, sizeof tag, "u%x", getpid()); /* two runs on one cluster don't meet */
    conns = calloc(2 * pairs, sizeof *conns), ids = calloc(pairs, sizeof *ids);
    outstanding = calloc(pairs, sizeof *outstanding);
    epoll = epoll_create1(0);
    double took = 0;
    int64_t began = now();
    connect_all();
    took = (now() - began) / 1e9;
    run_steps(step_login, &took);
    run_steps(step_pair, &took);
    for (int i = 0; i < 2 * pairs; i++) conns[i].carried = 0;
    printf("ready %d %.3f\n", 2 * pairs, took);
    fflush(stdout);
    while (1) { /* a websocket's pings are answered while nothing is said */
        fd_set set;
        struct timeval wait = {0, 20000};
        FD_ZERO(&set);
        FD_SET(0, &set);
        if (select(1, &set, NULL, NULL, &wait) > 0) break;
        poll_once(0);
    }
    if (fgets(line, sizeof line, stdin)) load();
    return 0;
}
