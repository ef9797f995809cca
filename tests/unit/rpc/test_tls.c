#include "rpc/tls.h"

#include "tests/support/echo_server.h"

#include <grpc/health/v1/health.pb-c.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Made once for all tests: an authority, and leaves under it; a second authority with a leaf of its own. */
static char dir[64];

static const char make_certificates[] =
    "set -e; cd %s; "
    "ca() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj \"/CN=$1\" "
    "  -keyout $1.key -out $1.pem; }; "
    "leaf() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj \"/CN=$3\" -keyout $2.key "
    "  -out $2.csr; printf '%%s\\n' \"$4\" >$2.ext; "
    "  openssl x509 -req -in $2.csr -CA $1.pem -CAkey $1.key -CAcreateserial -days 2 -extfile $2.ext -out "
    "$2.pem; }; "
    "{ ca ca; ca other; "
    "leaf ca server server subjectAltName=DNS:localhost,IP:127.0.0.1; "
    "leaf ca spiffe posp-by-name subjectAltName=URI:spiffe://posward.test/posp; "
    "leaf ca named posv-by-name subjectAltName=DNS:posv; "
    "leaf ca posing 'spiffe:\\/\\/posward.test\\/posp' subjectAltName=DNS:posp; "
    "leaf ca doubled both subjectAltName=URI:spiffe://posward.test/posp,URI:spiffe://posward.test/posv; "
    "leaf ca pathless bare subjectAltName=URI:spiffe://posward.test/; "
    "leaf other stranger stranger subjectAltName=URI:spiffe://posward.test/posp; "
    "leaf other renewed server2 subjectAltName=DNS:localhost,IP:127.0.0.1; "
    "cat ca.pem other.pem >both.pem; head -c -100 both.pem >half.pem; "
    "} >log 2>&1 || { cat log; exit 1; }";

static void make_once(void)
{
    char command[2048];
    suite_scratch_name("tls", dir, sizeof dir);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(command, sizeof command, make_certificates, dir);
    ck_assert_int_eq(system(command), 0);
}

static void remove_all(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* Paths of one leaf under one authority; NULLs for none. */
struct identity {
    char ca[128], cert[128], key[128];
    struct rpc_tls tls;
};

static struct rpc_tls identity_of(struct identity *identity, const char *authority, const char *leaf)
{
    identity->tls = (struct rpc_tls){0};
    snprintf(identity->ca, sizeof identity->ca, "%s/%s.pem", dir, authority != NULL ? authority : "");
    snprintf(identity->cert, sizeof identity->cert, "%s/%s.pem", dir, leaf != NULL ? leaf : "");
    snprintf(identity->key, sizeof identity->key, "%s/%s.key", dir, leaf != NULL ? leaf : "");
    identity->tls.ca_path = authority != NULL ? identity->ca : NULL;
    identity->tls.cert_path = leaf != NULL ? identity->cert : NULL;
    identity->tls.key_path = leaf != NULL ? identity->key : NULL;
    return identity->tls;
}

static struct echo echo;
static struct identity server_identity;

static void start_server(const char *authority, const char *leaf)
{
    struct rpc_server_options options = echo_options();
    options.tls = identity_of(&server_identity, authority, leaf);
    echo_start(&echo, &options);
}

static struct rpc_channel *channel_as(struct identity *identity, const char *authority, const char *leaf)
{
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", rpc_server_port(echo.server));
    const struct rpc_channel_options options = {.target = target,
                                                .tls = identity_of(identity, authority, leaf)};
    struct rpc_channel *channel = NULL;
    struct err e = {0};
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    return channel;
}

/* One Say; the identity that the handler saw, or the class of the failure. */
static enum err_code say_as(const char *authority, const char *leaf, char out_identity[64], struct err *e)
{
    struct identity identity;
    struct rpc_channel *channel = channel_as(&identity, authority, leaf);
    echo_response *response = NULL;
    const enum err_code code = echo_say(channel, &ECHO_REQUEST("x"), NULL, &response, e);
    rpc_channel_free(channel);
    if (code != ERR_OK)
        return code;
    snprintf(out_identity, 64, "%s", response->identity);
    echo_free(response);
    return ERR_OK;
}

START_TEST(mutual_tls_proves_who_calls)
{
    static const struct {
        const char *authority, *leaf, *identity; /* identity NULL: refused */
    } rows[] = {
        {"ca", "spiffe", "spiffe://posward.test/posp"},
        {"ca", "named", "posv-by-name"},
        {"ca", "posing", ""},     /* a common name is no SPIFFE identity */
        {"ca", "doubled", ""},    /* two identities are none */
        {"ca", "pathless", ""},   /* one that does not verify does not fall back to the name */
        {"ca", "stranger", NULL}, /* of an authority that the server does not know */
        {"ca", NULL, NULL},       /* without a certificate */
        {"other", "spiffe", NULL} /* the client does not know the server's authority */
    };
    start_server("ca", "server");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char identity[64] = "";
        struct err e = {0};
        const enum err_code code = say_as(rows[i].authority, rows[i].leaf, identity, &e);
        ck_assert_msg((code == ERR_OK) == (rows[i].identity != NULL), "row %zu: %s", i, e.note);
        if (rows[i].identity != NULL)
            ck_assert_str_eq(identity, rows[i].identity);
        else
            ck_assert_int_eq(code, ERR_UNAVAILABLE);
    }
    echo_stop(&echo);
}
END_TEST

