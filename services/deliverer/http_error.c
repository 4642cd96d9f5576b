#include "services/deliverer/http_error.h"

#include <ctype.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <strings.h>

/* "example.org:443" out of the request's URL. */
static void add_peer(buf_t *to, const char *url)
{
    CURLU *parts = curl_url();
    char *host = NULL, *port = NULL;
    if (parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK)
        buf_printf(to, "%s:%s", host, port);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
}

static void add_host(buf_t *to, const char *url)
{
    size_t before = to->size;
    add_peer(to, url);
    while (to->size > before && isdigit((unsigned char)to->data[to->size - 1]))
        to->size--;
    if (to->size > before) /* the colon */
        to->size--;
    if (to->data)
        to->data[to->size] = '\0';
}

/* Lower case at the beginning, as our own texts are. */
static void add_lower(buf_t *to, const char *text)
{
    size_t first = to->size;
    buf_add_str(to, text);
    if (text[0] && !isupper((unsigned char)text[1]))
        to->data[first] = (char)tolower((unsigned char)text[0]);
}

static bool starts_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Adds why, in the words of whoever knows best. OpenSSL's are like "error:0A00010B:SSL
 * routines::wrong version number, errno 0", of which the end counts. */
static void add_reason(buf_t *to, const http_progress_t *p, CURLcode code)
{
    static const char routines[] = "routines::", no_errno[] = ", errno 0";
    const char *text = p->curl_text[0] ? p->curl_text : curl_easy_strerror(code);
    const char *last = strstr(text, routines);
    long os_error = 0;
    curl_easy_getinfo(p->easy, CURLINFO_OS_ERRNO, &os_error);
    if (os_error != 0 && (starts_with(text, "getpeername") || starts_with(text, "getsockname")))
        text = strerror((int)os_error); /* a mere consequence of it */
    add_lower(to, last ? last + sizeof routines - 1 : text);
    size_t size = sizeof no_errno - 1;
    if (to->size > size && strcmp(to->data + to->size - size, no_errno) == 0)
        to->data[to->size -= size] = '\0';
}

static bool speaks_tls(const http_progress_t *p)
{
    return strncasecmp(p->request->url, "https:", 6) == 0;
}

static exchange_end_t end_with(buf_t *to, exchange_end_t end, const char *what,
                               const http_progress_t *p, CURLcode code)
{
    buf_printf(to, "%s: ", what);
    add_reason(to, p, code);
    return end;
}

static exchange_end_t end_refused(buf_t *to, const http_progress_t *p, CURLcode code)
{
    long os_error = 0;
    curl_easy_getinfo(p->easy, CURLINFO_OS_ERRNO, &os_error);
    if (os_error == 0)
        return end_with(to, EXCHANGE_REFUSED, "cannot connect", p, code);
    add_lower(to, strerror((int)os_error));
    buf_add_str(to, " (");
    add_peer(to, p->request->url);
    buf_add_char(to, ')');
    return EXCHANGE_REFUSED;
}

static const char *certificate_fault(long verified)
{
    switch (verified) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "certificate has expired";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "certificate is not valid yet";
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        return "self-signed certificate";
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_CERT_UNTRUSTED:
    case X509_V_ERR_INVALID_CA:
        return "certificate's issuer is not trusted";
    case X509_V_ERR_CERT_REVOKED:
        return "certificate is revoked";
    default:
        return NULL;
    }
}

