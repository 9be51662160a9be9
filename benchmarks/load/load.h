/* What the parts of the load generator know of each other; main.c says what it does. */
#include <stdint.h>

enum driver { JSON, ACKS, WS, TEXT, SIO, XMPP, NATS, JETSTREAM, REDIS };

#define OPCODE_TEXT 1 /* of a websocket's frame */
#define OPCODE_PING 9
#define OPCODE_PONG 10

#define IN 65536 /* bytes of one read, and of what may be carried over */

struct conn {
    int fd, number, sender;  /* -1 before it is connected; number of its pair */
    int step, done;          /* of its login */
    int carried, queued;
    long said;               /* the id of its latest message */
    char *carry;             /* the part of a unit that a read ended in */
    char *queue;             /* what the kernel did not take yet */
    char ack[160];           /* what the next acknowledgement says */
};

/* main.c: the run, as it was asked for */
extern enum driver driver;
extern const char *const NAMES[];
extern int pairs, poller;
extern struct conn *conns; /* sender i is 2i, its receiver 2i + 1 */
extern char tag[16];       /* what all names begin with */
int64_t now(void);
void die(const char *format, ...);
void open_connection(struct conn *c); /* to its place, and have the poller look at it */

/* wire.c */
void put(struct conn *c, const char *data, int size);
void flush_queue(struct conn *c);
int framed(void); /* whether the driver speaks in a websocket's frames */
int frame(char *out, int opcode, const char *payload, int size);
void say_line(struct conn *c, const char *format, ...);
char *take(struct conn *c, int *size);
void keep(struct conn *c, const char *data, int size);

/* login.c */
double log_in(void); /* connect everybody, log them in and pair them; the seconds that it took */

/* messages.c */
extern long sent, received, measured;
extern int measuring, pushing; /* whether what arrives counts, and whether each is answered with the next */
void say(int i, int count, int64_t stamp);
void on_read(struct conn *c);

/* histogram.c */
void record(int64_t ns);
double percentile(double share);
