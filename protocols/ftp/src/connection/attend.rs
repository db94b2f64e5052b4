//! What is heard while a transfer runs.
//!
//! Owns the way in which a transfer ends, by itself or before its time. Knows nothing of what goes
//! over it.
//! INVARIANT: the end of the control connection is never unheard: nothing is published after it,
//! unless it was settled before (rule U2).

use portcullis_gate::EndReason;
use tokio::time::{Instant, sleep_until};

use super::{Conversation, Goes, MAX_WAITING, good_bye, last_words, leaving};
use crate::command::{Command, Verb};
use crate::control::Unheard;
use crate::reply::Reply;
use crate::work::Work;

impl Conversation {
    /// Runs a transfer, and listens meanwhile.
    pub(super) async fn attend(&mut self, mut work: Work) -> Goes {
        if let Some(begin) = work.begin.take()
            && self.say(begin).await == Goes::Out
        {
            return Goes::Out;
        }
        let patience = self.service.config.idle;
        let mut moved = (work.bytes(), Instant::now() + patience);
        loop {
            tokio::select! {
                biased;
                reason = leaving(&mut self.leave) => {
                    self.break_off(work).await;
                    self.say(good_bye(reason)).await;
                    return Goes::Out;
                }
                heard = self.control.next_line() => {
                    let line = match heard {
                        Ok(line) => line,
                        Err(unheard) => return self.unheard(work, unheard).await,
                    };
                    match Command::parse(&line).map(|command| (command.verb, command)) {
                        Ok((Verb::Abor, _)) => return self.abort(work).await,
                        Ok((Verb::Stat, command)) if command.argument.is_empty() => {
                            let reply = self.status(Some(work.bytes()));
                            if self.say(reply).await == Goes::Out {
                                return Goes::Out;
                            }
                        }
                        // Clients keep the connection alive by it.
                        Ok((Verb::Noop, _)) => {
                            if self.say(Reply::new(200, "Done.")).await == Goes::Out {
                                return Goes::Out;
                            }
                        }
                        _ if self.waiting.len() >= MAX_WAITING => {
                            drop(work);
                            let text = "Too many commands during a transfer; closing.";
                            self.say(Reply::new(421, text)).await;
                            return Goes::Out;
                        }
                        _ => self.waiting.push_back(line),
                    }
                }
                last = &mut work.run => return self.say(last).await,
                () = sleep_until(moved.1) => {
                    if work.bytes() == moved.0 {
                        self.break_off(work).await;
                        self.say(good_bye(EndReason::Idle)).await;
                        return Goes::Out;
                    }
                    moved = (work.bytes(), Instant::now() + patience);
                }
            }
        }
    }

    /// The control connection is over: nothing is published (rule U2).
    async fn unheard(&mut self, work: Work, unheard: Unheard) -> Goes {
        self.break_off(work).await;
        if let Some(last) = last_words(unheard) {
            self.say(last).await;
        }
        Goes::Out
    }

    /// Ends a transfer before its time; one that is settled already comes to its end. Its last
    /// reply says which.
    async fn break_off(&mut self, work: Work) -> Reply {
        if work.is_settling() {
            return work.run.await;
        }
        drop(work);
        Reply::new(426, "Transfer broken off.")
    }

    async fn abort(&mut self, work: Work) -> Goes {
        let last = self.break_off(work).await;
        if self.say(last).await == Goes::Out {
            return Goes::Out;
        }
        self.say(Reply::new(226, "ABOR is done.")).await
    }
}
