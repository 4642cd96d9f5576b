/* names: a name server that a test writes. The host peers.test stands for what names_set() says;
 * all other names are the C library's. For one source file of a test. */
#ifndef PROVISOR_NAMES_H
#define PROVISOR_NAMES_H

#include "tests/support/unit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

static pthread_mutex_t names_mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *names_answer; /* addresses of peers.test, space separated; NULL: no answer */

static int names_asked; /* how often peers.test was looked up */

static inline void names_set(const char *addresses)
{
    pthread_mutex_lock(&names_mutex);
    names_answer = addresses;
    pthread_mutex_unlock(&names_mutex);
}

static inline int names_count(void)
{
    pthread_mutex_lock(&names_mutex);
    int n = names_asked;
    pthread_mutex_unlock(&names_mutex);
    return n;
}

typedef int getaddrinfo_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Stands in front of the C library's, which libzmq uses too. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret_list)
{
    getaddrinfo_fn *real = (getaddrinfo_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (!name || strcmp(name, "peers.test") != 0 || (hints && hints->ai_flags & AI_NUMERICHOST))
        return real(name, service, hints, ret_list);
    pthread_mutex_lock(&names_mutex);
    const char *at = names_answer;
    names_asked++;
    pthread_mutex_unlock(&names_mutex);
    struct addrinfo *list = NULL;
    for (char text[64]; at && sscanf(at, "%63s", text) == 1;) {
        struct addrinfo *one = NULL,
                        numeric = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
        assert_int_equal(real(text, NULL, &numeric, &one), 0);
        one->ai_next = list;
        list = one;
        at += strlen(text) + (at[strlen(text)] == ' ');
    }
    *ret_list = list;
    return list ? 0 : EAI_AGAIN;
}

#endif