/* Who may connect, as a configuration that is read again would say. */
struct guests {
    const char *identity;
    atomic_int asked; /* about calls */
};

static bool may_connect(void *context, const char *identity)
{
    const struct guests *const guests = context;
    return identity != NULL && strcmp(identity, guests->identity) == 0;
}

static enum err_code count_calls(void *context, const struct rpc_peer *peer, const char *path, struct err *e)
{
    struct guests *const guests = context;
    (void)path;
    atomic_fetch_add(&guests->asked, 1);
    return may_connect(guests, peer->identity) ? ERR_OK : err_set(e, ERR_DENIED, "no guest");
}

static enum err_code ask_health(struct rpc_channel *channel, struct err *e)
{
    const Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    const struct rpc_call_options how = {.timeout_ms = 5000};
    TRY(rpc_unary(channel, &grpc__health__v1__health__descriptor, "Check", &request.base, &how, &answer, e));
    protobuf_c_message_free_unpacked(answer, NULL);
    return ERR_OK;
}

START_TEST(who_may_not_connect_is_refused_in_the_handshake)
{
    static const char *const strangers[] = {"named", "posing", "doubled", "pathless"};
    struct guests guests = {.identity = "spiffe://posward.test/posp"};
    struct rpc_server_options options = echo_options();
    char identity[64];
    struct identity paths, late_paths;
    struct err e = {0};
    options.tls = identity_of(&server_identity, "ca", "server");
    options.may_connect = may_connect;
    options.connect_context = &guests;
    options.authorise = count_calls;
    options.authorise_context = &guests;
    echo_start(&echo, &options);
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        ck_assert_int_eq(say_as("ca", strangers[i], identity, &e), ERR_UNAVAILABLE);
        ck_assert_uint_ge(rpc_server_tls_state(echo.server).refused, i + 1);
    }
    struct rpc_channel *const stranger = channel_as(&paths, "ca", "named");
    ck_assert_int_ne(ask_health(stranger, &e), ERR_OK);
    rpc_channel_free(stranger);
    ck_assert_int_eq(atomic_load(&guests.asked), 0);

    struct rpc_channel *const guest = channel_as(&paths, "ca", "spiffe");
    ck_assert_ok(echo_say(guest, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    ck_assert_ok(ask_health(guest, &e), e);
    guests.identity = "posv-by-name"; /* as after SIGHUP: what is connected is closed at its next call */
    ck_assert_int_eq(ask_health(guest, &e), ERR_DENIED);
    ck_assert_int_eq(echo_say(guest, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_DENIED);
    const time_t until = time(NULL) + 30; /* the connection is closed at the next look */
    while (ask_health(guest, &e) != ERR_UNAVAILABLE) {
        ck_assert_int_lt(time(NULL), until);
        usleep(20000);
    }
    rpc_channel_free(guest);
    struct rpc_channel *const late = channel_as(&late_paths, "ca", "named");
    ck_assert_ok(echo_say(late, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    rpc_channel_free(late);
    echo_stop(&echo);
}
END_TEST

START_TEST(tls_without_client_certificates_has_no_identity)
{
    start_server(NULL, "server");
    char identity[64] = "?";
    struct err e = {0};
    ck_assert_ok(say_as("ca", NULL, identity, &e), e);
    ck_assert_str_eq(identity, "");
    ck_assert_ok(say_as("ca", "spiffe", identity, &e), e);
    ck_assert_str_eq(identity, ""); /* not asked for, not verified */
    echo_stop(&echo);
}
END_TEST

START_TEST(server_name_is_checked)
{
    start_server("ca", "spiffe"); /* a certificate without the address in it */
    char identity[64];
    struct err e = {0};
    ck_assert_int_eq(say_as("ca", "named", identity, &e), ERR_UNAVAILABLE);
    echo_stop(&echo);

    start_server("ca", "named");
    struct identity paths;
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", rpc_server_port(echo.server));
    struct rpc_channel_options options = {.target = target, .tls = identity_of(&paths, "ca", "spiffe")};
    options.tls.server_name = "posv";
    struct rpc_channel *channel = NULL;
    ck_assert_ok(rpc_channel_new(&options, &channel, &e), e);
    ck_assert_ok(echo_say(channel, &ECHO_REQUEST("x"), NULL, NULL, &e), e);
    rpc_channel_free(channel);
    echo_stop(&echo);
}
END_TEST

START_TEST(plain_text_client_is_refused_by_a_tls_server)
{
    start_server("ca", "server");
    struct rpc_channel *channel = echo_channel(rpc_server_port(echo.server));
    struct err e = {0};
    ck_assert_int_eq(echo_say(channel, &ECHO_REQUEST("x"), NULL, NULL, &e), ERR_UNAVAILABLE);
    rpc_channel_free(channel);
    echo_stop(&echo);
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    char command[300];
    snprintf(command, sizeof command, "cp %s/%s %s/%s.new && mv %s/%s.new %s/%s", dir, from, dir, to, dir, to,
             dir, to);
    ck_assert_int_eq(system(command), 0);
}

/* Say until it ends as `wanted`: handshakes use changed files about a second later. */
static void say_becomes(const char *authority, const char *leaf, enum err_code wanted)
{
    const time_t until = time(NULL) + 30;
    struct err e = {0};
    char identity[64];
    while (say_as(authority, leaf, identity, &e) != wanted) {
        ck_assert_msg(time(NULL) < until, "never ends with %d: %s", (int)wanted, e.note);
        usleep(20000);
    }
}

START_TEST(renewed_certificate_is_taken_and_a_broken_one_is_not)
{
    copy_file("server.pem", "live.pem");
    copy_file("server.key", "live.key");
    start_server(NULL, "live");
    char identity[64];
    struct err e = {0};
    ck_assert_ok(say_as("ca", NULL, identity, &e), e);
    const struct rpc_tls_state first = rpc_server_tls_state(echo.server);
    ck_assert(first.secure && !first.broken);
    ck_assert_uint_eq(first.taken, 1);
    ck_assert_uint_eq(first.kept, 0);
    const int64_t hours = (first.expires_s - (int64_t)time(NULL)) / 3600;
    ck_assert_int_ge(hours, 2 * 24 - 1);
    ck_assert_int_le(hours, 2 * 24);
    copy_file("log", "live.pem");
    ck_assert_ok(say_as("ca", NULL, identity, &e), e);
    ck_assert_ok(say_as("ca", NULL, identity, &e), e); /* the same broken file counts once */
    ck_assert_uint_eq(rpc_server_tls_state(echo.server).kept, 1);
    ck_assert(rpc_server_tls_state(echo.server).broken);
    copy_file("renewed.pem", "live.pem"); /* its key is not there yet */
    ck_assert_uint_eq(rpc_server_tls_state(echo.server).kept, 2);
    ck_assert_ok(say_as("ca", NULL, identity, &e), e);
    copy_file("renewed.key", "live.key");
    say_becomes("ca", NULL, ERR_UNAVAILABLE);
    ck_assert_ok(say_as("other", NULL, identity, &e), e);
    const struct rpc_tls_state last = rpc_server_tls_state(echo.server);
    ck_assert(!last.broken);
    ck_assert_uint_eq(last.taken, 2);
    ck_assert_uint_eq(last.kept, 2);
    echo_stop(&echo);
}
END_TEST

/* A stream of Talk that lives while files change under it. */
static struct rpc_stream *talk_open(struct rpc_channel *channel)
{
    struct rpc_stream *stream = NULL;
    struct err e = {0};
    ck_assert_ok(
        rpc_stream_open(channel, &posward__test__v1__echo__descriptor, "Talk", NULL, NULL, &stream, &e), e);
    return stream;
}

static enum err_code talk(struct rpc_stream *stream, char out_identity[64], struct err *e)
{
    ProtobufCMessage *response = NULL;
    const echo_request request = ECHO_REQUEST("x");
    TRY(rpc_stream_send(stream, &request.base, e));
    TRY(rpc_stream_next(stream, 10000, &response, e));
    ck_assert_ptr_nonnull(response);
    snprintf(out_identity, 64, "%s", ((echo_response *)response)->identity);
    protobuf_c_message_free_unpacked(response, NULL);
    return ERR_OK;
}

START_TEST(authorities_change_over_while_calls_go_on)
{
    char identity[64];
    struct identity paths;
    struct err e = {0};
    copy_file("ca.pem", "live-ca.pem");
    start_server("live-ca", "server");
    struct rpc_channel *const early = channel_as(&paths, "ca", "spiffe");
    struct rpc_stream *const stream = talk_open(early);
    ck_assert_ok(talk(stream, identity, &e), e);
    ck_assert_int_eq(say_as("ca", "stranger", identity, &e), ERR_UNAVAILABLE);
    copy_file("both.pem", "live-ca.pem");
    say_becomes("ca", "stranger", ERR_OK);
    ck_assert_ok(say_as("ca", "named", identity, &e), e);
    copy_file("half.pem", "live-ca.pem"); /* its second certificate is cut: both go on */
    ck_assert_ok(say_as("ca", "stranger", identity, &e), e);
    ck_assert(rpc_server_tls_state(echo.server).broken);
    copy_file("other.pem", "live-ca.pem");
    say_becomes("ca", "named", ERR_UNAVAILABLE);
    ck_assert_ok(say_as("ca", "stranger", identity, &e), e);
    ck_assert_ok(talk(stream, identity, &e), e);
    ck_assert_str_eq(identity, "spiffe://posward.test/posp");
    rpc_stream_free(stream);
    rpc_channel_free(early);
    echo_stop(&echo);
}
END_TEST

/* Say on `channel` until the server sees `wanted`; the files are looked at once a second. */
static void say_until(struct rpc_channel *channel, const char *wanted)
{
    const time_t until = time(NULL) + 30;
    bool seen = false;
    while (!seen && time(NULL) < until) {
        echo_response *response = NULL;
        struct err e = {0};
        ck_assert_ok(echo_say(channel, &ECHO_REQUEST("x"), NULL, &response, &e), e);
        seen = strcmp(response->identity, wanted) == 0;
        echo_free(response);
        usleep(20000);
    }
    ck_assert_msg(seen, "the server never saw %s", wanted);
}

START_TEST(channel_takes_a_renewed_certificate_and_not_a_broken_one)
{
    char identity[64];
    struct identity paths;
    struct err e = {0};
    copy_file("spiffe.pem", "mine.pem");
    copy_file("spiffe.key", "mine.key");
    start_server("ca", "server");
    struct rpc_channel *const channel = channel_as(&paths, "ca", "mine");
    struct rpc_stream *const stream = talk_open(channel);
    say_until(channel, "spiffe://posward.test/posp");
    copy_file("log", "mine.pem");
    const time_t until = time(NULL) + 3; /* time to look, and calls on the certificate of before */
    while (time(NULL) < until)
        say_until(channel, "spiffe://posward.test/posp");
    copy_file("named.key", "mine.key");
    copy_file("named.pem", "mine.pem");
    say_until(channel, "posv-by-name");
    ck_assert_ok(talk(stream, identity, &e), e);
    ck_assert_str_eq(identity, "spiffe://posward.test/posp");
    rpc_stream_free(stream);
    rpc_channel_free(channel);
    echo_stop(&echo);
}
END_TEST

START_TEST(tls_check_wants_matching_settings)
{
    static const struct {
        const char *address, *authority, *leaf;
        bool insecure;
        const char *note; /* NULL: accepted */
    } rows[] = {
        {"127.0.0.1:7001", NULL, NULL, true, NULL},
        {"127.8.9.10:1", NULL, NULL, true, NULL},
        {"localhost:7001", NULL, NULL, true, NULL},
        {"dns:///localhost:7001", NULL, NULL, true, NULL},
        {"[::1]:7001", NULL, NULL, true, NULL},
        {"ipv4:127.0.0.1:1,127.0.0.2:2", NULL, NULL, true, NULL},
        {"unix:/run/posward", NULL, NULL, true, NULL},
        {"ipv4:127.0.0.1:1,10.0.0.2:2", NULL, NULL, true, "not on loopback"},
        {"0.0.0.0:7001", NULL, NULL, true, "not on loopback"},
        {"[::]:7001", NULL, NULL, true, "not on loopback"},
        {"10.0.0.1:7001", NULL, NULL, true, "not on loopback"},
        {"127.0.0.1.example.com:7001", NULL, NULL, true, "not on loopback"},
        {"127.example.com:7001", NULL, NULL, true, "not on loopback"},
        {"127.1:7001", NULL, NULL, true, "not on loopback"},
        {"128.0.0.1:7001", NULL, NULL, true, "not on loopback"},
        {"ipv4:127.0.0.1:1,", NULL, NULL, true, "not on loopback"},
        {"localhost.example.com:7001", NULL, NULL, true, "not on loopback"},
        {"dns:///example.com:7001", NULL, NULL, true, "not on loopback"},
        {"", NULL, NULL, true, "not on loopback"},
        {"127.0.0.1:7001", NULL, NULL, false, "tls.insecure"},
        {"127.0.0.1:7001", "ca", "server", true, "exclude each other"},
        {"0.0.0.0:7001", "ca", "server", false, NULL},
        {"0.0.0.0:7001", "ca", NULL, false, NULL},
        {"0.0.0.0:7001", "missing", "server", false, "cannot be read"},
        {"0.0.0.0:7001", "ca", "missing", false, "cannot be read"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct identity identity;
        struct rpc_tls tls = identity_of(&identity, rows[i].authority, rows[i].leaf);
        tls.insecure = rows[i].insecure;
        struct err e = {0};
        const enum err_code code = rpc_tls_check(&tls, rows[i].address, &e);
        ck_assert_msg(code == (rows[i].note == NULL ? ERR_OK : ERR_INPUT), "row %zu: %s", i, e.note);
        if (rows[i].note != NULL)
            ck_assert_msg(strstr(e.note, rows[i].note) != NULL, "row %zu: %s", i, e.note);
    }
}
END_TEST

START_TEST(tls_check_wants_a_pair_that_fits)
{
    struct identity identity, other;
    struct err e = {0};
    struct rpc_tls tls = identity_of(&identity, "ca", "server");
    (void)identity_of(&other, "ca", "named");
    tls.key_path = NULL;
    ck_assert_int_eq(rpc_tls_check(&tls, "x:1", &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "tls.key is missing"));
    tls.key_path = other.key;
    ck_assert_int_eq(rpc_tls_check(&tls, "x:1", &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "is not that of the certificate"));
    tls.key_path = identity.cert;
    ck_assert_int_eq(rpc_tls_check(&tls, "x:1", &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "no PEM private key"));
    tls.key_path = identity.key;
    tls.ca_path = identity.key;
    ck_assert_int_eq(rpc_tls_check(&tls, "x:1", &e), ERR_INPUT);
    ck_assert_ptr_nonnull(strstr(e.note, "no PEM certificate"));
}
END_TEST

START_TEST(tls_check_of_a_server_wants_client_certificates_off_loopback)
{
    static const struct {
        const char *listen, *authority, *leaf;
        const char *note; /* NULL: accepted */
    } rows[] = {
        {"0.0.0.0:7001", "ca", "server", NULL},    {"0.0.0.0:7001", NULL, "server", "tls.ca is missing"},
        {"10.0.0.1:7001", NULL, "server", "mTLS"}, {"[::]:7001", "ca", NULL, "tls.cert is missing"},
        {"127.0.0.1:7001", NULL, "server", NULL},  {"[::1]:7001", NULL, "server", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct identity identity;
        const struct rpc_tls tls = identity_of(&identity, rows[i].authority, rows[i].leaf);
        struct err e = {0};
        const enum err_code code = rpc_tls_check_server(&tls, rows[i].listen, &e);
        ck_assert_msg(code == (rows[i].note == NULL ? ERR_OK : ERR_INPUT), "row %zu: %s", i, e.note);
        if (rows[i].note != NULL)
            ck_assert_msg(strstr(e.note, rows[i].note) != NULL, "row %zu: %s", i, e.note);
    }
}
END_TEST

START_TEST(server_and_channel_refuse_plain_text_off_loopback)
{
    struct rpc_server_options options = echo_options();
    options.listen = "0.0.0.0:0";
    struct rpc_server *server = NULL;
    struct err e = {0};
    ck_assert_int_eq(rpc_server_new(&options, &server, &e), ERR_INPUT);
    options.listen = "127.0.0.1:0";
    options.tls.insecure = false;
    ck_assert_int_eq(rpc_server_new(&options, &server, &e), ERR_INPUT);
    struct rpc_channel *channel = NULL;
    const struct rpc_channel_options away = {.target = "192.0.2.1:7001", .tls.insecure = true};
    ck_assert_int_eq(rpc_channel_new(&away, &channel, &e), ERR_INPUT);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("tls");
    TCase *tc = tcase_create("tls");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, make_once, remove_all);
    tcase_add_test(tc, mutual_tls_proves_who_calls);
    tcase_add_test(tc, who_may_not_connect_is_refused_in_the_handshake);
    tcase_add_test(tc, tls_without_client_certificates_has_no_identity);
    tcase_add_test(tc, server_name_is_checked);
    tcase_add_test(tc, plain_text_client_is_refused_by_a_tls_server);
    tcase_add_test(tc, renewed_certificate_is_taken_and_a_broken_one_is_not);
    tcase_add_test(tc, authorities_change_over_while_calls_go_on);
    tcase_add_test(tc, channel_takes_a_renewed_certificate_and_not_a_broken_one);
    tcase_add_test(tc, tls_check_wants_matching_settings);
    tcase_add_test(tc, tls_check_wants_a_pair_that_fits);
    tcase_add_test(tc, tls_check_of_a_server_wants_client_certificates_off_loopback);
    tcase_add_test(tc, server_and_channel_refuse_plain_text_off_loopback);
    suite_add_tcase(s, tc);
    return s;
}

SUITE_MAIN(suite())
