/* Approval by a link in a mail: reminders, an expiry, and a page with two buttons.
 *
 * Build, in the directory of restate.h:
 *     cc -I. examples/webhook.c -o webhook -lnghttp2 -lcjson -lprotobuf-nanopb -lpthread
 * Run it (on port 9080, or on the one that the environment variable PORT names). Mails go to
 * standard output, or to the file that MAILBOX names; INGRESS is where links lead to, the address
 * of the server as people see it (http://localhost:8080):
 *     ./webhook
 * Register it with a Restate server, once, by one of these:
 *     restate deployments register http://localhost:9080
 *     curl localhost:9070/deployments --json '{"uri": "http://localhost:9080"}'
 * Claim an expense through the server; with /send behind it the call does not wait:
 *     curl localhost:8080/Expenses/claim --json \
 *         '{"who": "ada@example.com", "boss": "grace@example.com", "what": "a train ticket"}'
 * Open the link of the mail in a browser, or do what its buttons do (ID as in the link):
 *     curl -X POST localhost:8080/Link/ID/approve
 *     curl localhost:8080/Link/ID/reject -H 'content-type: text/plain' -d 'reason=too expensive'
 * A program can complete the awakeable itself, without the page:
 *     curl -X POST localhost:8080/restate/awakeables/ID/resolve
 *     curl localhost:8080/restate/awakeables/ID/reject -d 'too expensive'
 * For a try in less time, add "remindMillis": 5000 to the claim: three mails, then it expires.
 *
 *   This dies               and then
 *   this program, kill -9   mails that were sent are not sent again; the wait goes on, and timers
 *                           that ended meanwhile have ended. A click meanwhile waits for the program
 *                           (a completed awakeable does not have to). A mail that was under way may
 *                           be sent twice, with the same Message-ID: mail programs show it once
 *   the Restate server      clicks fail until it is back; nothing is lost
 *
 * The link only shows the page, and the buttons decide: programs that scan mails follow links. Who
 * has the id can decide; it can be computed from the invocation's id, so give that id to nobody who
 * may not approve. */
#define RESTATE_IMPLEMENTATION
#include "restate.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Mail --------------------------------------------------------------------------------------- */

typedef struct mail {
    const char *id;                         /* the same if it is sent again */
    const char *to, *subject, *text;
} mail;

/* Replace this by your mail transport: it may block. False: it is to be tried again. */
static bool deliver(const mail *m) {
    const char *path = getenv("MAILBOX");
    FILE *box = path ? fopen(path, "a") : stdout;
    bool ok = box != NULL;
    if (box) {
        ok = fprintf(box, "To: %s\nSubject: %s\nMessage-ID: <%s@expenses.example>\n\n%s\n\n",
                     m->to, m->subject, m->id, m->text) > 0 && fflush(box) == 0;
        if (path) ok = fclose(box) == 0 && ok;
    }
    return ok;
}

static restate_status send_mail(restate_ctx *run, void *arg) {
    const mail *m = arg;
    return deliver(m) ? RESTATE_OK : restate_retry(run, NULL, "no mail to %s", m->to);
}

/* ---- Links: an object for each, its key is the id of the awakeable ------------------------------- */
/* State while a link is open: "what", the text that its page shows. One handler at a time decides,
 * so what the page says is what happens. */

/* For the page: text of others must not become part of it. */
static const char *escape(restate_ctx *ctx, const char *text) {
    char *escaped = restate_alloc(ctx, 6 * strlen(text) + 1), *to = escaped;
    if (!escaped) return "";
    for (; *text; text++) {
        const char *as = *text == '<' ? "&lt;" : *text == '&' ? "&amp;" : *text == '"' ? "&quot;" : NULL;
        if (as) to += sprintf(to, "%s", as);
        else *to++ = *text;
    }
    return escaped;
}

static restate_status reply_page(restate_ctx *ctx, const char *body) {
    return restate_reply(ctx, restate_str(restate_text(ctx,
        "<!DOCTYPE html><meta charset=\"utf-8\"><title>Expenses</title><p>%s</p>\n", body)));
}

