//! Gathering a quorum over the network.
//!
//! All of the deciding is [`Gathering`]'s. This file asks the members in parallel, tells the machine what came of it, and keeps the time.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, Bytes};
use joule_committee::{
    Action, Equivocation, Event, FallBack, Gathering, GatheringError, Keyset, Share, ShareError, VerifiedCertificate,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    committee::{Committee, Endpoint, RequestError},
    offer::SignedOffer,
    publish::OfferSigner,
    upload::Upload,
};

/// Longest answer to an offer: a share has 242 bytes.
const SHARE_BYTES_MAX: usize = 1_024;
/// A member without room is asked after twice the pause each time, up to so many pauses: 2 s of the usual ones.
const BUSY_PAUSES_MAX: u32 = 8;

/// How long to wait for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GatherTiming {
    /// For a quorum. Then the data goes to L1.
    pub deadline: Duration,
    /// For one member's answer, which includes executing the batch.
    pub attempt: Duration,
    /// Between two attempts at one member.
    pub pause: Duration,
    /// Failed attempts after which a member counts as failed. It is still asked: it may come back. That it has no room is none: whoever takes up a member's room for
    /// two seconds would take the committee away for as long as the fallback lasts, and a member that has none until the deadline has not signed by then anyway.
    pub attempts: u32,
    /// After the certificate, for members that are slow, so that they get the batch too and the operator sees who is well.
    pub linger: Duration,
}

impl Default for GatherTiming {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            attempt: Duration::from_secs(20),
            pause: Duration::from_millis(250),
            attempts: 8,
            linger: Duration::from_secs(30),
        }
    }
}

/// What an operator may want to see, as it happens.
#[derive(Clone, Debug)]
pub enum Report {
    /// A member's share counts.
    Counted {
        /// The member.
        account: Address,
        /// Shares that count by now.
        count: usize,
        /// Since the gathering began.
        after: Duration,
    },
    /// An attempt failed.
    Failed {
        /// The member.
        account: Address,
        /// Why.
        reason: String,
        /// Whether it is asked again.
        is_retried: bool,
    },
    /// A share came after the fallback: too late to count or to be checked, but its member answers again.
    Late {
        /// The member.
        account: Address,
    },
    /// A share was refused.
    BadShare {
        /// Whose endpoint sent it.
        account: Address,
        /// Why.
        error: ShareError,
    },
    /// Proof that a member signed two things of one batch. Keep it: it costs the member its stake.
    Equivocated(Box<Equivocation>),
    /// One more failure loses the quorum.
    Alarm {
        /// Members that have signed or may yet.
        able: usize,
        /// How many must sign.
        quorum: u32,
    },
    /// There will be no certificate.
    FellBack(FallBack),
    /// The gathering is over, lingering included.
    Finished {
        /// Shares that counted.
        signed: usize,
        /// Members of the keyset.
        members: usize,
        /// How many had to sign.
        quorum: u32,
    },
}

/// Takes reports. Must not block: it is called while members wait.
pub trait Observer: Send + Sync {
    /// One report.
    fn report(&self, report: Report);
}

/// Reports as log lines.
impl Observer for () {
    fn report(&self, report: Report) {
        match report {
            Report::Counted { account, count, after } => {
                tracing::debug!(%account, count, after_ms = after.as_millis() as u64, "a member signed");
            }
            Report::Failed { account, reason, is_retried } => {
                tracing::warn!(%account, %reason, is_retried, "a member did not sign");
            }
            Report::Late { account } => tracing::info!(%account, "a member signed after the fallback"),
            Report::BadShare { account, error } => tracing::error!(%account, %error, "a member sent a bad share"),
            Report::Equivocated(proof) => {
                tracing::error!(account = %proof.first.account, first = %Bytes::from(proof.first.encode()),
                    second = %Bytes::from(proof.second.encode()), "a member signed two statements about one batch");
            }
            Report::Alarm { able, quorum } => {
                tracing::error!(able, quorum, "one more failing member loses the committee's quorum");
            }
            Report::FellBack(reason) => tracing::error!(?reason, "no certificate: the data goes to L1"),
            Report::Finished { signed, members, quorum } => {
                tracing::info!(signed, members, quorum, "the gathering is over");
            }
        }
    }
}

