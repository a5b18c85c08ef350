//! The reference state machine (the crate restate-sdk-shared-core), driven by lines of text.
//!
//! Reads a line from standard input, does what it says, and answers by one line:
//!
//!     ANSWER <tab> STATE <tab> INDEX <tab> OUTPUT
//!
//! OUTPUT is what the machine sends, in hex; STATE its phase (w, r, p or c), INDEX the number of the
//! last command. After the line "over" it answers "over", and writes out what it kept.
//!
//! A line is words with single spaces between them. A text begins with "=", in it a space and bytes
//! that are not printed are %XX; "-" is none. Handles are numbers from 0 in the order in which
//! operations gave them. A result is "ok TEXT" or "fail CODE MESSAGE (NAME VALUE)...".

use restate_sdk_shared_core::*;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;

/// The words of a line that were not read yet.
struct Words<'a>(std::iter::Peekable<std::str::Split<'a, char>>);

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        self.0.next().unwrap_or_else(|| panic!("a word is missing"))
    }

    fn number<T: std::str::FromStr>(&mut self) -> T {
        let word = self.next();
        word.parse().unwrap_or_else(|_| panic!("not a number: {word}"))
    }

    fn maybe<T: std::str::FromStr>(&mut self) -> Option<T> {
        if self.0.next_if_eq(&"-").is_some() {
            return None;
        }
        Some(self.number())
    }

    fn flag(&mut self) -> bool {
        self.number::<u8>() != 0
    }

    /// The bytes of a text; None: "-".
    fn bytes(&mut self) -> Option<Vec<u8>> {
        let word = self.next();
        let text = word.strip_prefix('=')?.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            if text[at] == b'%' {
                out.push(u8::from_str_radix(std::str::from_utf8(&text[at + 1..at + 3]).unwrap(), 16).unwrap());
                at += 2;
            } else {
                out.push(text[at]);
            }
            at += 1;
        }
        Some(out)
    }

    fn maybe_text(&mut self) -> Option<String> {
        self.bytes().map(|b| String::from_utf8(b).expect("a text is not UTF-8"))
    }

    fn text(&mut self) -> String {
        self.maybe_text().unwrap_or_default()
    }

    fn millis(&mut self) -> Duration {
        Duration::from_millis(self.number())
    }

    fn pairs(&mut self) -> Vec<(String, String)> {
        let mut pairs = vec![];
        while self.0.peek().is_some() {
            pairs.push((self.text(), self.text()));
        }
        pairs
    }

    fn headers(&mut self) -> Vec<Header> {
        let cow = |(key, value)| Header { key: Cow::Owned(key), value: Cow::Owned(value) };
        self.pairs().into_iter().map(cow).collect()
    }

    fn options(&mut self) -> PayloadOptions {
        if self.flag() { PayloadOptions::unstable_serialization() } else { PayloadOptions::stable_serialization() }
    }

    fn failure(&mut self) -> TerminalFailure {
        TerminalFailure { code: self.number(), message: self.text(), metadata: self.pairs() }
    }

    fn result(&mut self) -> NonEmptyValue {
        match self.next() {
            "ok" => NonEmptyValue::Success(self.bytes().unwrap_or_default().into()),
            "fail" => NonEmptyValue::Failure(self.failure()),
            word => panic!("not a result: {word}"),
        }
    }

    /// SERVICE HANDLER KEY IDEMPOTENCY-KEY SCOPE LIMIT-KEY
    fn callee(&mut self) -> Target {
        Target {
            service: self.text(),
            handler: self.text(),
            key: self.maybe_text(),
            idempotency_key: self.maybe_text(),
            scope: self.maybe_text(),
            limit_key: self.maybe_text(),
            headers: vec![],
        }
    }

    fn invocation(&mut self) -> AttachInvocationTarget {
        match self.next() {
            "id" => AttachInvocationTarget::InvocationId(self.text()),
            "workflow" => {
                AttachInvocationTarget::WorkflowId { name: self.text(), key: self.text(), scope: self.maybe_text() }
            }
            "request" => AttachInvocationTarget::IdempotencyId {
                service_name: self.text(),
                service_key: self.maybe_text(),
                handler_name: self.text(),
                idempotency_key: self.text(),
                scope: self.maybe_text(),
            },
            word => panic!("not an invocation: {word}"),
        }
    }

    /// "server", or INITIAL FACTOR MAX-INTERVAL MAX-ATTEMPTS MAX-DURATION PAUSE
    fn policy(&mut self) -> RetryPolicy {
        if self.0.next_if_eq(&"server").is_some() {
            return RetryPolicy::Infinite;
        }
        RetryPolicy::Exponential {
            initial_interval: self.millis(),
            factor: self.number(),
            max_interval: self.maybe().map(Duration::from_millis),
            max_attempts: self.maybe(),
            max_duration: self.maybe().map(Duration::from_millis),
            on_max_attempts: if self.flag() { OnMaxAttempts::Pause } else { OnMaxAttempts::FailAsTerminal },
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &b in bytes {
        if (32..=126).contains(&b) { out.push(b as char) } else { write!(out, "\\x{b:02x}").unwrap() }
    }
    out + "\""
}

fn shown(value: &Value) -> String {
    match value {
        Value::Void => "void".into(),
        Value::Success(b) => quoted(b),
        Value::InvocationId(id) => format!("id {}", quoted(id.as_bytes())),
        Value::StateKeys(keys) => format!("[{}]", keys.join(",")),
        Value::Failure(f) => {
            let mut out = format!("failure {} {}", f.code, quoted(f.message.as_bytes()));
            for (name, value) in &f.metadata {
                write!(out, " {name}:{value}").unwrap();
            }
            out
        }
    }
}

struct Machine {
    vm: CoreVM,
    handles: Vec<NotificationHandle>,
}

impl Machine {
    /// VERSION, then letters: e explicit cancellation, s it reaches sends; p, f on a mismatch pause
    /// or fail; l payloads are not compared.
    fn new(words: &mut Words) -> Self {
        let version: u32 = words.number();
        let letters = words.text();
        let has = |letter| letters.contains(letter);
        let options = VMOptions {
            implicit_cancellation: match has('e') {
                true => ImplicitCancellationOption::Disabled,
                false => ImplicitCancellationOption::Enabled {
                    cancel_children_calls: true,
                    cancel_children_one_way_calls: has('s'),
                },
            },
            non_determinism_checks: match has('l') {
                true => NonDeterministicChecksOption::PayloadChecksDisabled,
                false => NonDeterministicChecksOption::Enabled,
            },
            journal_mismatch_retry_behavior: match (has('p'), has('f')) {
                (true, _) => JournalMismatchRetryBehavior::Pause,
                (_, true) => JournalMismatchRetryBehavior::FailTerminally,
                _ => JournalMismatchRetryBehavior::FollowRetryPolicy,
            },
            ..Default::default()
        };
        let head = vec![("content-type".to_owned(), format!("application/vnd.restate.invocation.v{version}"))];
        Machine { vm: CoreVM::new(head, options).expect("no machine"), handles: vec![] }
    }

    fn gives(&mut self, handle: NotificationHandle) -> String {
        self.handles.push(handle);
        "ok".into()
    }

    /// The next words are a future: a handle, or N( ... ) with N the number of CombinatorType.
    fn future(&self, words: &mut Words) -> UnresolvedFuture {
        let word = words.next();
        let Some(kind) = word.strip_suffix('(') else {
            return UnresolvedFuture::Single(self.handles[word.parse::<usize>().unwrap()]);
        };
        let mut children = vec![];
        while words.0.next_if_eq(&")").is_none() {
            children.push(self.future(words));
        }
        match kind {
            "1" => UnresolvedFuture::FirstCompleted(children),
            "2" => UnresolvedFuture::AllCompleted(children),
            "3" => UnresolvedFuture::FirstSucceededOrAllFailed(children),
            "4" => UnresolvedFuture::AllSucceededOrFirstFailed(children),
            _ => panic!("no such combinator: {kind}"),
        }
    }

    fn handle(&self, words: &mut Words) -> NotificationHandle {
        self.handles[words.number::<usize>()]
    }

    /// Runs that are to be executed are handed out all at once: the reference has them in the order of
    /// a hash.
    fn do_await(&mut self, words: &mut Words) -> VMResult<String> {
        let future = self.future(words);
        let mut runs: Vec<usize> = vec![];
        loop {
            let answer = match self.vm.do_await(future.clone()) {
                Ok(AwaitResponse::ExecuteRun(h)) => {
                    runs.push(self.handles.iter().position(|x| *x == h).unwrap());
                    continue;
                }
                Ok(AwaitResponse::AnyCompleted) => "ANY",
                Ok(AwaitResponse::WaitingExternalProgress { .. }) => "WAIT",
                Ok(AwaitResponse::CancelSignalReceived) => "CXL",
                Ok(AwaitResponse::EphemeralNotificationReady(_)) => "EPH",
                Err(e) if e.is_suspended_error() => "599",
                Err(e) => return Err(e),
            };
            runs.sort();
            let runs: String = runs.iter().map(|r| format!("RUN {r} ")).collect();
            return Ok(runs + answer);
        }
    }

    fn input(&mut self) -> VMResult<String> {
        let i = self.vm.sys_input()?;
        let mut out = format!("{} {} {}", i.invocation_id, i.random_seed, quoted(&i.input));
        for text in [Some(i.key), i.scope, i.limit_key, i.idempotency_key].into_iter().flatten() {
            write!(out, " {}", quoted(text.as_bytes())).unwrap();
        }
        for h in i.headers {
            write!(out, " {}:{}", h.key, h.value).unwrap();
        }
        Ok(out)
    }

    /// HANDLE, a policy, then a result or "again DURATION CODE DELAY"
    fn propose(&mut self, words: &mut Words) -> VMResult<()> {
        let (handle, policy) = (self.handle(words), words.policy());
        let outcome = if words.0.next_if_eq(&"again").is_some() {
            let attempt_duration = words.millis();
            let mut error = Error::new(words.number::<u16>(), "again");
            if let Some(delay) = words.maybe() {
                error = error.with_next_retry_delay_override(Duration::from_millis(delay));
            }
            RunExitResult::RetryableFailure { attempt_duration, error }
        } else {
            match words.result() {
                NonEmptyValue::Success(b) => RunExitResult::Success(b),
                NonEmptyValue::Failure(f) => RunExitResult::TerminalFailure(f),
            }
        };
        self.vm.propose_run_completion(handle, outcome, policy)
    }

    fn call(&mut self, words: &mut Words, send: bool) -> VMResult<String> {
        let (mut target, input, name, options) =
            (words.callee(), words.bytes().unwrap_or_default(), words.maybe_text(), words.options());
        let at = words.millis();
        target.headers = words.headers();
        if send {
            let sent = self.vm.sys_send(target, input.into(), Some(at), name, options)?;
            return Ok(self.gives(sent.invocation_id_notification_handle));
        }
        let called = self.vm.sys_call(target, input.into(), name, options)?;
        self.gives(called.invocation_id_notification_handle);
        Ok(self.gives(called.call_notification_handle))
    }

    fn operation(&mut self, verb: &str, w: &mut Words) -> VMResult<String> {
        let vm = &mut self.vm;
        let handle = match verb {
            "get" => {
                let (key, name) = (w.text(), w.maybe_text());
                vm.sys_state_get(key, name, PayloadOptions::default())?
            }
            "get_keys" => vm.sys_state_get_keys(w.maybe_text())?,
            "sleep" => vm.sys_sleep(w.text(), w.millis(), None)?,
            "signal" => vm.create_signal_handle(w.text())?,
            "promise" => vm.sys_get_promise(w.text())?,
            "peek" => vm.sys_peek_promise(w.text())?,
            "complete" => {
                let (key, options) = (w.text(), w.options());
                vm.sys_complete_promise(key, w.result(), options)?
            }
            "attach" => vm.sys_attach_invocation(w.invocation())?,
            "output_of" => vm.sys_get_invocation_output(w.invocation())?,
            "run" => {
                let run = vm.sys_run(w.text())?;
                self.handles.push(run.handle);
                return Ok(if run.replayed { "recorded" } else { "new" }.into());
            }
            "cancellation" => {             // which has a handle all the time
                vm.is_ready_to_execute()?;
                CANCEL_NOTIFICATION_HANDLE
            }
            "awakeable" => {
                let awakeable = vm.sys_awakeable()?;
                self.handles.push(awakeable.handle);
                return Ok(awakeable.id);
            }
            "call" => return self.call(w, false),
            "send" => return self.call(w, true),
            _ => return self.effect(verb, w).map(|()| "ok".into()),
        };
        Ok(self.gives(handle))
    }

    /// What gives no handle.
    fn effect(&mut self, verb: &str, w: &mut Words) -> VMResult<()> {
        let vm = &mut self.vm;
        match verb {
            "set" => {
                let (key, value, name) = (w.text(), w.bytes().unwrap_or_default(), w.maybe_text());
                vm.sys_state_set(key, value.into(), name, w.options())
            }
            "clear" => vm.sys_state_clear(w.text(), w.maybe_text()),
            "clear_all" => vm.sys_state_clear_all(w.maybe_text()),
            "complete_awakeable" => {
                let (id, options) = (w.text(), w.options());
                vm.sys_complete_awakeable(id, w.result(), options)
            }
            "send_signal" => {
                let (id, name) = (w.text(), w.text());
                vm.sys_complete_signal(id, name, w.result())
            }
            "cancel" => vm.sys_cancel_invocation(w.text()),
            "propose" => self.propose(w),
            "output" => {
                let options = w.options();
                vm.sys_write_output(w.result(), options)
            }
            "end" => vm.sys_end(),
            _ => panic!("no such operation: {verb}"),
        }
    }

    fn step(&mut self, verb: &str, w: &mut Words) -> VMResult<String> {
        match verb {
            "in" => {
                let hex = w.next().as_bytes();
                let byte = |at| u8::from_str_radix(std::str::from_utf8(&hex[at..at + 2]).unwrap(), 16).unwrap();
                self.vm.notify_input((0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into());
                Ok("ok".into())
            }
            "eof" => {
                self.vm.notify_input_closed();
                Ok("ok".into())
            }
            "fail" => {
                let mut error = Error::new(w.number::<u16>(), w.text());
                if let Some(delay) = w.maybe() {
                    error = error.with_next_retry_delay_override(Duration::from_millis(delay));
                }
                let related = w.flag().then_some(CommandRelationship::Last);
                self.vm.notify_error(error, related);
                Ok("ok".into())
            }
            "ready" => Ok(if self.vm.is_ready_to_execute()? { "yes" } else { "no" }.into()),
            "input" => self.input(),
            "await" => self.do_await(w),
            "done" => Ok(if self.vm.is_completed(self.handle(w)) { "yes" } else { "no" }.into()),
            "take" => {
                let handle = self.handle(w);
                Ok(self.vm.take_notification(handle)?.map_or("-".into(), |v| shown(&v)))
            }
            _ => self.operation(verb, w),
        }
    }

    fn answer(&mut self, verb: &str, words: &mut Words) -> String {
        let mut line = match catch_unwind(AssertUnwindSafe(|| self.step(verb, words))) {
            Ok(Ok(answer)) => answer,
            Ok(Err(e)) => format!("error {}", e.code()),
            Err(_) => "panic".into(),
        };
        let state = match self.vm.state() {
            State::WaitingPreFlight => 'w',
            State::Replaying => 'r',
            State::Processing => 'p',
            State::Closed => 'c',
        };
        write!(line, "\t{state}\t{}\t", self.vm.last_command_index()).unwrap();
        for byte in self.vm.take_output() {
            write!(line, "{byte:02x}").unwrap();
        }
        line
    }
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut machine: Option<Machine> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = Words(line.split(' ').peekable());
        match (words.next(), &mut machine) {
            ("over", _) => {
                writeln!(out, "over")?;
                out.flush()?;
            }
            ("machine", machine) => {
                *machine = Some(Machine::new(&mut words));
                writeln!(out, "ok\tw\t-1\t")?;
            }
            (verb, Some(m)) => writeln!(out, "{}", m.answer(verb, &mut words))?,
            (verb, None) => panic!("{verb} before there is a machine"),
        }
    }
    Ok(())
}