static restate_status open_link(restate_ctx *ctx, restate_bytes input) {
    return restate_set(ctx, "what", input);
}

/* Whether it was still open. */
static restate_status close_link(restate_ctx *ctx, restate_bytes input) {
    restate_bytes what;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "what", &what));
    RESTATE_TRY(restate_clear(ctx, "what"));
    return restate_reply(ctx, restate_json(ctx, what.ptr ? "true" : "false"));
}

static restate_status show_page(restate_ctx *ctx, restate_bytes input) {
    const char *text = NULL;
    restate_bytes what;
    (void)input;
    RESTATE_TRY(restate_get(ctx, "what", &what));
    RESTATE_TRY(restate_json_string(ctx, what, NULL, &text));
    if (!text) return reply_page(ctx, "This link is over: decided already, or expired.");
    return reply_page(ctx, restate_text(ctx, "%s</p><form method=\"post\" enctype=\"text/plain\">"
        "<button formaction=\"approve\">Approve</button> <input name=\"reason\"> "
        "<button formaction=\"reject\">Reject</button></form><p>", escape(ctx, text)));
}

/* What the form sends: "reason=too expensive\r\n". */
static const char *read_reason(restate_ctx *ctx, restate_bytes form) {
    static const char field[] = "reason=";
    const char *all = restate_text(ctx, "%.*s", RESTATE_ARG(form));
    const char *reason = strncmp(all, field, strlen(field)) == 0 ? all + strlen(field) : "";
    int len = (int)strcspn(reason, "\r\n");
    return len ? restate_text(ctx, "%.*s", len, reason) : "no reason given";
}

static restate_status decide(restate_ctx *ctx, const restate_failure *rejected) {
    restate_bytes what;
    RESTATE_TRY(restate_get(ctx, "what", &what));
    if (!what.ptr) return reply_page(ctx, "Too late: decided already, or expired.");
    RESTATE_TRY(restate_clear(ctx, "what"));
    if (rejected) RESTATE_TRY(restate_reject(ctx, restate_key(ctx), rejected));
    else RESTATE_TRY(restate_resolve(ctx, restate_key(ctx), restate_json(ctx, "true")));
    return reply_page(ctx, rejected ? "Thank you. It is rejected." : "Thank you. It is approved.");
}

static restate_status approve(restate_ctx *ctx, restate_bytes input) {
    (void)input;
    return decide(ctx, NULL);
}

static restate_status reject(restate_ctx *ctx, restate_bytes input) {
    return decide(ctx, &(restate_failure){ .code = 403, .message = read_reason(ctx, input) });
}

/* ---- Expenses ----------------------------------------------------------------------------------- */

enum { MAILS = 3 };                         /* the first one and two reminders */

typedef struct claim {
    const char *who, *boss, *what, *link;
    long long remind_ms;
} claim;

static restate_status read_claim(restate_ctx *ctx, restate_bytes input, claim *c) {
    RESTATE_TRY(restate_json_string(ctx, input, "who", &c->who));
    RESTATE_TRY(restate_json_string(ctx, input, "boss", &c->boss));
    RESTATE_TRY(restate_json_string(ctx, input, "what", &c->what));
    RESTATE_TRY(restate_json_int(ctx, input, "remindMillis", &c->remind_ms));
    if (!c->who || !c->boss || !c->what) return restate_fail(ctx, 400, "who, boss or what is missing");
    return c->remind_ms < 0 ? restate_fail(ctx, 400, "remindMillis is %lld", c->remind_ms) : RESTATE_OK;
}

static restate_target link_to(const claim *c, const char *handler) {
    return (restate_target){ .service = "Link", .handler = handler, .key = c->link };
}

