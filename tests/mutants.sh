#!/bin/sh
# Breaks one rule of restate.h after the other, in all of its sections but C++, and tells which test notices. A rule
# that can be broken unnoticed makes this fail.
#
#   tests/mutants.sh [PART]           those with PART in "SECTION: RULE": 'json: ', 'limit', ...
#   tests/mutants.sh --made           only makes them: 2 if the code of one has changed meanwhile
#
# A mutant is a line below: function | what is in it once | what it becomes | the rule that is broken. Before \| it
# is no separator, and a backslash of the code is two. Each is tried in a copy of the sources, in build/mutants, with
# the unit tests of its section, until one fails. clang compiles them, if it is there and CC is not set: it takes a
# third of the time of gcc.
set -eu
cd "$(dirname "$0")/.."

# The unit tests that judge a function. Those that are quick come first.
units_of() { # SECTION FUNCTION
    case $1-$2 in
        bytes-*) echo unit_bytes unit_context_calls unit_test ;;
        memory-*) echo unit_wire unit_context_payloads unit_stream unit_memory ;;
        clock-*) echo unit_clock unit_log ;;
        log-*) echo unit_log unit_endpoint unit_server_limits ;;
        wire-*) echo unit_wire unit_journal unit_journal_errors unit_context_failures unit_context_payloads ;;
        execution-*) echo unit_execution unit_execution_canary unit_execution_crash unit_context_stop unit_context_runs ;;
        context-*) (cd tests && printf '%s\n' unit_context*.c | sed 's/\.c$//') ;;
        json-restate__codec_* | json-restate_*code) echo unit_context_payloads unit_rpc ;;
        json-*) echo unit_json unit_context_payloads ;;
        endpoint-restate__exchange_[isu]*) echo unit_identity unit_endpoint unit_stream unit_server_stop ;;
        endpoint-restate__exchange_arriving) echo unit_server_limits ;;
        endpoint-*) echo unit_endpoint unit_stream unit_server ;;
        http2-*_sweep | http2-*_recv) echo unit_server_stop ;;
        http2-*) echo unit_stream unit_server unit_server_limits unit_server_stop ;;
        tls-*client* | tls-*host) echo unit_client_tls ;;
        tls-* | server-*tls* | server-*_preface) echo unit_server_tls ;;
        server-restate__srv_drain) echo unit_process ;;
        server-*) echo unit_server unit_server_limits unit_server_stop ;;
        client-*) echo unit_client_context unit_client_closures unit_client_faults unit_client ;;
        record-*) echo unit_record unit_record_check ;;
        test-*) echo unit_test unit_test_explore ;;
        journal-*) (cd tests && printf '%s\n' unit_journal*.c unit_context*.c | sed -e '/_growth/d' -e 's/\.c$//') ;;
        *) echo "unit_$1" ;;
    esac
}
mutants() {
    cat <<'LIST'
restate__journal_page|j->last = j->last->next = p;|p->next = j->none.next; j->none.next = j->last = p;|notifications are delivered in the order of the journal
restate__vm_init|vm->next_completion = 1;|vm->next_completion = 0;|completion ids are counted from 1
restate__vm_completes|vm->next_completion++|vm->next_completion|each answered command takes a completion id
restate__vm_call_invocation|vm->next_completion + 1|vm->next_completion + 2|a call takes two ids, its invocation's first
restate__vm_init|vm->next_signal = RESTATE__SIGNAL_FIRST;|vm->next_signal = RESTATE__SIGNAL_FIRST - 1;|awakeables have the signals from 17 on
restate__state_clear_all|s->partial = false;|s->partial = s->partial;|state is complete after clear_all
restate__state_clear_all|s->entries = NULL;||nothing is left after clear_all
restate__state_change|e->value = restate__arena_copy(arena, value);|e->value = e->value;|a value that was written is read
restate__vm_await|if (with_cancel && vm->cancel_delivered) return|if (with_cancel && vm->cancel_delivered && root->state == RESTATE__PENDING) return|a cancellation that came first is told first
restate__vm_cancelled|vm->cancel_delivered--;||a cancellation is told once
restate__vm_deliver_any|vm->cancel_delivered++;|vm->cancel_delivered = 1;|each cancellation is told
restate__vm_arrived|if (slot->entry) {|if (false) {|the first result of a number wins
restate__vm_on_ack|if (slot->entry) return true;||protocol 7: a result that came before the acknowledgement wins
restate__vm_cancel_calls|vm->tracked = vm->cancelling = NULL;|vm->cancelling = NULL;|calls are cancelled once
restate__vm_track|*vm->tracked_end = t;|t->next = vm->tracked; vm->tracked = t; if (!t->next)|calls are cancelled in the order of their issue
restate__vm_cancelled|restate__wait w = restate__vm_cancel_calls(vm);|restate__wait w = restate__vm_wait(vm, RESTATE__READY);|a cancellation reaches the calls
restate__vm_propose_result|run->run = RESTATE__RUN_PROPOSED;|run->run = RESTATE__RUN_PROPOSED; restate__vm_settle(vm, run, keep);|protocol 7: a result counts when it is acknowledged
restate__vm_deliver_confirmed|run->of.closure.proposed|\&run->value|protocol 7: the acknowledged value is the proposed one
restate__vm_propose_result|v7 ? RESTATE__WIRE_ACK : 0|0|protocol 7: an acknowledgement is asked for
restate__vm_propose_retry|uint32_t count = known ? vm->retry_count : 0;|uint32_t count = vm->retry_count;|tries of earlier attempts count for the run they were of
restate__vm_propose_retry|p->max_attempts <= count|p->max_attempts < count|the first try counts
restate__vm_backoff|count > 1|count > 0|the first delay is the initial one
restate__vm_on_entry|vm->journal.entries == vm->journal.known|vm->journal.entries + 1 == vm->journal.known|the handler runs once the known journal is there
restate__vm_take|vm->phase = RESTATE__PROCESSING;|vm->phase = vm->phase;|processing begins with the last recorded command
restate__vm_command|if (recorded->type != kind->type)|if (false)|another command than the recorded one is a mismatch
restate__vm_compare|if (!*lines) return|if (*lines) return|a command that differs is a mismatch
restate__vm_end|if (vm->phase == RESTATE__REPLAYING)|if (false)|commands left over at the end are an error
restate__vm_patched|vm->phase != RESTATE__REPLAYING \|\| ||a patch is taken where nothing is recorded yet
restate__vm_marked|restate__b_is(item.bytes, marker)|item.bytes.len|a patch is taken by the marker of its name only
restate__vm_mark|vm->next_completion++;||a marker takes a completion id
restate__vm_patch_done|return !restate__vm_marked(vm, marker) \|\| |return |a patch that is done records nothing
restate__issue_patched|if (!p) {|if (true) {|the first call with the name of a patch decides
restate__vm_take_name|vm->naming = restate__b_none();||a name is for one operation
restate__vm_run|if (slot->entry) return true;||a run with a result is not executed again
restate__vm_propose|!slot \|\| slot->entry|!slot|a closure whose result came meanwhile proposes nothing
restate__vm_may_suspend|&& !vm->graph.executing||no suspension while a closure executes
restate__vm_suspend|vm->options.version < 7|vm->options.version < 8|protocol 7 says the whole tree
restate__node_child_settled|(last \|\| child->state == RESTATE__SUCCEEDED)|true|any goes on after a failure
restate__node_child_settled|} else if (last) {|} else {|all waits for all
restate__node_earlier|x->order < y->order|x->order > y->order|of settled children the first one decides
restate__vm_claim_by|name->delivered = signal->next;|name->delivered = 0;|a signal of a name is not lost to the one before
restate__vm_seed|vm->options.version >= 6 ? vm->random_seed : restate__vm_sha256_64(vm->id)|vm->random_seed|protocol 5: random numbers come from the id
restate__vm_random|sum << 23 \| sum >> 41|sum << 24 \| sum >> 40|random numbers are those of xoshiro256++
restate__vm_fail_run|vm->failing = true;|restate__vm_put_error(vm);|the error of a run waits for closures that execute
restate__vm_fail_run|pause = error->behavior == RESTATE__PAUSE|pause = false|of two errors of runs a pause is told
restate__graph_take_back|restate__graph_rewind(run);||a closure that left the queue is found by the next await
restate__graph_losers|restate__graph_wanted(g, c)|false|a closure has lost when all that it is part of is decided
restate__graph_decided|if (!g->executing \|\| n->listed) return;|if (n->kind) return;|what is decided tells closures that they have lost
restate__vm_failure_valid|RESTATE__METADATA, 6|RESTATE__METADATA, 5|metadata needs protocol 6
restate__map_add|restate__b_compare(key, (*at)->key) < 0|restate__b_compare(key, (*at)->key) > 0|state keys are kept in order
restate__vm_by_number|(x > y) - (x < y)|(x < y) - (x > y)|named signals come in the order of the journal
restate__edge_order|x->index > y->index|x->index < y->index|a future that is in a list twice is told by its places
restate__tree_note|n->mark = t->mark + 1;||what several combinators have is said beside the tree
restate__client_judge|!r->repeatable \|\| ||a refused request is repeated only if that does no harm
restate__client_judge|if (by_invocation) {|if (false) {|what an invocation says is final
restate__client_may_pass|status == 408|status == 404|only what may pass is tried again
restate__client_may_pass|status >= 500|status > 500|an error of the server may pass
restate__client_again|if (delay < least_ms) delay = least_ms;||a server that says when is asked no earlier
restate__client_again|r->tries >= p->max_attempts|r->tries > p->max_attempts|the client tries as often as it is told
restate__record_judge|!vm->journal.commands.left|true|a journal of which commands are left does not fit
restate__record_worse|than == RESTATE_FITS ? fit != RESTATE_FITS|than == RESTATE_FITS ? fit == RESTATE_DIFFERS|what cannot be told is worse than what fits
restate__record_check_seeds|!c->reader.record.restarted_from.len|true|random numbers after a restart: cannot tell
restate__record_route|*fit = RESTATE_DIFFERS;||a handler that is gone is a difference
restate__record_fault|if (damaged)|if (false)|an entry that cannot be decoded: cannot tell
restate__record_command|!number--|!--number|a difference names its entry
restate__test_enter|o->holder && o->holder != v|false|one exclusive handler of a key at a time
restate__test_leave|if (next->status == RESTATE__TEST_QUEUED)|if (false)|who waits for the key gets it
restate__test_kill|if (child->by == v && child->called)|if (false)|killing takes the children along
restate__due_before|a->at_ms < b->at_ms|a->at_ms > b->at_ms|timers come in the order of their times
restate__test_forgotten|v->party.server->now_ms - v->done_ms >= kept_ms|false|what is past its retention is forgotten
restate__test_look_up|order->idempotency_key.ptr|false|of two calls with one idempotency key the second finds the first
restate__test_retry|++v->policy_retries >= most|++v->policy_retries > most|the server tries as often as the policy says
restate__test_is_open|\|\| restate__test_is_marker(e)||nobody waits for the marker of a patch
restate__test_complete_promise|if (promise->result.tag)|if (false)|a promise is completed once
restate__test_breaks|t->places++;|t->places += 2;|the explorer breaks at every place
restate__test_breaks|v->broken = true;||an attempt that breaks is lost
restate__test_wrong|if (t->mismatch) return t->mismatch;||the explorer tells of another path
restate__test_judge|: restate__b_equal(e->outcome, outcome)|: true|the explorer compares outcomes
restate__test_put_outcome|paused ? " is paused" : " is open"|" -> "|what never finishes is in the outcome
restate__test_run_ways|i < 3|i < 1|the explorer suspends at every wait, too
restate__b_utf8|if (first == 0xED) high = 0x9F;||UTF-8 has no surrogates
restate__b_utf8|if (first == 0xE0) low = 0xA0;||UTF-8 has no overlong forms
restate__b_utf8|if (first == 0xF4) high = 0x8F;||UTF-8 ends at U+10FFFF
restate__b_harmless|at[2] >= 0xA8 && at[2] <= 0xAE|false|what a peer writes does not change the direction of a line
restate__b_compare|(a.len > b.len) - (a.len < b.len)|0|a state key that begins another one is a key of its own
restate__map_balance|r->level++;||a map does not become deep from keys that come in order
restate__b_invocation_id_fault|restate__b_base62_above(id + 5, most_64) \|\||false \|\||the id of an invocation stands for a number that fits
restate__b_scope_fault|n > 36|n > 37|a scope has at most 36 characters
restate__b_awakeable_id_fault|% 16|% 4|the unused bits in the id of an awakeable are zero
restate__b_awakeable_id_fault|n > digits + 2|n > digits + 3|the id of an awakeable has at most two characters of padding
restate__b_base64_read|(strict && bits & ((1u << text.len % 4 * 6 % 8) - 1u))|false|the unused bits in a part of a token are zero
restate__due_before|a->order < b->order|a->order > b->order|of timers for the same time the one set first comes first
restate__arena_copy|p[from.len] = 0;|p[from.len] = 'x';|a zero byte follows every copy of a text
restate__buf_write|restate__arena_contains(buf->stable, data, len)|true|only bytes that stay are sent from where they lie
restate__cache_give|*count + b->size > max|false|memory that is kept for reuse is bounded
restate__cache_find|(*at)->size / 2 <= size|true|a kept block is at most twice as large as what it is used for
restate__clock_since|now > from_ms ? now - from_ms : 0|now - from_ms|when a clock goes back no time has passed
restate__clock_date|- day / 146096u)|)|the last day of 400 years is the 29th of February
restate__log_wanted|level >= logger->to.level|level > logger->to.level|messages of the wanted level are written
restate__log_defaults|logger.level = RESTATE_LOG_INFO|logger.level = RESTATE_LOG_WARN|without a level, INFO is the least
restate__log_line|restate__b_clean(text, (size_t)(p - text), "");||a message does not control the terminal
restate__log_may|< limit->most|<= limit->most|of one kind, peers cause as many lines as the limit says
restate__log_may|RESTATE__STORE(&limit->lines, 0u, RELAXED);||a new window of time has room for lines again
restate__log_left_out|if (n)|if (false)|the log says how many lines were left out
restate__wire_varint_long|if (shift == 63 && byte > 1) break;||a number beyond 64 bits is refused
restate__wire_next|key < 8 \|\| |false \|\| |a field without a number is refused
restate__wire_next|len > (uint64_t)(r->end - r->at)|false|a length beyond the end of the message is refused
restate__wire_field_in|if (in->callback != restate__wire_source) return false;||bytes that come as a number are refused
restate__wire_field_in|PB_LTYPE(field->type) == PB_LTYPE_STRING && !restate__b_utf8(content)|false|a text of the server that is not UTF-8 is refused
restate__wire_entry|if (text && !restate__b_utf8(item.bytes)) return false;||a header of an invocation is UTF-8
restate__wire_code|code >= 100 && code < 400|code >= 200 && code < 400|a failure is not sent with a code that HTTP takes for no end
restate__wire_explicit|PB_HTYPE(field->type) == PB_HTYPE_ONEOF \|\| ||an empty value is written where none would mean something else
restate__row_get|if (any && restate__row_ousts(rows, row, item.tag)) any = false;||of the members of a oneof the last one counts
restate__wire_put|restate__wire_take_back(out, before, at, len);||when memory runs out no half of a frame stays
restate__json_number|if (*first == '0' && p > first + 1)|if (false)|a number has no leading zero
restate__json_open|i >= s->levels|i > s->levels|at most 100 levels are nested
restate__json_whole|most = (most >> 1) + d.negative;|most >>= 1;|the least integer of 64 bits can be read
restate__json_whole|if (digit) return "an integer";||a fraction is no integer
restate__json_escape|(low & 0xFC00u) == 0xDC00u|true|only a low surrogate completes a pair
restate__json_escape|if (s->strict && !s->zeros && *code == 0)|if (false)|a C string has no zero character inside
restate__json_document|return restate__json_space(s) == s->end \|\||return true \|\||nothing follows a document
restate__json_string|*p >= 0x20 && ||a control character in a string has to be escaped
restate__json_name|!s->found.ptr && ||of two members with one name the first counts
restate__json_step|if (!restate__json_document(&s))|if (false)|all of an array is checked before its first element is given
restate__json_double_of|n > (uint64_t)1 << 53|false|the nearest double is read also beyond 2^53
restate__json_find|if (!g->json.len) return RESTATE_OK;||empty bytes leave the default
restate__json_find|if (!s.found.ptr \|\| *s.found.ptr == 'n') return RESTATE_OK;|if (!s.found.ptr) return RESTATE_OK;|null leaves the default
restate__rpc_clear|if (out) memset(out, 0, rpc->out_size);||a call that fails leaves zeros
restate_rpc_given|if (restate__codec_is_json(codec)) return restate__b_none();||an empty payload is the message in which nothing is set
restate_rpc_attach|run.target.handler = NULL;||the run of a workflow is attached to by its key alone
restate_rpc_response|if (!out) return RESTATE_OK;||a reply that nobody looks at is not decoded
restate__id_claims|expires < now|expires <= now|a token is valid in the second in which it expires
restate__id_claims|begins > now|false|a token is not valid before its time
restate__id_claims|!restate__id_audience(restate__id_member(claims, "aud"), path)|false|a token is for one path
restate__id_token|!restate__id_is_string(restate__id_member(head, "alg"), "EdDSA")|false|no other algorithm signs
restate__id_base58|zeros == leading ? NULL|true ? NULL|a key has 32 bytes
restate__id_path|path = t.cut[2]|path = path|the prefix that a proxy adds to a path is not signed
restate__exchange_single|if (*value) return|if (false) return|a request with two signatures is refused
restate__exchange_unauthorized|route == RESTATE__ROUTE_HEALTH|false|a health check needs no signature
restate__exchange_unauthorized|"Unauthorized"|wrong|a caller is not told why its signature is not accepted
restate__exchange_header|name.len + value.len + 32|name.len + value.len|headers are limited as HTTP/2 counts them
restate__exchange_respond|if (restate__exchange_has_method(exchange, "HEAD")) body.len = 0;||the response to HEAD has no body
restate__exchange_admit|if (RESTATE__LOAD(&e->stops, RELAXED)) return false;||an endpoint that stops begins no invocation
restate__exchange_admit|< e->options.max_invocations|<= e->options.max_invocations|no more than max_invocations are under way
restate__exchange_admit|RESTATE__SUB(&e->invocations, 1, RELAXED);||a refused invocation does not count
restate__exchange_free|if (exchange->counted)|if (false)|an invocation that is over makes room for another
restate__ep_manifest_version|v > best|!best|discovery has the highest version that both sides know
restate__manifest_key|since > m->version && !m->too_new|false|an option that the server does not know yet is an error of discovery
restate__manifest_payload|!c->optional|true|an optional input is described as one
restate__ep_merge|if (near_->preload_keys && !near_->lazy_state) near_->lazy_state = RESTATE_ON;||preload_keys make state lazy
restate__ep_merge|if (!restate__policy_set(&near_->run_retry)) near_->run_retry = far_->run_retry;||handlers have the retry policy of their service
restate__ep_reserved|restate__ep_starts(name, "restate")|false|names that begin with restate are reserved
restate__ep_check_service|main_handlers == 1|main_handlers|a workflow has one main handler
restate__ep_check_handler|strcmp(other->name, h->name) == 0|false|two handlers of a service have two names
restate__shown_feed|bytes.len > max - p->len|false|a payload for the UI has at most max_message_bytes
restate__exchange_may_suspend|restate__vm_ready(&exchange->attempt->vm)|true|an invocation whose journal is not complete is not asked to suspend
restate__exchange_arriving|exchange->attempt->vm.phase == RESTATE__WAIT_REPLAY|false|a journal has request_timeout_ms to arrive
restate__h2_on_data|restate__h2_reset(h2, s, NGHTTP2_NO_ERROR);|{}|a peer that sends on and on after its response is stopped
restate__h2_on_data|return nghttp2_session_consume(session, id, len)|return s && s->exchange && nghttp2_session_consume(session, id, len)|data that is ignored opens the window of the connection again
restate__h2_count_reset|if (h2->resets) h2->resets--;|if (true) return;|a peer that causes resets without end is cut off
restate__h2_on_header|s->unread > RESTATE__H2_UNREAD_MAX|false|a block of headers does not go on for ever
restate__h2_on_frame_recv|restate__h2_goaway(h2);||the last GOAWAY of a drain follows the answer to its PING
restate__h2_sweep|now - h2->drain_at_ms >= RESTATE__H2_NOTICE_MS|false|the last GOAWAY comes also to a peer that does not answer
restate__h2_stream_due|+ s->arrived * 1000 / RESTATE__H2_RATE||a request that is slow but goes on is not cut off
restate__h2_stream_due|if (s->sending) {|if (false) {|a stream is reset that its peer does not read
restate__h2_open|o->max_streams }|o->max_streams + 1 }|peers are told how many streams they may have
restate_stream_feed|if (restate__stream_begun(stream)) restate__stream_turn(stream->all);|restate__stream_turn(stream->all);|an exchange that is whole begins when its request is complete
restate__stream_feed_exchange|if (s->input_over \|\| s->exchange->finished) return RESTATE_ENDED;||an exchange that is over takes nothing
restate__stream_take_exchange|exchange->finished && s->given == exchange->out.len|exchange->finished|the end is told with the last bytes
restate__stream_end_exchange|RESTATE__LOAD(&s->all->endpoint->stops, RELAXED);|false;|a stop in the middle of a journal cuts the attempt off
restate__stream_end_h2|restate__h2_goaway(&s->h2);||no exchange begins after the input has ended
restate__stream_elsewhere|a->closures.executing \|\| ||a take waits for a closure
restate__srv_full|< ep->options.max_connections|<= ep->options.max_connections|no more than max_connections are open
restate__conn_read_preface|if (restate__conn_is_strange(conn)) {|if (false) {|a port of TLS does not serve without TLS
restate__srv_tls_follow|if (restate__tls_sum(&tls->files) == tls->files.sum) return;|return;|a certificate that was replaced is used
restate__client_on_data|len > most \|\| r->arrived.len > most - len|false|a response has at most max_message_bytes
restate__client_on_header|r->field_bytes > RESTATE__CLIENT_LIST|false|the headers of a response are limited
restate__client_unanswered|(certain \|\| r->repeatable)|true|what may have arrived is not sent again
restate__client_sent|strcmp(how, "PreviouslyAccepted") == 0|false|a send tells that the server had it already
restate__client_put_sql|restate__json_put_text(o, "\\'\\'");||a quote in a key does not end the text of a query
restate__fiber_kept|(*at)->stack_bytes != bytes|false|a kept stack is used for handlers of its size
restate__fiber_free_switched|pool->kept_count < pool->kept_max|true|no more stacks are kept than the limit says
restate__worker_post|if (!head && w->wake)|if (w->wake)|of several posts the first one wakes
restate__worker_turn|n < RESTATE__WORKER_TURN_MAX|n < 4 * RESTATE__WORKER_TURN_MAX|a turn is bounded
restate__worker_collect|while (note) {|turned = note; while (false) {|what was posted is delivered in its order
restate__pool_withdraw|if (queued) restate__pool_unlink(pool, job);||a closure that was withdrawn is not executed
restate__pool_next|restate__pool_call(pool);||closures do not wait for one another
restate__pool_grow|pool->threads >= pool->threads_max|pool->threads > pool->threads_max|closures have no more threads than pool_threads
restate__handler_resolve|if (h->shared) h->forbids \|= RESTATE__RULE_WRITES;||a shared handler does not write state
restate__handler_resolve|if (h->kind == RESTATE_SERVICE) h->forbids \|= RESTATE__RULE_KEYED;||a plain service has no state
restate__handler_resolve|if (h->kind != RESTATE_WORKFLOW) h->forbids \|= RESTATE__RULE_WORKFLOW;||only workflows have durable promises
restate__op_texts_valid|op->rules & RESTATE__RULE_PRESENT && !in->value.ptr|false|a state value that is absent is not written
restate__op_check_id|if (!fault) return RESTATE_OK;|return RESTATE_OK;|a wrong id fails the call, and not the attempt
restate__ctx_enter|if (ctx->run) {|if (false) {|a closure journals nothing
restate__issue_run|memcpy(f->arg, r->arg, o->arg_bytes);||the argument of a closure is copied
restate__ctx_later|delay_ms > (uint64_t)INT64_MAX - now_ms|false|a sleep for too long is the longest
restate__run_left_ms|left = spent < r->future->timeout_ms ? r->future->timeout_ms - spent : 0;||a closure past its timeout is told to stop
restate__run_left_ms|if (!failed_at) return left;|return left;|closures beside a failed one are told to stop
restate__h2_open|RESTATE__HEADER_BYTES_MAX }|2 * RESTATE__HEADER_BYTES_MAX }|peers are told how large headers may be
restate__conn_look|if (conn->pending.len &&|if (false &&|a peer that does not read is disconnected
restate__conn_look|if (!conn->h2.begun &&|if (false &&|a peer that does not begin HTTP/2 is disconnected
restate__conn_ping|return conn->asked_ms &&|return false &&|a silent peer that does not answer PING is disconnected
restate__srv_watch|stops > 1 \|\| ||the second stop cuts off
restate__srv_watch|now >= server->phase_until_ms|false|a drain takes at most drain_ms
restate__srv_watch|restate__srv_unlisten(server);||an endpoint that stops accepts no connection
restate__srv_pick|held ? best_held && n < fewest : best_held \|\| n < fewest|i == 0|a connection goes to the loop with the fewest
restate__srv_pick|bool held = restate__srv_held(server, &server->loops[at]);|bool held = false;|a loop that a handler holds gets no connection
restate__conn_respond_http1|(head ? 3 : 1)|1|a health check with HEAD gets no body
restate__loop_enter|else restate__h2_cut(&conn->h2);|else {}|streams are reset when a drain takes too long
restate__tls_demand|SSL_VERIFY_PEER \| SSL_VERIFY_FAIL_IF_NO_PEER_CERT|SSL_VERIFY_PEER|a peer without a certificate is refused where it needs one
restate__tls_recv|if (reads < RESTATE__TLS_READS) {|if (true) {|new keys again and again do not hold the loop
restate__tls_select|return SSL_TLSEXT_ERR_ALERT_FATAL;|return SSL_TLSEXT_ERR_NOACK;|a peer that offers only other protocols is refused
restate__tls_init_client|SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);||a client trusts only certificates of CAs that it knows
restate__proc_pick|w->conns < best->conns|w->conns > best->conns|a connection goes to the worker process with the fewest
restate__proc_failed|ms *= 2;||the pause before another worker process doubles
restate__proc_follow|p->phase == RESTATE__PHASE_KILLED &&|false &&|the third signal kills
restate__proc_take_back|? restate__proc_pick(p) : NULL|? NULL : NULL|a connection that a worker cannot take goes to another one
restate__client_look|now - conn->asked_ms >= RESTATE__CLIENT_ALIVE_MS|false|a server that does not answer PING is given up
restate__client_room|conn->goaway \|\| ||no request goes to a connection that the server ends
restate__client_needs|to->conn_count < h->connections|true|a client has at most as many connections as it is told
restate__client_expire_one|restate__client_fail(r, RESTATE_TIMEOUT, &failure);|restate__client_fail(r, RESTATE_ERROR, &failure);|no response in time is a timeout
restate__client_wait|if (c->client->calling)|if (false)|a function that is called for a future does not wait
restate_reply|if (!ctx->run && ctx->attempt->handler->no_output) {|if (false) {|a handler without output replies with no bytes
restate__ctx_sort_keys|if (n) qsort(|if (false) qsort(|the keys of the state are sorted
restate__locks_held|if (h->takers)|if (false)|whom a handler calls is told the key that it holds
restate__ctx_leave|a->vm.out->len > restate__worker_out_max(a->worker)|false|output that nobody fetches holds its handler back
restate__ctx_keep_failure|if (twice)|if (false)|the metadata of a failure has each name once
restate__ctx_random_ready|if (!q->random_ready)|if (true)|random numbers go on
restate__ctx_json_code|? 400|? 500|input that cannot be read is the fault of the caller
restate__watch_all|if (!left) restate__watch_ring(w);|if (!left) w->rung = true;|a descriptor tells a closure to stop
restate__proto_wide|field->kind == RESTATE__PROTO_KIND_INT64 \|\| ||JSON has numbers of 64 bits as texts
restate__proto_scan_item|if (n > INT32_MAX) return|if (false) return|the value of an enum is a number of 32 bits
restate__proto_scan_item|if (at) return|if (false) return|a text with a zero byte does not become a C string
restate__proto_narrow|!(size < 3.4028235677973366e38)|false|a number beyond the range of float is refused
restate__proto_time_valid|return t->nanos == 0 \|\||return true \|\||the parts of a duration have one sign
restate__proto_timestamp|part[0] < 1 \|\| n != (size_t)(p - begin) \|\| memcmp(begin, again, n) != 0|false|a day that no calendar has is refused
restate__proto_timestamp|(zone == '-' ? 1 : -1)|(zone == '-' ? -1 : 1)|the offset of a time is taken off it
restate__proto_mask_path_valid|if ((c >= 'A' && c <= 'Z') \|\| c == ',') return false;||a path of a mask that JSON cannot have is refused
restate__proto_put_list|if (map && restate__proto_again|if (false && restate__proto_again|of two entries of a map with one key the last one counts
restate__proto_get_bytes|fixed ? len != room && len : len > room|false|bytes that do not fit are refused
restate__proto_count_valid|*(const pb_size_t *)i->pSize <= i->array_size|true|a list with more elements than fit is not encoded
restate__proto_named|if (restate__b_is(name, from)) return true;||JSON may have the name of a field as the .proto file has it
restate__record_add|index != to->count|false|an entry that is missing is told
restate__record_add|!index && e.type != restate_wire_MSG_INPUT_COMMAND|false|a journal begins with the input
restate__record_cut|most && (text.ptr[most] & 0xC0u) == 0x80u|false|a text is cut between two characters
restate__record_put_line|text.ptr[i] >= ' ' \|\| !special|true|a payload is shown in one line
restate__record_sort|(t->by_id[i]->n.signal && t->by_id[i]->n.id == RESTATE__SIGNAL_CANCEL)|false|each cancellation is shown
restate__record_next_row|if (!restate__b_equal(row.id, r->record.id)) {|if (false) {|the rows of another invocation are another journal
restate__test_jump|t->options.start_ms + t->options.max_ms|UINT64_MAX|the clock of a test stops at max_ms
restate__exchange_refuse_text|text = restate__arena_clean(&exchange->arena, text, "");||a refusal does not repeat the control characters of a peer
restate__exchange_discover|if (version > m.version) m.version = version;|m.version = version;|two accept headers are one list
restate__exchange_drained|restate__worker_later(exchange->worker, &a->turn);|{}|a handler goes on when its output was sent
restate__conn_read_http1|++hello->head_len > RESTATE__LOOP_HEAD|false|the head of a request in HTTP/1 is limited
restate__tls_for_host|SSL_set1_host(ssl, host)|true|a client trusts only the certificate of the host
restate__srv_drain|if (!RESTATE__EXCHANGE(bool, &ep->drains, true, SEQ_CST))|if (true)|a stop that comes twice, as signal and by the supervisor, counts once
LIST
}

# `from` becomes `to` in a function, where it has to stand exactly once.
mutate() { # FUNCTION FROM TO <SOURCE >MUTANT
    awk -v name="$1" -v from="$2" -v to="$3" '
        /^(static|RESTATE__PRIVATE|RESTATE_API)/ && !within { head = ""; within = "head" }
        within == "head" { head = head $0 }
        within == "body" && $0 == "}" {
            at = index(body, from)
            if (!at || index(substr(body, at + 1), from)) exit 1
            printf "%s", substr(body, 1, at - 1) to substr(body, at + length(from))
            within = "rest"
        }
        within == "body" { body = body $0 "\n" }
        within != "body" { print }
        within == "head" && /[;{]/ { within = head ~ "[ *]" name "\\([^;{]*\\) \\{$" ? "body" : "" }
        END { exit within != "rest" }'
}

# The section of each function in the list, by the banners; its text is kept.
sections() { # <SOURCE
    awk -v list="$build/list" -v texts="$build/functions/" '
        BEGIN { while ((getline line < list) > 0) { sub(/\|.*/, "", line); wanted[line] = 1 } }
        /^\/\/ >>/ { section = substr($2, 3) }
        /^(static|RESTATE__PRIVATE|RESTATE_API)/ { text = head = name = ""; within = 1 }
        within { text = text $0 "\n" }
        within && !name {
            head = head $0
            if (!/[;{]/) next
            within = head ~ /\) \{$/
            name = head
            sub(/\(.*/, "", name)
            sub(/.*[ *]/, "", name)
            if (!(name in wanted)) within = 0
        }
        within && $0 == "}" {
            within = 0
            delete wanted[name]
            print name, section
            printf "%s", text >(texts name)
            close(texts name)
        }'
}

build=build/mutants
[ "${1-}" != --made ] || build=build/mutants-made
rm -rf "$build"
mkdir -p "$build/functions"
cp -r Makefile restate_wire.h tests examples proto "$build/"
mutants >"$build/list"
sections <restate.h >"$build/sections"
log=$build/log
[ -n "${CC-}" ] || ! command -v clang >/dev/null || export CC=clang

# The first unit whose tests notice, and the first of these; or the one at which it ended.
noticed_by() { # SECTION FUNCTION
    for unit in $(units_of "$1" "$2"); do
        program=build/mutants/$unit
        ${MAKE:-make} -s -C "$build" "$program" CFLAGS= ${CC:+"CC=$CC"} >"$log" 2>&1 || { echo "does not compile"; return; }
        if timeout 60 "$build/$program" -v -1 >"$log" 2>&1; then continue; fi
        test=$(sed -n 's/^FAILED [a-z_]* //p' "$log" | head -n 1)
        [ -n "$test" ] || test="$(grep -x '[a-z][a-z0-9_]*' "$log" | tail -n 1), by signal or time"
        echo "$unit: $test"
        return
    done
}

made=false part=${1-} caught=0 missed=0
if [ "$part" = --made ]; then made=true part=; fi
while IFS= read -r line; do
    rule=${line##*|}
    function=${line%%|*}
    section=$(sed -n "s/^$function //p" "$build/sections" | tail -n 1)
    case "$section: $rule" in *"$part"*) ;; *) continue ;; esac
    line=$(printf '%s\n' "${line%|*}" | sed 's/\\|/\a/g')
    line=${line#*|}
    from=$(printf '%s' "${line%%|*}" | tr '\a' '|') to=$(printf '%s' "${line#*|}" | sed 's/\\&/\&/g' | tr '\a' '|')
    source=restate.h
    $made && source=$build/functions/$function
    # shellcheck disable=SC2094
    if ! mutate "$function" "$from" "$to" <"$source" >"$build/restate.h"; then
        echo "mutants: $function has not exactly one \"$from\" any more" >&2
        $made || exit 2
        missed=$((missed + 1))
    fi
    $made && continue
    by=$(noticed_by "$section" "$function")
    case $by in
        "") missed=$((missed + 1)); echo "NOT NOTICED  $section: $rule" ;;
        "does not compile") missed=$((missed + 1)); echo "mutants: $function: \"$to\" does not compile" >&2; cat "$log" >&2 ;;
        *) caught=$((caught + 1)); printf '%-84s %s\n' "$section: $rule" "$by" ;;
    esac
done <"$build/list"
$made || echo "mutants: $caught noticed, $missed not"
[ "$missed" = 0 ] || exit 2