/// How a gathering ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A quorum signed.
    Certified(Box<VerifiedCertificate>),
    /// It did not; the data goes to L1.
    FellBack(FallBack),
}

/// One attempt's result.
struct Answer {
    account: Address,
    /// Attempts that have failed so far, this one with them.
    failures: u32,
    result: Result<Box<Share>, RequestError>,
}

impl Committee {
    /// Asks all members of the keyset for their share at once and returns as soon as there is a certificate, or as soon as there can be none.
    /// Slow members go on being asked in the background for [`GatherTiming::linger`]. `signer` signs a pass for each attempt at each member: with the sequencer's key,
    /// or anybody's while L1 says that the operator is late.
    ///
    /// # Errors
    /// The offer's statement is for another keyset.
    pub async fn gather(
        self: &Arc<Self>,
        keyset: &Keyset,
        offer: &SignedOffer,
        signer: Arc<dyn OfferSigner>,
        timing: GatherTiming,
        observer: Arc<dyn Observer>,
    ) -> Result<Outcome, GatheringError> {
        let (gathering, first) = Gathering::start(keyset.clone(), *offer.offer().statement())?;
        let (settle, settled) = oneshot::channel();
        let drive = Drive {
            committee: self.clone(),
            members: keyset.members().len(),
            quorum: keyset.quorum(),
            gathering,
            timing,
            observer,
            began: Instant::now(),
            settle: Some(settle),
            signed: 0,
        };
        tokio::spawn(drive.run(Upload::new(offer, signer), first));
        // The task settles before it ends, unless the runtime ends it: then nobody is left to publish anything.
        let cut_off = Outcome::FellBack(FallBack::DeadlinePassed { count: 0, quorum: keyset.quorum() });
        Ok(settled.await.unwrap_or(cut_off))
    }

    /// Gives one member an offer, once. Whether it signs is its own matter: a batch that L1 has committed it holds all the same.
    ///
    /// # Errors
    /// It did not sign, or did not answer.
    pub async fn hand(
        &self,
        member: &Endpoint,
        offer: &SignedOffer,
        signer: Arc<dyn OfferSigner>,
        limit: Duration,
    ) -> Result<Share, RequestError> {
        self.share(member, &Upload::new(offer, signer), limit).await
    }

    async fn share(&self, member: &Endpoint, upload: &Upload, limit: Duration) -> Result<Share, RequestError> {
        let bytes = self.send(member, upload, SHARE_BYTES_MAX, limit).await?;
        let share = Share::decode(&bytes).map_err(|error| RequestError::Unreadable(error.to_string()))?;
        match share.account {
            got if got != member.account => {
                Err(RequestError::Unreadable(format!("the share of {got} in the place of its own")))
            }
            _ => Ok(share),
        }
    }

    /// Asks one member until it signs, refuses for good, or nobody listens any more.
    async fn ask_to_sign(
        self: Arc<Self>,
        member: Endpoint,
        upload: Upload,
        timing: GatherTiming,
        answers: mpsc::Sender<Answer>,
    ) {
        let (mut failures, mut pause) = (0_u32, timing.pause);
        loop {
            let result = self.share(&member, &upload, timing.attempt).await;
            let (is_over, is_busy) = match &result {
                Ok(_) => (true, false),
                Err(error) => (!error.is_retryable(), error.is_busy()),
            };
            failures = failures.saturating_add(u32::from(result.is_err() && !is_busy));
            let answer = Answer { account: member.account, failures, result: result.map(Box::new) };
            if answers.send(answer).await.is_err() || is_over {
                return;
            }
            sleep(pause).await;
            pause = if is_busy { (pause * 2).min(timing.pause * BUSY_PAUSES_MAX) } else { timing.pause };
        }
    }
}

