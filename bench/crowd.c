/* A crowd of WebSocket viewers in one process: what they receive, how late, and whether anything newest was lost.
 *
 * crowd HOST PORT COOKIE CLIENTS SLOW DEVICES FIRST_IMEI IN_FLIGHT EXTENSIONS TOPIC...
 *
 * Client number i follows topic number i modulo the number of topics; the first SLOW clients read 2 kB/s. Devices have
 * the IMEIs from FIRST_IMEI on, DEVICES of them in each topic, one topic's after the other's. At most IN_FLIGHT
 * handshakes are under way at once. EXTENSIONS is sent as Sec-WebSocket-Extensions unless empty; compressed frames are
 * counted but not read. Commands on stdin, one a line, each answered by a line of JSON on stdout:
 *   begin   start counting anew
 *   end     say what was counted since, in JSON; `all_frames` is since the start; it and the latencies are of those who
 *           were never slow
 *   hurry   let the slow clients read as fast as the others from now on
 *   last    say, for each client that follows, its topic and the newest ts of each device
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, LATENCIES = 1 << 16, SLOW_BYTES = 200, SLOW_EVERY_MS = 100,
       SKIPPED = 60 /* of a position: its type and most of its topic */, SHORTEST = 100 /* position */ };
enum state { CLOSED, HANDSHAKE, SUBSCRIBING, FOLLOWING };

struct client {
    int fd, topic, slow;
    enum state state;
    uint64_t skip;     /* bytes of the current frame still to come */
    uint32_t held;     /* bytes in `partial` */
    char *partial;     /* the beginning of a frame whose rest has not come yet */
    int64_t *newest;   /* ts by device of the topic */
};

/* What was found in the bytes read last. Who follows the same topic mostly reads the same bytes: then a comparison of all
 * of them takes the place of finding it again. */
struct reading {
    size_t size, taken; /* bytes read; 0 when they must not be compared with; and those of them that were whole frames */
    char bytes[BUFFER * 2];
    uint32_t frames, compressed, positions;
    struct { int32_t device; int64_t when; } position[BUFFER * 2 / SHORTEST];
};

static struct client *clients;
static struct reading **readings; /* of each topic */
static int count, slow, devices, in_flight, topics, epoll, started, following, refused, lost, backwards;
static long long first_imei;
static const char *cookie, *extensions;
static char **topic;
static struct sockaddr_in address;
static uint64_t all_frames, frames, bytes, compressed, latency[LATENCIES], busy_ns;
static int64_t started_ms, last_subscribed_ms;

static int64_t now_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static int64_t now_ms(void) { return now_ns(CLOCK_REALTIME) / 1000000; }

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void start_one(void) {
    struct client *c = &clients[started++];
    c->topic = (started - 1) % topics;
    c->slow = started <= slow;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int one = 1, small = 4096;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->slow) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
    c->state = HANDSHAKE;
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static void say(struct client *c, const char *data, size_t size) {
    if (write(c->fd, data, size) != (ssize_t)size) die("write");
}

