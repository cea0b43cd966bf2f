/* The least that an extension can do: register, then Next until SHUTDOWN. What ours is measured by. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char reply[65536];

/* One request over one connection; the whole reply, headers included, is in `reply`. */
static int exchange(struct sockaddr_in *api, const char *request) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t got = 0;
    ssize_t n;
    if (connect(fd, (struct sockaddr *)api, sizeof *api) != 0) return -1;
    if (write(fd, request, strlen(request)) < 0) return -1;
    while (got + 1 < sizeof reply && (n = read(fd, reply + got, sizeof reply - 1 - got)) > 0) got += n;
    reply[got] = 0;
    close(fd);
    return got > 0 ? 0 : -1;
}

int main(int argc, char **argv) {
    char *name = basename(argv[0]), *port, *found, request[1024], identifier[128];
    char *api_text = getenv("AWS_LAMBDA_RUNTIME_API");
    const char *body = "{\"events\":[\"INVOKE\",\"SHUTDOWN\"]}";
    struct sockaddr_in api = {.sin_family = AF_INET};
    (void)argc;
    if (!api_text || !(port = strchr(api_text, ':'))) return 1;
    *port++ = 0;
    api.sin_port = htons(atoi(port));
    inet_pton(AF_INET, api_text, &api.sin_addr);
    snprintf(request, sizeof request,
             "POST /2020-01-01/extension/register HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
             "lambda-extension-name: %s\r\ncontent-length: %zu\r\n\r\n%s", name, strlen(body), body);
    if (exchange(&api, request) != 0) return 1;
    if (!(found = strcasestr(reply, "lambda-extension-identifier: "))) return 1;
    sscanf(found + strlen("lambda-extension-identifier: "), "%127[^\r]", identifier);
    snprintf(request, sizeof request,
             "GET /2020-01-01/extension/event/next HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
             "lambda-extension-identifier: %s\r\n\r\n", identifier);
    while (exchange(&api, request) == 0 && !strstr(reply, "SHUTDOWN")) {}
    return 0;
}
