/* The limit: a server in C that does nothing but batch as ours does, one write per client and 20 ms.
 * Positions come as lines of JSON on stdin. It knows one topic, never looks at what a client says after the handshake,
 * and drops what a client does not take at once. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { CLIENTS = 65536, BATCH = 1 << 22, INTERVAL_NS = 20000000 };
/* The answer to the key that our crowd sends; a real server would compute it. */
static const char HELLO[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char SUBSCRIBED[] = "\x81\x23{\"type\":\"subscribed\",\"snapshot\":[]}";
static char following[CLIENTS], lines[BATCH], batch[BATCH];
static size_t pending;

static void send_batch(int highest) {
    if (!pending) return;
    for (int fd = 0; fd <= highest; fd++)
        if (following[fd] == 2 && send(fd, batch, pending, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN)
            following[fd] = 0;
    pending = 0;
}

static int read_lines(void) {
    static size_t held;
    ssize_t got = read(0, lines + held, sizeof lines - held);
    if (got <= 0) return 0;
    char *at = lines, *end = lines + held + got, *newline;
    while ((newline = memchr(at, '\n', end - at))) {
        size_t size = newline - at;
        if (pending + size + 4 < sizeof batch) {
            batch[pending++] = (char)0x81;
            if (size < 126) batch[pending++] = (char)size;
            else { batch[pending++] = 126; batch[pending++] = (char)(size >> 8); batch[pending++] = (char)size; }
            memcpy(batch + pending, at, size);
            pending += size;
        }
        at = newline + 1;
    }
    memmove(lines, at, held = end - at);
    return 1;
}

int main(void) {
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), highest = 0;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct itimerspec often = {{0, INTERVAL_NS}, {0, INTERVAL_NS}};
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), epoll = epoll_create1(0);
    timerfd_settime(timer, 0, &often, NULL);
    for (const int *fd = (int[]){0, listener, timer, -1}; *fd >= 0; fd++)
        epoll_ctl(epoll, EPOLL_CTL_ADD, *fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = *fd});
    struct epoll_event ready[512];
    char said[16384];
    for (;;) {
        int found = epoll_wait(epoll, ready, 512, -1);
        for (int i = 0; i < found; i++) {
            int fd = ready[i].data.fd, one = 1, client;
            if (fd == 0) { if (!read_lines()) return 0; }
            else if (fd == timer) { if (read(timer, said, 8) == 8) send_batch(highest); }
            else if (fd == listener) {
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0 && client < CLIENTS) {
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (client > highest) highest = client;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, client, &(struct epoll_event){.events = EPOLLIN, .data.fd = client});
                }
            } else if (read(fd, said, sizeof said) <= 0) { following[fd] = 0; close(fd); }
            else if (following[fd] < 2) {
                const char *answer = following[fd]++ ? SUBSCRIBED : HELLO;
                send(fd, answer, following[fd] == 2 ? sizeof SUBSCRIBED - 1 : sizeof HELLO - 1, MSG_NOSIGNAL);
            }
        }
    }
}