static void greet(struct client *c) {
    char request[8192];
    int size = snprintf(request, sizeof request,
        "GET /ws-live HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: %s\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s%s\r\n",
        cookie, *extensions ? "Sec-WebSocket-Extensions: " : "", extensions, *extensions ? "\r\n" : "");
    say(c, request, size);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void subscribe(struct client *c) {
    char frame[256] = {(char)0x81};
    int size = snprintf(frame + 6, sizeof frame - 6, "{\"type\":\"subscribe\",\"topic\":\"%s\"}", topic[c->topic]);
    frame[1] = (char)(0x80 | size); /* masked with zeros; a topic is short */
    say(c, frame, size + 6);
    c->state = SUBSCRIBING;
}

static void gone(struct client *c) {
    int was_following = c->state == FOLLOWING;
    close(c->fd);
    c->state = CLOSED;
    if (was_following) { lost++; return; }
    refused++;
    if (started < count) start_one();
}

/* Return the number that follows `key`, which is looked for from `*at` on, and leave `*at` behind it; -1 without one.
 * Not memmem and strtoll: at millions of positions a second, this is where the crowd's time goes. */
static int64_t number_after(const char *key, size_t length, const char **at, const char *end) {
    const char *from = *at;
    while (from + length < end && (*from != *key || memcmp(from, key, length))) from++;
    if (from + length >= end) return -1;
    int64_t number = 0;
    for (from += length; from < end && *from >= '0' && *from <= '9'; from++) number = number * 10 + *from - '0';
    *at = from;
    return number;
}

static void find_position(struct reading *found, int first, const char *text, size_t size) {
    const char *at = text + (size > SKIPPED ? SKIPPED : 0), *end = text + size;
    int64_t device = number_after("\"deviceId\":\"", 12, &at, end), when = number_after("\"ts\":", 5, &at, end);
    device -= first_imei + first;
    if (device < 0 || device >= devices || when < 0 || found->positions == BUFFER * 2 / SHORTEST) return;
    found->position[found->positions].device = device;
    found->position[found->positions++].when = when;
}

/* Count what was found in the bytes that this client has read. */
static void count_for(struct client *c, const struct reading *found) {
    int64_t now = now_ms();
    int fast = c - clients >= slow;
    frames += found->frames;
    compressed += found->compressed;
    if (fast) all_frames += found->frames;
    for (uint32_t i = 0; i < found->positions; i++) {
        int64_t when = found->position[i].when, late = now - when, *newest = &c->newest[found->position[i].device];
        if (when <= *newest) backwards++;
        *newest = when;
        if (fast) latency[late < 0 ? 0 : late >= LATENCIES ? LATENCIES - 1 : late]++;
    }
}

/* Return how many bytes of `data` were whole frames, or frames that are too large to be looked at. */
static size_t take_frames(struct client *c, char *data, size_t size) {
    struct reading *found = readings[c->topic];
    if (c->state == FOLLOWING && found->size == size && !memcmp(found->bytes, data, size)) {
        count_for(c, found);
        return found->taken;
    }
    found->frames = found->compressed = found->positions = 0;
    found->size = c->state == FOLLOWING ? size : 0;
    size_t at = 0;
    while (size - at >= 2) {
        unsigned char *head = (unsigned char *)data + at;
        uint64_t length = head[1] & 127;
        size_t start = length == 126 ? 4 : length == 127 ? 10 : 2;
        if (size - at < start) break;
        if (length == 126) length = head[2] << 8 | head[3];
        else if (length == 127) { length = 0; for (int i = 2; i < 10; i++) length = length << 8 | head[i]; }
        int opcode = head[0] & 15;
        if (c->state == SUBSCRIBING && opcode == 1) { /* the snapshot may be large: its beginning says what it is */
            if (size - at < start + 20 && length >= 20) break;
            if (!memmem(data + at + start, 20, "subscribed", 10)) { gone(c); return size; }
            c->state = FOLLOWING;
            following++;
            last_subscribed_ms = now_ms();
            if (c->slow) epoll_ctl(epoll, EPOLL_CTL_DEL, c->fd, NULL); /* read by the clock from now on */
            if (started < count) start_one();
            if (size - at < start + length) { c->skip = start + length - (size - at); return size; }
        } else {
            if (size - at < start + length) break;
            if (opcode == 8) { gone(c); return size; }
            if (opcode == 9) { char pong[6] = {(char)0x8A, (char)0x80}; say(c, pong, 6); found->size = 0; }
            if (opcode == 1) {
                found->frames++;
                if (head[0] & 0x40) found->compressed++;
                else find_position(found, c->topic * devices, data + at + start, length);
            }
        }
        at += start + length;
    }
    found->taken = at;
    if (found->size) memcpy(found->bytes, data, size);
    count_for(c, found);
    return at;
}

static void receive(struct client *c, size_t most) {
    static char buffer[BUFFER * 2];
    memcpy(buffer, c->partial, c->held);
    ssize_t got = read(c->fd, buffer + c->held, most);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) gone(c);
        return;
    }
    bytes += got;
    char *data = buffer;
    size_t size = c->held + got;
    c->held = 0;
    if (c->state == HANDSHAKE) {
        char *end = memmem(data, size, "\r\n\r\n", 4);
        if (end && memcmp(data, "HTTP/1.1 101", 12)) { gone(c); return; }
        if (end) { subscribe(c); size -= end + 4 - data; data = end + 4; }
    }
    if (c->skip) {
        size_t skipped = c->skip < size ? c->skip : size;
        c->skip -= skipped; data += skipped; size -= skipped;
    }
    if (c->state > HANDSHAKE) {
        size_t taken = take_frames(c, data, size);
        data += taken; size -= taken;
    }
    if (c->state != CLOSED && size) {
        if (size > BUFFER) { fprintf(stderr, "a frame of more than %d bytes\n", BUFFER); exit(1); }
        c->partial = realloc(c->partial, BUFFER);
        memcpy(c->partial, data, size);
        c->held = size;
    }
}

