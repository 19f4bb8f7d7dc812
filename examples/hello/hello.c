/* hello: a small HTTP service to ship, with what an orchestrator asks of one.
 *
 *   GET /        200, JSON: service, version, commit, environment, hostname
 *   GET /health  200, JSON: {"status":"ok"}
 *   hello --health   asks 127.0.0.1:$PORT/health; exit code 0 when it answers 200, otherwise 1
 *
 * Settings are environment variables: PORT (8080), APP_VERSION, APP_COMMIT, APP_ENVIRONMENT. One access line per request
 * goes to stdout as JSON. Needs no file system, no privileges and no library at run time.
 *
 * One process, one poll loop, many connections; SIGTERM closes the listener, lets requests in flight finish for at most
 * DRAIN_MS, and exits with 0.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 256
#define REQUEST_MAX 8192
#define RESPONSE_MAX 4096
#define FIELD_MAX 256
#define IDLE_MS 5000
#define DRAIN_MS 800

struct connection {
    int fd; /* -1: free */
    size_t have, sent, length;
    long long deadline_ms;
    char request[REQUEST_MAX + 1];
    char response[RESPONSE_MAX];
};

static struct connection connections[CONNECTIONS];
static int wake[2];

static long long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_stop(int number) {
    int saved = errno;
    char byte = (char)number;
    if (write(wake[1], &byte, 1) < 0) { /* the pipe is full: the loop has been woken already */
    }
    errno = saved;
}

/* A JSON string of the variable's value, cut at FIELD_MAX bytes of output; `fallback` when it is unset or empty. */
static const char *json_variable(const char *name, const char *fallback, char out[FIELD_MAX]) {
    const char *value = getenv(name);
    size_t n = 0;
    if (value == NULL || *value == '\0') value = fallback;
    out[n++] = '"';
    for (const unsigned char *c = (const unsigned char *)value; *c != '\0' && n < FIELD_MAX - 8; c++) {
        if (*c == '"' || *c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)*c;
        } else if (*c < 0x20) {
            n += (size_t)snprintf(out + n, 7, "\\u%04x", *c);
        } else {
            out[n++] = (char)*c;
        }
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

static unsigned short port(void) {
    const char *text = getenv("PORT");
    char *end = NULL;
    if (text == NULL || *text == '\0') return 8080;
    long number = strtol(text, &end, 10);
    if (*end != '\0' || number < 1 || number > 65535) {
        fprintf(stderr, "hello: PORT must be a number from 1 to 65535, not \"%s\"\n", text);
        exit(2);
    }
    return (unsigned short)number;
}

static void respond(struct connection *c, int status, const char *reason, const char *extra, int head_only,
                    const char *format, ...) {
    char body[RESPONSE_MAX / 2];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(body, sizeof body, format, arguments);
    va_end(arguments);
    c->length = (size_t)snprintf(c->response, sizeof c->response,
                                 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
                                 "Cache-Control: no-store\r\nConnection: close\r\n%s\r\n%s",
                                 status, reason, length, extra, head_only ? "" : body);
    c->sent = 0;
}

static void answer(struct connection *c) {
    char method[16] = "", path[128] = "";
    char version[FIELD_MAX], commit[FIELD_MAX], environment[FIELD_MAX], host[FIELD_MAX];
    if (sscanf(c->request, "%15[A-Z] %127[^ ?#\r\n]", method, path) != 2 || path[0] != '/') {
        respond(c, 400, "Bad Request", "", 0, "{\"error\":\"not an HTTP request\"}\n");
        return;
    }
    int head = strcmp(method, "HEAD") == 0;
    if (!head && strcmp(method, "GET") != 0) {
        respond(c, 405, "Method Not Allowed", "Allow: GET, HEAD\r\n", 0, "{\"error\":\"only GET and HEAD\"}\n");
    } else if (strcmp(path, "/health") == 0) {
        respond(c, 200, "OK", "", head, "{\"status\":\"ok\"}\n");
    } else if (strcmp(path, "/") == 0) {
        respond(c, 200, "OK", "", head,
                "{\"service\":\"hello\",\"version\":%s,\"commit\":%s,\"environment\":%s,\"hostname\":%s}\n",
                json_variable("APP_VERSION", "unknown", version), json_variable("APP_COMMIT", "unknown", commit),
                json_variable("APP_ENVIRONMENT", "unknown", environment), json_variable("HOSTNAME", "unknown", host));
    } else {
        respond(c, 404, "Not Found", "", head, "{\"error\":\"no such path\"}\n");
    }
    /* The health check asks every few seconds: its lines would hide the others. The path is printed only when known. */
    if (strcmp(path, "/health") != 0)
        printf("{\"method\":\"%s\",\"path\":\"%s\",\"status\":%.3s}\n", method, strcmp(path, "/") == 0 ? "/" : "other",
               c->response + sizeof "HTTP/1.1");
}

static void drop(struct connection *c) {
    close(c->fd);
    c->fd = -1;
}

static void accept_all(int listener) {
    for (;;) {
        struct connection *c = NULL;
        for (int i = 0; i < CONNECTIONS && c == NULL; i++)
            if (connections[i].fd < 0) c = &connections[i];
        if (c == NULL) return; /* the rest waits in the kernel's backlog */
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return;
        c->fd = fd;
        c->have = c->sent = c->length = 0;
        c->deadline_ms = now_ms() + IDLE_MS;
    }
}

static void receive(struct connection *c) {
    ssize_t n = recv(c->fd, c->request + c->have, REQUEST_MAX - c->have, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->have += (size_t)n;
    c->request[c->have] = '\0';
    if (strstr(c->request, "\r\n\r\n") != NULL)
        answer(c);
    else if (c->have == REQUEST_MAX)
        respond(c, 431, "Request Header Fields Too Large", "", 0, "{\"error\":\"request head over 8 KiB\"}\n");
}

static void transmit(struct connection *c) {
    ssize_t n = send(c->fd, c->response + c->sent, c->length - c->sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) {
        drop(c);
        return;
    }
    c->sent += (size_t)n;
    if (c->sent == c->length) {
        shutdown(c->fd, SHUT_WR);
        drop(c);
    }
}

static int listen_on(unsigned short number) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(number), .sin_addr.s_addr = INADDR_ANY};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0) {
        fprintf(stderr, "hello: cannot listen on port %d: %s\n", number, strerror(errno));
        exit(1);
    }
    return fd;
}

