/* One load generator for every system of the comparison: one process, one epoll, little CPU a message.
 *
 *   load DRIVER PLACES PAIRS IN_FLIGHT SECONDS RATE PORT...
 *
 * Sender i is on port i of the list (counting round). PLACES `apart`: its receiver is on another one where there are
 * several; `together`: on the same. With RATE 0 each sender keeps IN_FLIGHT messages under way: the next is said when
 * its partner got one. Otherwise RATE messages a second are spread over all senders, IN_FLIGHT ignored. Texts are of 60
 * bytes and begin with the time they were said at.
 *
 * It connects everybody (who is told to try again does), prints `ready USERS SECONDS`, waits for a line on stdin,
 * loads, prints `measuring RECEIVED` after WARM_UP seconds of that, and one line of JSON at the end. An end of stdin
 * ends it instead.
 *
 * DRIVER   json, acks (users acknowledge, once for each read), text: the relay's dialects
 *          ws: its JSON over a websocket
 *          sio: socket.io's protocol over a websocket, users join a room of their own name
 *          xmpp: RFC 6120 over TCP, to the full address of a user who is present
 *          nats, jetstream (published with a reply, delivered by a push consumer, acknowledged once for each read)
 *          redis: PUBLISH and SUBSCRIBE
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define WARM_UP 0.7 /* seconds of load before anything is measured */
#define DRAIN 1.0   /* seconds after it for what is under way */

const char *const NAMES[] = {"json", "acks", "ws", "text", "sio", "xmpp", "nats", "jetstream", "redis"};
enum driver driver;
int pairs, poller;
struct conn *conns;
char tag[16];
static int in_flight, apart, ports[64], port_count;
static double seconds, rate;

int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static void poll_once(int milliseconds) {
    struct epoll_event events[512];
    int count = epoll_wait(poller, events, 512, milliseconds);
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

static int place(const struct conn *c) {
    int hop = apart && port_count > 1 ? 1 + c->number / port_count % (port_count - 1) : 0;
    return ports[(c->number + (c->sender ? 0 : hop)) % port_count];
}

void open_connection(struct conn *c) {
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    c->fd = dial(place(c));
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

int main(int count, char **words) {
    char line[16];
    if (count < 8) die("usage: load DRIVER PLACES PAIRS IN_FLIGHT SECONDS RATE PORT...");
    while (driver <= REDIS && strcmp(words[1], NAMES[driver])) driver++;
    if (driver > REDIS) die("no driver %s", words[1]);
    apart = !strcmp(words[2], "apart");
    if (!apart && strcmp(words[2], "together")) die("partners are apart or together, not %s", words[2]);
    pairs = atoi(words[3]), in_flight = atoi(words[4]), seconds = atof(words[5]), rate = atof(words[6]);
    for (int i = 7; i < count && port_count < 64; i++) ports[port_count++] = atoi(words[i]);
    snprintf(tag, sizeof tag, "u%x", getpid()); /* two runs on one cluster don't meet */
    conns = calloc(2 * pairs, sizeof *conns);
    for (int i = 0; i < 2 * pairs; i++) conns[i].fd = -1, conns[i].number = i / 2, conns[i].sender = i % 2 == 0;
    poller = epoll_create1(0);
    double took = log_in();
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