static void begin(void) {
    frames = bytes = compressed = busy_ns = 0;
    memset(latency, 0, sizeof latency);
    printf("{}\n");
}

static int64_t percentile(double share) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < LATENCIES; i++) total += latency[i];
    for (int i = 0; i < LATENCIES; i++) if ((seen += latency[i]) >= share * total && seen) return i;
    return 0;
}

static void end(int64_t elapsed_ns) {
    printf("{\"following\":%d,\"refused\":%d,\"lost\":%d,\"backwards\":%d,\"frames\":%llu,\"all_frames\":%llu,\"compressed\":%llu,"
           "\"bytes\":%llu,\"p50_ms\":%lld,\"p99_ms\":%lld,\"p999_ms\":%lld,\"busy\":%.3f,\"seconds\":%.3f,"
           "\"subscribing_ms\":%lld}\n",
        following, refused, lost, backwards, (unsigned long long)frames, (unsigned long long)all_frames,
        (unsigned long long)compressed,
        (unsigned long long)bytes, (long long)percentile(.5), (long long)percentile(.99), (long long)percentile(.999),
        (double)busy_ns / elapsed_ns, elapsed_ns / 1e9, (long long)(last_subscribed_ms - started_ms));
}

static void last(void) {
    printf("[");
    for (int i = 0, some = 0; i < count; i++) {
        if (clients[i].state != FOLLOWING) continue;
        printf("%s[%d", some++ ? "," : "", clients[i].topic);
        for (int d = 0; d < devices; d++) printf(",%lld", (long long)clients[i].newest[d]);
        printf("]");
    }
    printf("]\n");
}

static void hurry(void) {
    for (int i = 0; i < slow; i++) {
        if (clients[i].state != FOLLOWING || !clients[i].slow) continue;
        clients[i].slow = 0;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event);
    }
    printf("{}\n");
}

int main(int argc, char **argv) {
    if (argc < 11) { fprintf(stderr, "see the head of crowd.c\n"); return 2; }
    address.sin_family = AF_INET;
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    address.sin_port = htons(atoi(argv[2]));
    cookie = argv[3]; count = atoi(argv[4]); slow = atoi(argv[5]); devices = atoi(argv[6]);
    first_imei = atoll(argv[7]); in_flight = atoi(argv[8]); extensions = argv[9];
    topic = argv + 10; topics = argc - 10;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc(count, sizeof *clients);
    int64_t *newest = calloc((size_t)count * devices, sizeof *newest);
    for (int i = 0; i < count; i++) clients[i].newest = newest + (size_t)i * devices;
    readings = calloc(topics, sizeof *readings);
    for (int i = 0; i < topics; i++)
        if (!(readings[i] = calloc(1, sizeof **readings))) die("calloc");
    epoll = epoll_create1(0);
    struct epoll_event ready[512], commands = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &commands);
    setvbuf(stdout, NULL, _IOLBF, 0);
    started_ms = now_ms();
    while (started < count && started < in_flight) start_one();
    int told = 0;
    int64_t began = now_ns(CLOCK_MONOTONIC), slow_at = began;
    for (;;) {
        int found = epoll_wait(epoll, ready, 512, slow ? SLOW_EVERY_MS : 1000);
        int64_t woken = now_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < found; i++) {
            struct client *c = ready[i].data.ptr;
            if (!c) {
                char line[64];
                if (!fgets(line, sizeof line, stdin)) return 0;
                if (!strncmp(line, "begin", 5)) { begin(); began = now_ns(CLOCK_MONOTONIC); }
                else if (!strncmp(line, "end", 3)) end(now_ns(CLOCK_MONOTONIC) - began);
                else if (!strncmp(line, "hurry", 5)) hurry();
                else last();
            } else if (c->state == CLOSED) continue;
            else if (c->state == HANDSHAKE && ready[i].events & EPOLLOUT) greet(c);
            else if (!(c->slow && c->state == FOLLOWING)) receive(c, BUFFER);
        }
        if (slow && woken - slow_at > SLOW_EVERY_MS * 1000000LL) {
            slow_at = woken;
            for (int i = 0; i < slow; i++)
                if (clients[i].state == FOLLOWING && clients[i].slow) receive(&clients[i], SLOW_BYTES);
        }
        if (!told && following + refused >= count) { told = 1; printf("{\"following\":%d,\"refused\":%d}\n", following, refused); }
        busy_ns += now_ns(CLOCK_MONOTONIC) - woken;
    }
}