static restate_status ask(restate_ctx *ctx, const claim *c, int number) {
    const char *ingress = getenv("INGRESS");
    mail m = { .id = restate_text(ctx, "%s-%d", c->link, number), .to = c->boss };
    m.subject = restate_text(ctx, "%sMay %s have %s?", number > 1 ? "Reminder: " : "", c->who, c->what);
    m.text = restate_text(ctx, "Decide here, this is mail %d of %d:\n%s/Link/%s/page", number, MAILS,
                          ingress ? ingress : "http://localhost:8080", c->link);
    return restate_run(ctx, "ask", send_mail, &m, NULL, NULL);
}

/* Until there is a decision, which is RESTATE_OK, or a failure that has the reason. */
static restate_status ask_and_wait(restate_ctx *ctx, const claim *c, restate_future *decision) {
    restate_status s = RESTATE_TIMEOUT;
    bool open = true;
    restate_bytes was_open;
    for (int number = 1; number <= MAILS && s == RESTATE_TIMEOUT; number++) {
        RESTATE_TRY(ask(ctx, c, number));
        s = restate_await_for(ctx, decision, (uint64_t)c->remind_ms, NULL);
    }
    if (s == RESTATE_ENDED) return s;
    if (s != RESTATE_TIMEOUT) {             /* decided, or cancelled: the link is of no use any more */
        restate_send(ctx, link_to(c, "close"), (restate_bytes){0}, NULL);
        return s;
    }
    RESTATE_TRY(restate_call(ctx, link_to(c, "close"), (restate_bytes){0}, NULL, &was_open));
    RESTATE_TRY(restate_json_bool(ctx, was_open, NULL, &open));
    if (!open) return restate_await(ctx, decision, NULL);   /* a click in the last moment counts */
    return RESTATE_TIMEOUT;
}

static restate_status claim_expense(restate_ctx *ctx, restate_bytes input) {
    claim c = { .remind_ms = (long long)RESTATE_DAYS(1) };
    restate_future *decision;
    const char *how, *why = NULL;
    restate_status s;
    mail m;
    RESTATE_TRY(read_claim(ctx, input, &c));
    decision = restate_awakeable(ctx, &c.link);
    RESTATE_TRY(restate_call(ctx, link_to(&c, "open"), restate_json(ctx, "%s",
        restate_text(ctx, "May %s have %s?", c.who, c.what)), NULL, NULL));

    s = ask_and_wait(ctx, &c, decision);
    if (s == RESTATE_CANCELLED || s == RESTATE_ENDED) return s;
    how = s == RESTATE_OK ? "approved" : s == RESTATE_TIMEOUT ? "expired" : "rejected";
    if (s == RESTATE_TERMINAL) why = restate_failed(ctx)->message;

    m = (mail){ .id = restate_text(ctx, "%s-answer", c.link), .to = c.who, .text = why ? why : "" };
    m.subject = restate_text(ctx, "Your claim for %s: %s", c.what, how);
    RESTATE_TRY(restate_run(ctx, "answer", send_mail, &m, NULL, NULL));
    return restate_reply(ctx, restate_json(ctx, "{'decision': %s, 'why': %s}", how, why));
}

static const restate_service expenses = { .name = "Expenses", .handlers = RESTATE_HANDLERS(
    { .name = "claim", .fn = claim_expense }) };

#define PRIVATE .options = { .ingress_private = RESTATE_ON }
static const restate_codec html = { .content_type = "text/html; charset=utf-8" };
static const restate_codec form = { .content_type = "text/plain", .optional = true };
static const restate_service links = { "Link", RESTATE_OBJECT, .handlers = RESTATE_HANDLERS(
    { .name = "open", .fn = open_link, .output = RESTATE_VOID, PRIVATE },
    { .name = "close", .fn = close_link, .input = RESTATE_VOID, PRIVATE },
    { .name = "page", .fn = show_page, .shared = true, .input = RESTATE_VOID, .output = &html },
    { .name = "approve", .fn = approve, .input = &form, .output = &html },
    { .name = "reject", .fn = reject, .input = &form, .output = &html }) };

int main(void) {
    const char *port = getenv("PORT");
    return restate_serve(&(restate_endpoint_options){
        .services = RESTATE_SERVICES(&expenses, &links),
        .port = (uint16_t)(port ? atoi(port) : 9080) });
}