static exchange_end_t end_certificate(buf_t *to, const http_progress_t *p, CURLcode code)
{
    long verified = 0;
    curl_easy_getinfo(p->easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    const char *fault = certificate_fault(verified);
    if (fault) {
        buf_printf(to, "%s (", fault);
        add_peer(to, p->request->url);
        buf_add_char(to, ')');
    } else if (strstr(p->curl_text, "subject name")) { /* the one check that is curl's own */
        buf_add_str(to, "certificate is for another name (not for ");
        add_host(to, p->request->url);
        buf_add_char(to, ')');
    } else {
        return end_with(to, EXCHANGE_TLS, "certificate refused", p, code);
    }
    return EXCHANGE_TLS;
}

/* TLS 1.3: what the server thinks of our certificate comes after the handshake, as an alert that
 * gets lost when it closes the connection at once. */
static exchange_end_t end_lost(buf_t *to, const http_progress_t *p, CURLcode code)
{
    long connects = 0;
    curl_easy_getinfo(p->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (!speaks_tls(p))
        return end_with(to, EXCHANGE_BROKEN, "connection lost", p, code);
    if (strstr(p->curl_text, "alert"))
        return end_with(to, EXCHANGE_TLS, "TLS", p, code);
    if (connects == 0 || p->response->header_bytes > 0)
        return end_with(to, EXCHANGE_BROKEN, "connection lost", p, code);
    buf_printf(to,
               "closed by the server after the TLS handshake, it may want %s client certificate: ",
               p->request->cert_file ? "another" : "a");
    add_reason(to, p, code);
    return EXCHANGE_TLS;
}

static exchange_end_t end_said(buf_t *to, exchange_end_t end, const char *text)
{
    buf_add_str(to, text);
    return end;
}

exchange_end_t http_error(const http_progress_t *p, CURLcode code, buf_t *ret_text)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: /* curl watches the time for connecting, nothing else */
        buf_printf(ret_text, "timed out after %lld ms (connecting)",
                   (long long)p->request->connect_timeout_ms);
        return EXCHANGE_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
        buf_add_str(ret_text, "host not found: ");
        add_host(ret_text, p->request->url);
        return EXCHANGE_REFUSED;
    case CURLE_COULDNT_CONNECT:
        return end_refused(ret_text, p, code);
    case CURLE_PEER_FAILED_VERIFICATION:
        return end_certificate(ret_text, p, code);
    case CURLE_SSL_CERTPROBLEM:
        return end_with(ret_text, EXCHANGE_INVALID, "client certificate cannot be used", p, code);
    case CURLE_SSL_CACERT_BADFILE:
        buf_printf(ret_text, "CA file cannot be read (%s)",
                   p->request->ca_file ? p->request->ca_file : "the system's");
        return EXCHANGE_INVALID;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CLIENTCERT:
    case CURLE_SSL_ISSUER_ERROR:
        return end_with(ret_text, EXCHANGE_TLS, "TLS handshake failed", p, code);
    case CURLE_GOT_NOTHING:
        return end_said(ret_text, EXCHANGE_BROKEN, "connection closed without an answer");
    case CURLE_PARTIAL_FILE:
        return end_said(ret_text, EXCHANGE_BROKEN, "connection closed in the middle of the answer");
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return end_lost(ret_text, p, code);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return p->connected ? end_with(ret_text, EXCHANGE_BROKEN, "malformed answer", p, code)
                            : end_with(ret_text, EXCHANGE_INVALID, "bad URL", p, code);
    case CURLE_ABORTED_BY_CALLBACK:
        return end_said(ret_text, EXCHANGE_BROKEN, "malformed answer: framing without end");
    case CURLE_OUT_OF_MEMORY: /* of an answer: curl's own limit of a line, over ours */
    case CURLE_WRITE_ERROR:
        if (p->connected &&
            (code == CURLE_OUT_OF_MEMORY || p->response->reading == HTTP_HEADERS_TOO_LARGE)) {
            buf_printf(ret_text, "response headers are larger than %d KiB",
                       HTTP_HEADERS_MAX / 1024);
            return EXCHANGE_BROKEN;
        }
        /* fall through */
    default:
        return end_with(ret_text, EXCHANGE_BROKEN, p->connected ? "malformed answer" : "failed", p,
                        code);
    }
}

exchange_end_t http_error_timeout(const http_progress_t *p, buf_t *ret_text)
{
    const char *phase = "reading it";
    if (!p->connected)
        phase = "connecting";
    else if (p->response->header_bytes == 0)
        phase = "waiting for the response";
    buf_printf(ret_text, "timed out after %lld ms (%s)", (long long)p->request->timeout_ms, phase);
    return EXCHANGE_TIMEOUT;
}