struct Drive {
    committee: Arc<Committee>,
    members: usize,
    quorum: u32,
    gathering: Gathering,
    timing: GatherTiming,
    observer: Arc<dyn Observer>,
    began: Instant,
    settle: Option<oneshot::Sender<Outcome>>,
    signed: usize,
}

impl Drive {
    async fn run(mut self, upload: Upload, first: Vec<Action>) {
        let (sender, mut answers) = mpsc::channel(self.members.max(1));
        let mut asking = JoinSet::new();
        self.act(None, first);
        let missing: Vec<_> = self.gathering.missing().collect();
        for account in missing {
            match self.committee.members().iter().find(|member| member.account == account) {
                Some(member) => {
                    let ask =
                        self.committee.clone().ask_to_sign(member.clone(), upload.clone(), self.timing, sender.clone());
                    asking.spawn(ask);
                }
                None => {
                    let reason = "no URL is configured for it".to_owned();
                    self.observer.report(Report::Failed { account, reason, is_retried: false });
                    self.step(None, Event::Failed { account });
                }
            }
        }
        drop(sender);
        let deadline = self.began + self.timing.deadline;
        // Ends early when every member has answered for good.
        while let Ok(Some(answer)) = timeout_at(self.until(deadline), answers.recv()).await {
            self.take(answer);
        }
        self.step(None, Event::Deadline);
        self.observer.report(Report::Finished { signed: self.signed, members: self.members, quorum: self.quorum });
        asking.abort_all();
    }

    /// Until when answers are awaited: a quorum's deadline first, then the slow members' share of patience.
    fn until(&self, deadline: Instant) -> Instant {
        if self.settle.is_some() { deadline } else { (self.began + self.timing.linger).max(deadline) }
    }

    fn take(&mut self, Answer { account, failures, result }: Answer) {
        match result {
            Ok(share) => self.step(Some(account), Event::Share(share)),
            Err(error) => {
                let is_retried = error.is_retryable();
                self.observer.report(Report::Failed { account, reason: error.to_string(), is_retried });
                if !is_retried || failures >= self.timing.attempts {
                    self.step(None, Event::Failed { account });
                }
            }
        }
    }

    fn step(&mut self, sender: Option<Address>, event: Event) {
        let actions = self.gathering.step(event);
        self.act(sender, actions);
    }

    fn act(&mut self, sender: Option<Address>, actions: Vec<Action>) {
        let mut failed = None;
        for action in actions {
            match action {
                Action::Counted { account, count } => {
                    self.signed = count;
                    self.observer.report(Report::Counted { account, count, after: self.began.elapsed() });
                }
                Action::Certified(certificate) => self.settle(Outcome::Certified(certificate)),
                Action::Alarm { able, quorum } => self.observer.report(Report::Alarm { able, quorum }),
                Action::FallBack(reason) => {
                    self.observer.report(Report::FellBack(reason));
                    self.settle(Outcome::FellBack(reason));
                }
                // The machine looks no further once it fell back; what the member says is not counted, so it need not be true.
                Action::Refuse(ShareError::Closed) => {
                    if let Some(account) = sender {
                        self.observer.report(Report::Late { account });
                    }
                }
                Action::Refuse(error) => {
                    if let ShareError::Equivocation(proof) = &error {
                        self.observer.report(Report::Equivocated(proof.clone()));
                    }
                    if let Some(account) = sender {
                        self.observer.report(Report::BadShare { account, error });
                        failed = Some(account);
                    }
                }
            }
        }
        // Whoever answers with a share that does not count has answered, and will not be asked again.
        if let Some(account) = failed {
            self.step(None, Event::Failed { account });
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(settle) = self.settle.take() {
            // The caller may have gone; the gathering still serves the slow members.
            let _ = settle.send(outcome);
        }
    }
}