static int serve(void) {
    struct pollfd ready[CONNECTIONS + 2];
    struct sigaction stop = {.sa_handler = on_stop};
    unsigned short number = port();
    long long stop_at_ms = 0;
    if (pipe2(wake, O_NONBLOCK | O_CLOEXEC) < 0) {
        perror("hello: pipe");
        return 1;
    }
    /* As process 1 of a container nothing has a default action: without handlers SIGTERM would be ignored. */
    sigaction(SIGTERM, &stop, NULL);
    sigaction(SIGINT, &stop, NULL);
    for (int i = 0; i < CONNECTIONS; i++) connections[i].fd = -1;
    int listener = listen_on(number);
    printf("{\"event\":\"listening\",\"port\":%d}\n", number);

    for (;;) {
        int busy = 0;
        long long now = now_ms();
        for (int i = 0; i < CONNECTIONS; i++) {
            struct connection *c = &connections[i];
            if (c->fd >= 0 && now >= c->deadline_ms) drop(c);
            /* A connection that has sent nothing is not a request in flight. */
            if (c->fd >= 0 && stop_at_ms > 0 && c->have == 0) drop(c);
            if (c->fd >= 0) busy++;
            ready[i].fd = c->fd;
            ready[i].events = c->length > 0 ? POLLOUT : POLLIN;
        }
        if (stop_at_ms > 0 && (busy == 0 || now >= stop_at_ms)) break;
        ready[CONNECTIONS].fd = busy < CONNECTIONS ? listener : -1;
        ready[CONNECTIONS + 1].fd = wake[0];
        ready[CONNECTIONS].events = ready[CONNECTIONS + 1].events = POLLIN;
        if (poll(ready, CONNECTIONS + 2, stop_at_ms > 0 ? 50 : busy > 0 ? 500 : -1) < 0) continue;
        if (ready[CONNECTIONS + 1].revents != 0 && stop_at_ms == 0) {
            char byte;
            while (read(wake[0], &byte, 1) == 1) {
            }
            accept_all(listener);
            close(listener);
            listener = -1;
            stop_at_ms = now_ms() + DRAIN_MS;
            printf("{\"event\":\"stopping\"}\n");
        }
        for (int i = 0; i < CONNECTIONS; i++) {
            if (ready[i].fd < 0 || ready[i].revents == 0) continue;
            if (connections[i].length > 0)
                transmit(&connections[i]);
            else
                receive(&connections[i]);
        }
        if (listener >= 0 && ready[CONNECTIONS].revents != 0) accept_all(listener);
    }
    printf("{\"event\":\"stopped\"}\n");
    return 0;
}

static int ask_health(void) {
    static const char request[] = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 2};
    char reply[32];
    size_t have = 0;
    address.sin_port = htons(port());
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) return 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return 1;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof request - 1)) return 1;
    while (have < 12) {
        ssize_t n = recv(fd, reply + have, sizeof reply - have, 0);
        if (n <= 0) return 1;
        have += (size_t)n;
    }
    return memcmp(reply, "HTTP/1.1 200", 12) == 0 ? 0 : 1;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 1) return serve();
    if (argc == 2 && strcmp(argv[1], "--health") == 0) return ask_health();
    fprintf(stderr, "usage: hello [--health]\n");
    return 2;
}
